"""Figures, tables and pages of strange text and of next to no data: all is shown as text, and what is missing is said."""

import io
import json
import re
import shutil
import warnings
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import pytest
from conftest import write_forged
from matplotlib.text import Text
from matplotlib.ticker import Locator
from PIL import Image

from blipvqa import Run, load_splits, score
from blipvqa.comparison import write_comparison
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages import certainty, html, plots
from blipvqa.pages.figures import new_figure
from blipvqa.pages.tables import confidence_table
from blipvqa.tasks import write_report
from blipvqa.vqa import figures, pictures, tables
from blipvqa.vqa.asking import Answer
from blipvqa.vqa.card import write_card
from blipvqa.vqa.confidence import fit_temperature, score_confidence
from blipvqa.vqa.exchange import exchangeable
from blipvqa.vqa.grounding import grounding
from blipvqa.vqa.review import read_review, write_review
from blipvqa.vqa.slices import slices

EPOCH = {"type": "epoch", "epoch": 1, "train_loss": None, "loss": 1.0, "exact_match": 0.5}
STRANGE = [
    "$\\frac{$",
    "$$",
    "a $x_1^2$ b",
    "\\",
    "\\(x\\)",
    "_",
    "^",
    "{",
    "%",
    "heart \N{ANATOMICAL HEART} \U0001d504",
    "\u202egnp.exe שלום",
    "x" * 5000,
    "two\nlines\r\nand\ttabs",
    "nul\x00bell\x07",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "{{ 7 * 7 }}{% raw %}",
    "```| a |```",
    "=1+1;=2",
]
BOOTSTRAP = Bootstrap(resamples=20)


def predictions_of(pairs, images=3):
    return [
        {
            "id": f"test/{i}",
            "image_id": f"image{i % images}",
            "question": question,
            "answer": answer,
            "prediction": prediction,
            "score": -0.1 - i,
            "yes_probability": 0.7,
            "topic": answer,
        }
        for i, (question, answer, prediction) in enumerate(pairs)
    ]


def scores_of(predictions, breakdown=()):
    """What `evaluate` stores of these predictions, without a model."""
    scores = score(predictions, train=predictions, breakdown=breakdown, bootstrap=BOOTSTRAP)
    exchanged = predictions if exchangeable(predictions) else None
    calibration = fit_temperature(predictions) if predictions else None
    return scores | {
        "split": "test",
        "data": {"leaks": [], "answers": STRANGE},
        "start": score(predictions, bootstrap=BOOTSTRAP)["overall"],
        "grounding": grounding(predictions, predictions, exchanged, BOOTSTRAP),
        "confidence": score_confidence(predictions, calibration=calibration, bootstrap=BOOTSTRAP),
        "slices": slices(predictions, train=predictions, bootstrap=BOOTSTRAP),
    }


def every_figure(predictions, scores):
    splits = {name: SimpleNamespace(rows=predictions) for name in ("train", "validation", "test", "$\\frac{$")}
    entry = scores["overall"]["exact_match"]
    stress = {"split": "$\\frac{$", "n": len(predictions), "clean": entry, "scores": {"$\\frac{$": {"1": entry}}}
    yield from (
        figures.plot_question_types(splits),
        figures.plot_lengths(splits),
        figures.plot_answers(splits),
        figures.plot_questions_per_image(splits),
        figures.plot_history(SimpleNamespace(history=[])),
        figures.plot_metrics(scores),
        *(figures.plot_by(scores, axis) for axis in scores["by"]),
        figures.plot_answer_frequencies(predictions),
        figures.plot_grounding(scores),
        figures.plot_grounding({"by": scores["by"]}),
        figures.plot_stress(stress),
        figures.plot_confusion(scores["slices"]["confusion"]),
        plots.plot_difference({}, ("$\\frac{$", "_")),
        plots.plot_histories({"$\\frac{$": [EPOCH], "_": []}, {"exact_match": "$$"}),
        certainty.plot_reliability(scores["confidence"]),
        certainty.plot_coverage(scores["confidence"]),
    )


def every_table(predictions, scores):
    yield from (
        tables.metrics_table(scores),
        tables.by_table(scores),
        tables.more_tables(scores),
        tables.stress_table({"clean": scores["overall"]["exact_match"], "scores": {}}),
        confidence_table(scores["confidence"]),
        html.bullets(STRANGE),
    )


def assert_harmless(page):
    """No markup of the data, no formula that MathJax would read across, no control character."""
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\x00" not in page
    assert "\u202e" not in page
    assert "\\frac" not in page
    assert "$" not in page


@pytest.mark.parametrize("settings", [{}, {"text.usetex": True, "svg.fonttype": "none"}])
def test_strange_text_is_drawn_as_text_at_every_moment(settings):
    predictions = predictions_of([(text, text, "no") for text in STRANGE] * 3 + [("is it?", "yes", "yes")] * 4)
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in every_figure(predictions, scores_of(predictions, ["topic"])):
            figure.canvas.draw()
            figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")  # as a notebook shows it
            assert_harmless(html.drawing(figure, "x"))
            assert [text.get_text() for text in figure.findobj(Text) if text.get_parse_math()] == []


class MoreAndMore(Locator):
    """Asks for another tick each time it is asked, so that labels are made while the figure is drawn."""

    count = 0

    def __call__(self):
        self.count += 1
        return [i / self.count for i in range(self.count)]


def test_text_that_is_set_later_is_plain_too():
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], label="$\\frac{$")
    axes.set_xticks([0, 1], ["$\\frac{$", "$$"])
    axes.yaxis.set_major_locator(MoreAndMore())
    axes.yaxis.set_major_formatter(lambda value, place: "$\\frac{$")
    axes.annotate("$\\frac{$", (0, 0))
    axes.legend(title="$\\frac{$")
    figure.suptitle("$\\frac{$")
    with plt.rc_context({"text.parse_math": True, "text.usetex": True}):
        figure.savefig(io.BytesIO(), format="svg", bbox_inches="tight")


def test_strange_text_in_tables_and_cards_is_text():
    predictions = predictions_of([(text, text, text + "?") for text in STRANGE])
    for table in every_table(predictions, scores_of(predictions, ["topic"])):
        assert_harmless(table)


@pytest.fixture
def copied(done, tmp_path):
    """`copied(predictions)`: the finished run's folder elsewhere, with these predictions and their numbers."""

    def make(predictions, name="copy"):
        run = Run(shutil.copytree(done.folder, tmp_path / name))
        scores = scores_of(predictions)
        scores["data"] = run.metrics("test")["data"] | scores["data"]  # with the digest of the data
        write_forged(run, scores, predictions)
        return run, load_splits(done)

    return make


def test_an_empty_answer_is_called_that_wherever_it_stands(copied, done):
    """In "Every answer" its cell was blank, as if nothing had been predicted."""
    rows = Run(done.folder).predictions("test")
    run, splits = copied([{**rows[0], "prediction": "", "score": -0.1}, *rows[1:]], "empty")
    page = write_report(run, splits).read_text(encoding="utf-8")
    (cells,) = re.findall(rf'"cells":(\["{rows[0]["id"]}".*?\])', page)
    assert json.loads(cells)[4] == "(empty)"
    assert str(Answer("", 0.5, "what?", Image.new("RGB", (2, 2)))) == "(empty) (50%)"


def test_pages_of_a_run_whose_text_is_strange(copied, done):
    rows = Run(done.folder).predictions("test")
    texts = STRANGE * len(rows)
    strange = [{**row, "question": t, "answer": t, "prediction": t + "?"} for row, t in zip(rows, texts, strict=False)]
    run, splits = copied(strange)
    other, _ = copied([row | {"prediction": "not " + row["answer"]} for row in strange], "& <b>")
    write_review(strange, run.folder, "test")
    page = write_report(run, splits).read_text(encoding="utf-8")
    compared = write_comparison(run, other).read_text(encoding="utf-8")
    for text in (page, compared):
        assert_harmless(text.partition("<script>'use strict'")[0])
        assert "&lt;script&gt;alert(1)" in text
    assert "7 * 7" in page
    assert not re.search(r"<li>[0-9a-f]</li>", page)  # of the digest that is stored beside the notes
    assert "<title>copy and &amp; &lt;b&gt;</title>" in compared
    write_card(run)
    card = (run.model_folder / "README.md").read_text(encoding="utf-8")
    assert "`<script>alert(1)</script>`" in card
    assert read_review(run.folder / "review-test.csv", strange)["pending"] == len(strange)


FEW = {
    "nothing": [],
    "one right answer": [("is it?", "yes", "yes")],
    "one wrong open answer": [("what?", "fat", "")],
    "yes and no only": [("is it?", "yes", "no"), ("is it red?", "no", "no")] * 3,
    "open only": [("what is it?", "fat", "fat"), ("", "cyst", "fat")] * 3,
    "nothing wrong": [("is it?", "yes", "yes"), ("what?", "fat", "fat")] * 8,
    "nothing right": [("is it?", "yes", "no"), ("what?", "fat", "cyst")] * 8,
}


@pytest.mark.parametrize(("case", "images"), [*((case, 3) for case in FEW), ("yes and no only", 1)])
def test_next_to_no_data_is_shown_or_said(case, images):
    predictions = predictions_of(FEW[case], images)
    scores = scores_of(predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in every_figure(predictions, scores):
            assert len(html.drawing(figure, "x")) > 1000
            assert any(text.get_text().strip() for text in figure.findobj(Text))
    assert all(every_table(predictions, scores))


@pytest.mark.parametrize("case", [case for case in FEW if FEW[case]])
def test_a_report_of_next_to_no_data(copied, done, case):
    rows = Run(done.folder).predictions("test")
    texts = [dict(zip(("question", "answer", "prediction"), texts, strict=True)) for texts in FEW[case]]
    run, splits = copied([{**row, **few} for row, few in zip(rows, texts, strict=False)])
    page = write_report(run, splits).read_text(encoding="utf-8")
    assert "Predicted against actual" in page
    why = (
        "run notebook 03_evaluate again"
        if any(prediction for *_, prediction in FEW[case])
        else "the model said nothing"
    )
    assert why in page  # the stored explanations are of other answers
    write_card(run)


def test_a_wrong_cell_of_the_review_sheet_is_said_in_the_report(copied, done):
    run, splits = copied(Run(done.folder).predictions("test"))
    (run.folder / "review-test.csv").write_text("id,verdict\ntest/0,<b>perhaps\n", encoding="utf-8")
    page = write_report(run, splits).read_text(encoding="utf-8")
    assert "The review sheet cannot be read" in page
    assert "row 2: verdict &#39;&lt;b&gt;perhaps&#39;" in page


def test_a_column_of_many_levels_makes_no_endless_table():
    rows = predictions_of([(f"what {i}?", "fat", "fat") for i in range(150)])
    for i, row in enumerate(rows):
        row["topic"] = f"level {i}"
    shown = tables.by_table(scores_of(rows, ["topic"]), "topic")
    assert shown.count("<tr>") == 102
    assert "and 50 more in metrics-test.json" in shown


def test_predictions_without_confidence_are_said():
    rows = [row | {"score": None, "yes_probability": None} for row in predictions_of([("what?", "fat", "fat")] * 3)]
    scores = scores_of(rows)["confidence"]
    for figure in (certainty.plot_reliability(scores), certainty.plot_coverage(scores)):
        assert any("no answer has a confidence" in text.get_text() for text in figure.findobj(Text))
    assert confidence_table(scores)


def test_an_axis_that_is_not_there_is_named():
    predictions = predictions_of([("what?", "fat", "fat")])
    with pytest.raises(ValueError, match="axis: 'organ' is none of question_type"):
        figures.plot_by(scores_of(predictions), "organ")


def test_samples_and_galleries_of_nothing(done):
    data = load_splits(done)["validation"]
    assert "keeps no samples" in pictures.sample_progress(SimpleNamespace(samples=[]), data)
    assert "0 questions" in pictures.gallery(data, [])
    nothing = data.chosen([])
    assert "no picture" in pictures.sample_grid(nothing)
    assert "no picture" in pictures.corrupted(nothing)
    assert "03_evaluate" in pictures.explanations(data, [], [])
    assert json.dumps(scores_of([]), allow_nan=False)
