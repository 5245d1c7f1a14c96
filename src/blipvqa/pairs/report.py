"""`report.html` of a run on pairs: one self-contained page, from what its folder holds; no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.pages.html import bullets, drawing
from blipvqa.pages.page import Section, folded, paragraph, remark, search_gallery, search_rows, section, wide
from blipvqa.pages.report import report_page, training_section
from blipvqa.pages.wording import interval, number
from blipvqa.pairs import figures, tables
from blipvqa.pairs.measures import MEASURES
from blipvqa.pairs.pictures import is_right, prediction_card, sample_progress, worst_first
from blipvqa.pairs.titles import CHANGED, HEADLINE
from blipvqa.runs.run import Run
from blipvqa.training.trained import Results

PAIRS = 300
BUTTONS = ("judged wrongly", "judged rightly")
RULE = (
    "Swapped: the pictures change places, and in a statement about their order (“the first picture”, “the image on the "
    "left”) the words do, too. What is said stays true or false, so the answer must stay. Where the pictures alone "
    "change places, a statement about the order may turn: how often the answer follows is counted where the data says "
    "what is right then (column label_swapped)."
)


def report(results: Results) -> str:
    """The page of what a run said of the pairs of one split."""
    run, scores, splits = results.run, results.scores, results.splits
    sections = [
        _numbers(scores),
        *_gallery(splits[results.split], results.predictions),
        _training(run, splits),
        _looking(scores),
        section("Known of the data", bullets([*scores["data"]["leaks"], *scores["data"]["changes"]])),
    ]
    title = "statements about two pictures, judged"
    return report_page(run, title, scores, HEADLINE, MEASURES, sections, scores.get("looks", ""))


def _numbers(scores: Mapping) -> Section:
    by = [drawing(figures.plot_by(scores, column), f"accuracy by {column}") for column in scores["by"]]
    return section(
        f"Numbers on {scores['split']}",
        wide(tables.metrics_table(scores)),
        remark(RULE),
        drawing(figures.plot_metrics(scores), "the measures with intervals"),
        *by,
        wide(tables.confidence_table(scores)),
        drawing(figures.plot_probabilities(scores), "how often statements of a probability are true"),
        folded("More: every measure, and by column", wide(tables.more_tables(scores))),
    )


def _training(run: Run, splits: Splits) -> Section:
    samples = sample_progress(run, splits["validation"]) if "validation" in splits else None
    title = "The same dozen validation statements, before training and after epochs"
    return training_section(figures.plot_history(run, run.config.reference_curve), samples, title)


def _looking(scores: Mapping) -> Section:
    title = "Does it look at both pictures?"
    if "looks" not in scores:
        return section(title, paragraph("It was not judged with other pictures."))
    lines = [scores["looks"]]
    if "needs_pictures" in scores:
        needs = scores["needs_pictures"]
        lines.append(
            f"With another pair's pictures the accuracy is {number(needs, 'a')} instead of {number(needs, 'b')}: "
            f"{number(needs, 'difference', sign=True)} ({interval(needs, sign=True)}) needs its own."
        )
    both = scores["needs_both"]
    lines.append(
        f"With the better one of the two pictures alone, shown twice, it is {number(both, 'a')}: "
        f"{number(both, 'difference', sign=True)} ({interval(both, sign=True)}) needs both."
    )
    return section(
        title,
        *map(paragraph, lines),
        wide(tables.changed_table(scores)),
        drawing(figures.plot_changed(scores), f"the accuracy with {', '.join(CHANGED.values())}"),
    )


def _gallery(dataset: VQADataset, predictions: Sequence[Mapping]) -> tuple[Section, Section]:
    """The pairs of the surest mistakes first, and a table of every statement."""
    worst = worst_first(predictions)
    shown = worst[:PAIRS]
    note = f"{len(shown)} of {len(predictions)} statements, the surest mistakes first."
    cards = ((prediction_card(dataset, row), is_right(row)) for row in shown)
    rows = (
        (
            [row["id"], row["sentence"], row["label"], row["prediction"], row.get("probability"), row.get("swapped")],
            is_right(row),
            place if place <= PAIRS else None,
        )
        for place, row in enumerate(worst, 1)
    )
    head = ["id", "statement", "right", "judged", "probability", "probability, swapped"]
    table = search_rows(head, rows, "search every statement", BUTTONS, "Every statement with its judgement")
    gallery = search_gallery(cards, "search statements", BUTTONS)
    return section("Judged beside right", remark(note), gallery), section("Every statement", table)
