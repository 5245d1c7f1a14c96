"""`report.html` of a run on captions: one self-contained page, from what its folder holds; no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.captions import figures, tables
from blipvqa.captions.measures import MEASURES
from blipvqa.captions.pictures import mistakes, nothing_wrong, prediction_card, sample_progress, worst_first
from blipvqa.captions.terms import Finder, load_terms
from blipvqa.captions.titles import HEADLINE
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.pages.html import bullets, drawing
from blipvqa.pages.page import Section, folded, paragraph, remark, search_gallery, search_rows, section, wide
from blipvqa.pages.report import report_page, training_section
from blipvqa.pages.wording import interval, number, said
from blipvqa.runs.run import Run
from blipvqa.training.trained import Results

PICTURES = 300
# which captions come first, and what the buttons of the gallery show
WITH_TERMS = ("things named wrongly or left out", "something wrong or left out", "nothing wrong")
WITHOUT_TERMS = ("captions that differ from their references", "differs from its references", "equal to a reference")


def report(results: Results) -> str:
    """The page of what a run wrote on the pictures of one split."""
    run, scores, splits = results.run, results.scores, results.splits
    sections = [
        _numbers(scores),
        *_gallery(run.scored_config(results.split), splits[results.split], results.predictions),
        _training(run, splits),
        _looking(scores),
        section("Known of the data", bullets([*scores["data"]["leaks"], *scores["data"]["changes"]])),
    ]
    return report_page(run, "captions, predicted beside references", scores, HEADLINE, MEASURES, sections)


def _numbers(scores: Mapping) -> Section:
    return section(
        f"Numbers on {scores['split']}",
        wide(tables.metrics_table(scores)),
        drawing(figures.plot_metrics(scores), "the measures with intervals"),
        folded("More: every measure, and by column", wide(tables.more_tables(scores))),
    )


def _training(run: Run, splits: Splits) -> Section:
    samples = sample_progress(run, splits["validation"]) if "validation" in splits else None
    title = "The same dozen validation pictures, before training and after epochs"
    return training_section(figures.plot_history(run, run.config.reference_curve), samples, title)


def _looking(scores: Mapping) -> Section:
    needs = scores.get("needs_picture")
    if not needs or needs["difference"] is None:
        return section("Does it look at the picture?", paragraph("There is no other picture to exchange each one for."))
    text = (
        f"Under the references of another picture the captions have CIDEr-D {number(needs, 'a')} instead of "
        f"{number(needs, 'b')}: {number(needs, 'difference', sign=True)} ({interval(needs, sign=True)}) needs the "
        f"picture. The commonest caption of train, which sees none, is “{scores['baseline_caption']}”."
    )
    above = scores.get("above_nearest")
    searched = above and (
        f"Without writing anything, the captions of train's nearest pictures have {number(above, 'a')}: the model's "
        f"have {number(above, 'difference', sign=True)} ({interval(above, sign=True)}) against them."
    )
    return section("Does it look at the picture?", paragraph(text), *([paragraph(searched)] if searched else []))


def _gallery(config: Config, dataset: VQADataset, predictions: Sequence[Mapping]) -> tuple[Section, Section]:
    """The pictures of the worst captions first, and a table of every caption."""
    finder = Finder(load_terms(config))
    worst = worst_first(predictions, finder)
    shown = worst[:PICTURES]
    first, *buttons = WITH_TERMS if finder.patterns else WITHOUT_TERMS
    wrong_and_right = (buttons[0], buttons[1])
    cards = ((prediction_card(dataset, row, finder), nothing_wrong(row, finder)) for row in shown)
    note = f"{len(shown)} of {len(predictions)} pictures, {first} first."
    gallery = search_gallery(cards, "search captions and references", wrong_and_right)
    rows = (
        (
            [
                row["id"],
                said(row),
                " · ".join(row["references"]),
                *map(_listed, mistakes(row, finder)),
            ],
            nothing_wrong(row, finder),
            number if number <= PICTURES else None,
        )
        for number, row in enumerate(worst, 1)
    )
    head = ["id", "predicted", "references", "not there", "left out"]
    table = search_rows(head, rows, "search every caption", wrong_and_right, "Every caption with its references")
    return section("Predicted beside references", remark(note), gallery), section("Every caption", table)


def _listed(things: set[str]) -> str | None:
    return ", ".join(sorted(things)) or None
