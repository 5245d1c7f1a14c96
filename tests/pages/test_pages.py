"""What people look at: galleries, tables, figures and the report, with text from data that means no good."""

import re

import pytest
from conftest import write_forged
from matplotlib.figure import Figure
from PIL import Image

from blipvqa import Run, evaluate, load_splits
from blipvqa.comparison import write_comparison
from blipvqa.config.knobs import ConfigError
from blipvqa.pages import certainty, html, plots
from blipvqa.pages.page import paragraph, remark, section, write_page
from blipvqa.pages.tables import measures_table, settings_table, table
from blipvqa.runs.run import RunError
from blipvqa.runs.seals import read_sealed_text
from blipvqa.tasks import write_report
from blipvqa.vqa import figures, pictures

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> $\\frac{1}{2}$ \\(x\\) \u202egnp"


@pytest.fixture
def parts(done):
    run = Run(done.folder)
    return run, load_splits(done), run.predictions("test")


def test_text_from_data_is_only_text():
    shown = html.escape(HOSTILE)
    assert "<script" not in shown
    assert "<img" not in shown
    assert not re.search(r"\$[^<]*\$", re.sub(r"<span>&#36;</span>", "", shown))
    assert "\u202e" not in shown
    assert "\\(" not in shown
    assert len(html.escape("x" * 10_000)) < 500
    assert "<b>" not in settings_table({"a": "<b>"})
    assert 'anywhere">train.epochs<' in settings_table({"train": {"epochs": 1}})  # or values lie beyond a telephone
    assert len(repr(html.Html("x" * 10_000))) < 50


def test_a_picture_s_place_is_as_large_before_it_is_drawn():
    """A browser draws it when it is scrolled to: without a size, 5,264 pixels of a page became 7,520 on the way."""
    assert "aspect-ratio:150/50;" in html.picture(Image.new("RGB", (600, 200)), 150)


def test_hostile_questions_pass_through_every_page(parts, tmp_path):
    run, splits, predictions = parts
    bad = [{**row, "question": HOSTILE, "answer": HOSTILE, "prediction": HOSTILE} for row in predictions[:20]]
    for page in (
        pictures.gallery(splits["test"], bad, ranges="0:20"),
        pictures.prediction_card(splits["test"], bad[:3]),
    ):
        assert "<script" not in page
        assert "onerror=" not in str(page).replace("onerror=alert(1)&gt;", "")
    for figure in (figures.plot_answer_frequencies(bad), figures.plot_history(run)):
        assert "<script" not in html.drawing(figure, "x")


@pytest.mark.parametrize(
    ("arguments", "shown", "note"),
    [
        ({"ranges": "0:3,8:10"}, [0, 1, 2, 8, 9], ""),
        ({"ranges": "2:"}, None, ""),
        ({"ranges": "30:1000000"}, None, "ends at the split"),
        ({"indices": [5, 1]}, [5, 1], ""),
        ({"indices": [3, 100_000]}, [3], "beyond the split"),
        ({"ranges": "0:2", "indices": [1, 7]}, [0, 1, 7], ""),
        ({"ranges": "1000000:2000000"}, [], "ends at the split"),
    ],
)
def test_positions_are_chosen_and_clipped(parts, arguments, shown, note):
    _, splits, predictions = parts
    page = pictures.gallery(splits["test"], predictions, **arguments)
    positions = [int(n) for n in re.findall(r"<span style='[^']*'>(\d+) · ", page)]
    if shown is not None:
        assert sorted(positions) == sorted(shown)
    assert note in page


@pytest.mark.parametrize(
    "arguments", [{"ranges": "5"}, {"ranges": "a:b"}, {"ranges": "9:3"}, {"indices": [-1]}, {"only": "nonsense"}]
)
def test_impossible_choices_are_refused(parts, arguments):
    _, splits, predictions = parts
    with pytest.raises(ValueError, match=r"ranges|indices|only"):
        pictures.gallery(splits["test"], predictions, **arguments)


def test_right_wrong_and_types_are_told_apart(parts):
    _, splits, predictions = parts
    pages = {
        only: pictures.gallery(splits["test"], predictions, ranges="0:100000", only=only)
        for only in ("right", "wrong", "where")
    }
    assert "✗" not in pages["right"]
    assert "✓" not in pages["wrong"]
    assert len(re.findall("where", pages["where"])) >= 1
    total = [int(re.search(r"(\d+) questions", pages[only])[1]) for only in ("right", "wrong")]
    assert sum(total) == len(predictions)


def test_a_hundred_questions_stay_light(parts):
    _, splits, predictions = parts
    page = pictures.gallery(splits["test"], predictions, ranges="0:100")
    assert len(page) < 1_000_000
    assert page.count("<img") == len({row["image_id"] for row in predictions[:100]})


def test_every_figure_draws(parts):
    run, splits, predictions = parts
    scores = run.metrics("test")
    every_figure = [
        figures.plot_question_types(splits),
        figures.plot_lengths(splits),
        figures.plot_answers(splits),
        figures.plot_questions_per_image(splits),
        figures.plot_history(run),
        figures.plot_metrics(scores),
        figures.plot_by(scores),
        figures.plot_by(scores, "topic"),
        figures.plot_answer_frequencies(predictions),
        figures.plot_grounding(scores),
        certainty.plot_reliability(scores["confidence"]),
        certainty.plot_coverage(scores["confidence"]),
        figures.plot_confusion(scores["slices"]["confusion"]),
    ]
    for figure in every_figure:
        assert isinstance(figure, Figure)
        assert any(axes.has_data() for axes in figure.axes)
        assert len(html.drawing(figure, "x")) > 3000


def test_a_reference_curve_is_drawn_or_refused(parts, done, request):
    run = parts[0]
    reference = request.config.rootpath / "docs" / "report_epoch_losses.csv"
    assert len(plots.read_reference(reference)) == 39
    assert len(figures.plot_history(run, str(reference)).axes) == 4
    with pytest.raises(ConfigError, match="reference_curve"):
        plots.read_reference("none.csv")


def test_the_report_is_one_safe_file(parts, done):
    run, splits, _ = parts
    scores, predictions = run.metrics("test"), run.predictions("test")
    write_forged(run, scores, [{**predictions[0], "question": HOSTILE}, *predictions[1:]])
    try:
        page = write_report(run, splits).read_text()
    finally:
        write_forged(run, scores, predictions)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1  # beside the rows, which are data
    assert not re.search(r"""<\w+ [^<>]*(src|href)=["']?(?!data:)\w""", page)  # nothing to load
    assert 'http-equiv="Content-Security-Policy"' in page
    assert "default-src 'none'" in page
    assert str(done.folder) not in page
    assert page.count("data:image/jpeg") >= len({row["image_id"] for row in predictions})
    for words in (
        "Numbers on test",
        "Training",
        "Does it look at the picture?",
        "Predicted against actual",
        "Settings",
    ):
        assert words in page


def test_pages_of_runs_that_are_not_there_say_what_to_run(done):
    with pytest.raises(RunError, match="02_finetune"):
        write_report(Run(done.folder.parent / "none"), load_splits(done))


def test_two_runs_are_compared(done):
    run = Run(done.folder)
    other = Run(run.folder.with_name("other"))
    other.folder.mkdir(exist_ok=True)
    settings = read_sealed_text(run.folder / "config.yaml")
    (other.folder / "config.yaml").write_text(settings.replace("num_beams: 1", "num_beams: 3"))
    predictions = run.predictions("test")
    write_forged(other, run.metrics("test"), [{**p, "prediction": p["answer"]} for p in predictions])
    page = write_comparison(run, other).read_text()
    assert "Better in tiny: 0" in page and "Better in other: " in page
    assert "Another seed" in page and "Both trainings" in page and "its spread is not known" in page
    assert "data:image/jpeg" in page.split("Better in other")[1]
    assert "The difference is real (p" in page and "generate.num_beams" in page and "train.epochs" not in page
    assert "further measures" in page and "By slice" in page
    assert page.count("<script") == 1  # the page's own
    write_forged(other, run.metrics("test"), predictions[1:])
    with pytest.raises(ValueError, match="id"):
        write_comparison(run, other)


def test_samples_of_a_run_are_shown_from_before_training_on(parts):
    run, splits, _ = parts
    page = pictures.sample_progress(run, splits["validation"])
    assert "before" in page
    assert f"epoch {max(row['epoch'] for row in run.samples)}" in page
    assert page.count("<img") == 4


def test_validation_can_be_scored_too(done):
    run = evaluate(done, "validation", progress=False, grounding=False, start=False, resamples=20)
    assert run.metrics("validation")["split"] == "validation"
    with pytest.raises(RunError, match="no split 'nonsense'"):
        evaluate(done, "nonsense", progress=False)


def test_our_own_sentences_are_not_cut_where_a_text_from_data_is():
    """The verdict on looking stands in a page's subtitle and warnings, and says at its end how many images would tell."""
    said = f"{'a long sentence, ' * 60}to its end"
    page = write_page("page", [section("part", paragraph(said), remark(said))], subtitle=said, warnings=[said])
    assert page.count("to its end") == 4
    assert "to its end" not in table([""], [[said]])


def test_a_head_without_text_is_no_head():
    """Screen readers announce an empty one (axe: empty-table-header)."""
    page = table(["", "n"], [["a", 1]])
    assert page.count("<th ") == 1 and page.count("<td ") == 3


def test_a_measure_that_no_row_counts_for_is_no_line():
    """Before, BLEU-4 stood in each wing's first table with dashes and "0 (0)" where no answer has four words."""
    nothing = {"value": None, "n": 0, "groups": 0, "low": None, "high": None}
    one = {"value": 0.5, "n": 8, "groups": 4, "low": 0.2, "high": 0.8}
    shown = measures_table({"BLEU-1": one, "BLEU-4": nothing, "F1": nothing}, {"chance": {"F1": one}}, unit="questions")
    assert "BLEU-1" in shown and "BLEU-4" not in shown
    assert "F1" in shown  # what is measured beside it alone is a line still
