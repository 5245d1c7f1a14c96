"""`report.html` of a run on retrieval: one self-contained page, from what its folder holds; no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.pages.html import bullets, drawing
from blipvqa.pages.page import Section, folded, paragraph, remark, search_gallery, section, wide
from blipvqa.pages.report import report_page, training_section
from blipvqa.pages.wording import interval, number
from blipvqa.retrieval import figures, tables
from blipvqa.retrieval.measures import MEASURES
from blipvqa.retrieval.pictures import picture_search, pictures_by_text, sample_progress
from blipvqa.retrieval.titles import HEADLINE, OUTSIDE
from blipvqa.runs.run import Run
from blipvqa.training.trained import Results

PICTURES = 300
TEXTS = 12


def report(results: Results) -> str:
    """The page of what a run found in the gallery of one split."""
    run, scores, splits = results.run, results.scores, results.splits
    data = splits[results.split]
    sections = [
        _numbers(scores, results.predictions),
        _training(run, splits),
        _looking(scores),
        section("Known of the data", bullets([*scores["data"]["leaks"], *scores["data"]["changes"]])),
        _texts(data, results.predictions),
        _gallery(data, results.predictions),
    ]
    return report_page(run, "pictures by words, words by pictures", scores, HEADLINE, MEASURES, sections)


def _numbers(scores: Mapping, predictions: Sequence[Mapping]) -> Section:
    return section(
        f"Numbers on {scores['split']}",
        wide(tables.metrics_table(scores)),
        remark(OUTSIDE),
        drawing(figures.plot_metrics(scores), "the recalls with intervals"),
        drawing(figures.plot_ranks(predictions), "the share of searches with a right one among the first k"),
        wide(tables.matching_table(scores)),
        drawing(figures.plot_matching(scores), "how often pairs of a probability belong together"),
        folded("More: every measure, and by column", wide(tables.more_tables(scores))),
    )


def _training(run: Run, splits: Splits) -> Section:
    samples = sample_progress(run, splits["validation"]) if "validation" in splits else None
    title = "The same validation texts, before training and after epochs"
    return training_section(figures.plot_history(run, run.config.reference_curve), samples, title)


def _looking(scores: Mapping) -> Section:
    needs, gain = scores.get("needs_picture"), scores.get("matched_gain")
    title = "Does it look at the picture?"
    if not needs or needs["difference"] is None:
        return section(title, paragraph("There is no other picture to exchange each one for."))
    text = (
        f"With another picture in each one's place, mean R is {number(needs, 'a')} instead of {number(needs, 'b')}: "
        f"{number(needs, 'difference', sign=True)} ({interval(needs, sign=True)}) needs the picture. Chance alone has "
        f"{number(scores['chance']['r_mean'])}."
    )
    matched = (
        f"Matching the best of each search changes mean R by {number(gain, 'difference', sign=True)} "
        f"({interval(gain, sign=True)}) against the cosine alone."
        if gain
        else ""
    )
    return section(title, *map(paragraph, filter(None, (text, matched))))


def _texts(data: VQADataset, predictions: Sequence[Mapping]) -> Section:
    note = "For each text the nearest pictures of the whole split; those where no right one comes first stand first."
    return section("Pictures by words", remark(note), pictures_by_text(data, predictions, TEXTS))


def _gallery(data: VQADataset, predictions: Sequence[Mapping]) -> Section:
    rows = sorted((row for row in predictions if row.get("txt")), key=lambda row: -row["txt"]["rank"])
    cards = ((picture_search(data, row), row["txt"]["rank"] == 1) for row in rows[:PICTURES])
    note = f"{len(rows[:PICTURES])} of {len(rows)} pictures, the worst searches first."
    gallery = search_gallery(cards, "search texts", ("a wrong text first", "a right text first"))
    return section("Words by picture", remark(note), gallery)
