"""What is shown of statements about pairs: the report, and notebook 10 as papermill runs it."""

import nbformat
import pytest
from conftest import TINY

from blipvqa import Run, evaluate, fine_tune, load_config, load_splits
from blipvqa.comparison import write_comparison
from blipvqa.pairs.pictures import judged, prediction_card, worst_first
from blipvqa.tasks import write_report
from blipvqa.workflow import run_notebooks


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """(root, config) of a tiny run made by notebook 10, after one look at the data. Read only."""
    folder = tmp_path_factory.mktemp("pair-pages")
    (folder / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        overrides = TINY | {"task": "pairs"}
        config = load_config(None, overrides, "tiny")
        run_notebooks(config, None, "tiny", overrides, ("01_explore_data", "10_pairs"))
    return folder, config


def test_the_notebook_runs_from_data_to_judgements(made):
    notebook = nbformat.read(made[0] / "outputs" / "tiny" / "notebooks" / "10_pairs.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert "accuracy" in "".join(pages) and "data:image/jpeg" in pages[-1]


def test_the_report_shows_judgements_beside_right_and_what_needs_both_pictures(made, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    config = made[1]
    page = write_report(Run(config.folder), load_splits(config)).read_text()
    for said in (
        "Judged beside right",
        "Does it look at both pictures?",
        ">Another seed<",
        "another pair&#39;s pictures",
    ):
        assert said in page
    assert "http" not in page.split("<body")[1].split("<script")[0].replace("xmlns", "")


def test_two_runs_are_compared_statement_by_statement(made, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    other = load_config(
        None, TINY | {"task": "pairs", "seed": 1, "train.epochs": 8, "train.learning_rate": 5e-3}, "other"
    )
    fine_tune(other)
    evaluate(other, progress=False, resamples=50)
    page = write_comparison(Run(made[1].folder), Run(other.folder)).read_text()
    assert "accuracy, pictures swapped" in page and "data:image/jpeg" in page


def test_the_surest_mistakes_come_first():
    rows = [
        {"id": id_, "label": "true", "prediction": said, "confidence": sure}
        for id_, said, sure in (("a", "true", 0.9), ("b", "false", 0.6), ("c", "false", 0.9), ("d", "true", 0.6))
    ]
    assert [row["id"] for row in worst_first(rows)] == ["c", "b", "d", "a"]


def test_statements_that_break_html_stay_text(made, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(made[0]))
    run = Run(made[1].folder)
    row = run.predictions("test")[0] | {"sentence": "<script>x</script>\u202efat\x00"}
    page = str(prediction_card(load_splits(made[1])["test"], row))
    assert "<script>" not in page and "&lt;script&gt;" in page and not {"\u202e", "\x00"} & set(page)
    assert "No statement" in judged([])
