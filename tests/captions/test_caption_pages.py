"""What is shown of captions: the report, and notebook 06 as papermill runs it."""

import nbformat
import pytest
from conftest import TINY

from blipvqa import Run, load_config, load_splits
from blipvqa.captions.pictures import mistakes, prediction_card, worst_first
from blipvqa.captions.terms import Finder
from blipvqa.tasks import write_report
from blipvqa.workflow import run_notebooks


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """(root, config) of a tiny run made by the task's own notebook. Read only."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        overrides = TINY | {"task": "caption", "caption.max_length": 40}
        config = load_config(None, overrides, "tiny")
        run_notebooks(config, None, "tiny", overrides, ("06_captions",))
    return folder, config


def test_the_notebook_runs_from_data_to_word_maps(made):
    notebook = nbformat.read(made[0] / "outputs" / "tiny" / "notebooks" / "06_captions.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert "CIDEr-D" in "".join(pages) and "data:image/jpeg" in pages[-1]


def test_the_report_shows_captions_beside_references_and_what_needs_the_picture(made, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    config = made[1]
    page = write_report(Run(config.folder), load_splits(config)).read_text()
    assert "Predicted beside references" in page and "Does it look at the picture?" in page and ">Another seed<" in page
    assert "commonest caption" in page and "http" not in page.split("<body")[1].split("<script")[0].replace("xmlns", "")


def test_things_named_wrongly_come_first():
    rows = [
        {"id": "a", "prediction": "fat", "references": ["fat"], "score": -9.0},
        {"id": "b", "prediction": "fat and gland", "references": ["vessel"], "score": -1.0},
    ]
    finder = Finder({"fat": [], "gland": [], "vessel": []})
    assert mistakes(rows[1], finder) == ({"fat", "gland"}, {"vessel"})
    assert [row["id"] for row in worst_first(rows, finder)] == ["b", "a"]


def test_without_terms_captions_that_are_none_of_their_references_come_first():
    rows = [
        {"id": "a", "prediction": "Fat.", "references": ["gland", "fat"], "score": -9.0},
        {"id": "b", "prediction": "vessel", "references": ["fat"], "score": -1.0},
    ]
    assert [row["id"] for row in worst_first(rows, Finder({}))] == ["b", "a"]


def test_captions_that_break_html_or_turn_its_direction_stay_text(made, monkeypatch):
    """A page shows markup and control characters as text, and each caption in a direction of its own."""
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    run = Run(made[1].folder)
    data = load_splits(made[1])["test"]
    row = run.predictions("test")[0] | {
        "prediction": "<script>x</script>\u202egland\x00\x1b",
        "references": ["\u202e<b>fat"] * 50,
    }
    page = str(prediction_card(data, row, Finder({})))
    assert "<script>" not in page and "<b>fat" not in page and "&lt;script&gt;" in page
    assert not {"\u202e", "\x00", "\x1b"} & set(page) and page.count("reference:") == 3
