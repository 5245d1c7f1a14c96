"""`report.html`: one self-contained page of a run, from what its folder holds; no model runs.

Notable:
- Sections stand in `report` in the order in which they are read; each is a function of numbers or predictions.
- Wrong answers first, then right ones, at most some 300 pictures; a table below them holds every answer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages import certainty
from blipvqa.pages.html import Html, bullets, drawing
from blipvqa.pages.page import Section, folded, paragraph, remark, search_gallery, search_rows, section, wide
from blipvqa.pages.report import report_page, training_section
from blipvqa.pages.tables import confidence_table, table
from blipvqa.pages.wording import count, said, share
from blipvqa.plural import how_many
from blipvqa.runs.run import Run
from blipvqa.runs.seals import read_sealed
from blipvqa.training.trained import Results
from blipvqa.vqa import figures, tables
from blipvqa.vqa import sections as sections_of
from blipvqa.vqa.answers import answered_right
from blipvqa.vqa.explained import stored_explanations
from blipvqa.vqa.grounding import several_line, verdict_line
from blipvqa.vqa.measures import MEASURES
from blipvqa.vqa.notes import stored_notes
from blipvqa.vqa.pictures import explanations, prediction_card, sample_progress, unlikest
from blipvqa.vqa.readers import agreement, agreement_line, disagreements_rows
from blipvqa.vqa.review import read_review, review_file
from blipvqa.vqa.titles import HEADLINE

PICTURES = 300
QUESTIONS_A_CARD = 8
COLUMNS = 3  # of the data's own, in the table of all answers


def report(results: Results) -> str:
    """The page of what a run answered on one split."""
    run, split, splits = results.run, results.split, results.splits
    scores, predictions = results.scores, results.predictions
    gallery, card_of = _gallery(splits[split], predictions)
    sections = [
        _numbers(scores),
        gallery,
        _all_answers(splits[split], predictions, card_of),
        _curves(run, splits) if run.history else None,  # predictions of others have none
        sections_of.ensemble_section(scores),
        _grounding(scores),
        _history(scores),
        _candidates(scores),
        _confidence(scores),
        _answer_sets(scores),
        sections_of.answering_section(scores),
        sections_of.operating_section(scores),
        sections_of.subgroups_section(scores),
        sections_of.consistency_section(scores, splits[split], predictions),
        _foreign(scores, splits[split], predictions),
        _answers(scores, predictions),
        _explained(run, split, splits[split], predictions) if run.history else None,
        sections_of.pointing_section(scores),
        _stress(run, split),
        _review(run, split, predictions),
        _published(scores),
        _data(scores),
    ]
    return report_page(run, "predicted against actual", scores, HEADLINE, MEASURES, sections, verdict_line(scores))


def _numbers(scores: Mapping) -> Section:
    return section(
        f"Numbers on {scores['split']}",
        wide(tables.metrics_table(scores)),
        drawing(figures.plot_metrics(scores), "the headline numbers with intervals"),
        drawing(figures.plot_by(scores), "exact match by question type"),
        wide(tables.by_table(scores)),
        folded("More: variants, slices, mistakes", wide(tables.more_tables(scores))),
    )


def _curves(run: Run, splits: Splits) -> Section:
    samples = sample_progress(run, splits["validation"]) if "validation" in splits else None
    title = "The same dozen validation questions, before training and after epochs"
    return training_section(figures.plot_history(run, run.config.reference_curve), samples, title)


def _grounding(scores: Mapping) -> Section | None:
    if "grounding" not in scores:
        return None
    return section(
        "Does it look at the picture?",
        paragraph(" ".join(filter(None, [verdict_line(scores), _followed(scores["grounding"]), several_line(scores)]))),
        wide(tables.grounding_table(scores)),
        drawing(figures.plot_grounding(scores), "exact match with and without the picture"),
    )


def _history(scores: Mapping) -> Section | None:
    """How much of the score needs the conversation; None where no question has one."""
    if not scores.get("history"):
        return None
    note = (
        "Questions that come after others are asked again without these turns, and behind those of another row with "
        "the same question and another answer."
    )
    return section(
        "Does it need the conversation?",
        paragraph(" ".join(filter(None, [note, _followed(scores["history"], "the other conversation")]))),
        wide(tables.history_table(scores)),
    )


def _candidates(scores: Mapping) -> Section | None:
    """Ranks among candidates; None where no row brings any."""
    if not scores.get("candidates"):
        return None
    missing = scores["candidates"]["without"]
    note = (
        "Each question's own candidates, ranked by their likelihood; one that is as likely as the answer stands before."
    )
    note += f" {missing:,} questions have an answer that is none of their candidates, and no rank." if missing else ""
    return section("The answer among its candidates", remark(note), wide(tables.candidates_table(scores)))


def _followed(grounding: Mapping, new: str = "the new picture") -> str:
    """How often right answers follow a picture, or turns, with another answer; "" where there is none."""
    followed, stayed = grounding.get("followed"), grounding.get("stayed")
    if not followed or followed["value"] is None:
        return ""
    return (
        f"Of {count(followed)} right answers to questions that {new} answers otherwise, "
        f"{share(followed['value'])} follow it and {share(stayed['value'])} stay."
    )


def _confidence(scores: Mapping) -> Section | None:
    if "confidence" not in scores:
        return None
    confidence = scores["confidence"]
    return section(
        "How sure, and how rightly",
        drawing(certainty.plot_reliability(confidence), "reliability"),
        drawing(certainty.plot_coverage(confidence), "accuracy by coverage"),
        wide(confidence_table(confidence)),
    )


def _answer_sets(scores: Mapping) -> Section | None:
    if not scores.get("answer_sets"):
        return None
    sets = scores["answer_sets"]
    return section("Answer sets", remark(tables.sets_note(sets)), wide(tables.sets_table(scores)))


def _foreign(scores: Mapping, dataset: VQADataset, predictions: Sequence[Mapping]) -> Section | None:
    if "foreign" not in scores:
        return None
    return section(
        "Pictures unlike those of training", paragraph(tables.foreign_note(scores)), unlikest(dataset, predictions)
    )


def _answers(scores: Mapping, predictions: Sequence[Mapping]) -> Section:
    return section(
        "Answers",
        drawing(figures.plot_answer_frequencies(predictions), "answers, actual and predicted"),
        drawing(figures.plot_confusion(scores["slices"]["confusion"]), "confusion of common answers"),
    )


def _explained(run: Run, split: str, dataset: VQADataset, predictions: Sequence[Mapping]) -> Section:
    note = (
        "Gradient-weighted attention of the question to the picture, warm where it spoke for the answer given. It "
        "shows what the model used, not that it was right to."
    )
    return section(
        "What moved the answer", remark(note), explanations(dataset, predictions, stored_explanations(run, split))
    )


def _review(run: Run, split: str, predictions: Sequence[Mapping]) -> Section | None:
    file = run.folder / f"review-{split}.csv"
    title, bootstrap = "An expert's verdict", Bootstrap(run.config.data.group)
    try:
        review = read_review(file, predictions, bootstrap) if file.exists() else None
    except InputError as error:  # one wrong cell of the sheet is no reason to have no report
        return section(title, paragraph(f"The review sheet cannot be read. {error}"))
    if not review or not any(review["verdicts"].values()):
        return None
    return section(title, tables.review_table(review), *_second_reader(run, split, predictions, bootstrap))


def _second_reader(run: Run, split: str, predictions: Sequence[Mapping], bootstrap: Bootstrap) -> list[Html]:
    """How far a second sheet agrees, and where it does not; nothing where there is none."""
    second = review_file(run.folder, split, reader=2)
    if not second.exists():
        return []
    try:
        agreed = agreement(review_file(run.folder, split), second, predictions, bootstrap)
    except InputError as error:
        return [paragraph(f"The second reader's sheet cannot be read. {error}")]
    head = ["id", "question", "actual", "predicted", "first reader", "second reader"]
    told = wide(table(head, disagreements_rows(agreed), left=6))
    return [paragraph(agreement_line(agreed)), folded(how_many(len(agreed["disagreements"]), "disagreement"), told)]


def _published(scores: Mapping) -> Section | None:
    if "published" not in scores:
        return None
    note = (
        "Scripts of this field disagree, and some are wrong; each line is what one of them would print for this run, "
        "its faults included. Compare only with numbers on the same split and the same questions."
    )
    return section("To compare with a published number", remark(note), wide(tables.published_table(scores)))


def _data(scores: Mapping) -> Section:
    return section("Known of the data", bullets(stored_notes(scores)))


def _stress(run: Run, split: str) -> Section | None:
    file = run.folder / f"stress-{split}.json"
    if not file.exists():
        return None
    scores, title = read_sealed(file), "Corrupted pictures"
    if scores.get("weights") != run.state.get("weights"):
        return section(title, paragraph("Notebook 05 was run with weights that the run no longer has: run it again."))
    return section(title, drawing(figures.plot_stress(scores), "score against corruption"))


def _gallery(dataset: VQADataset, predictions: Sequence[Mapping]) -> tuple[Section, dict[str, int]]:
    """Cards of up to eight questions of one image; those with a wrong answer first. And the card of each image."""
    by_image = list(rows_by(row["image_id"] for row in predictions).values())
    random.Random(0).shuffle(by_image)
    shown = [[predictions[i] for i in rows[:QUESTIONS_A_CARD]] for rows in by_image[:PICTURES]]
    shown.sort(key=lambda rows: all(map(answered_right, rows)))
    at_random = "" if len(shown) == len(by_image) else ", drawn at random"
    note = (
        f"{len(shown)} of {len(by_image)} images{at_random}, those with a wrong answer first; at most "
        f"{QUESTIONS_A_CARD} questions each. Every answer stands in the table below."
    )
    cards = ((prediction_card(dataset, rows), all(map(answered_right, rows))) for rows in shown)
    gallery = search_gallery(cards, "search questions and answers", ("with a wrong answer", "all right"))
    card_of = {rows[0]["image_id"]: number for number, rows in enumerate(shown, 1)}
    return section("Predicted against actual", remark(note), gallery), card_of


def _all_answers(dataset: VQADataset, predictions: Sequence[Mapping], card_of: Mapping[str, int]) -> Section:
    """Every answer in a table; the id leads to the picture's card, where it has one."""
    axes = dataset.breakdown[:COLUMNS]
    head = ["id", "picture", "question", "actual", "predicted", "confidence", *axes, "right?"]
    rows = (
        (
            [
                row["id"],
                dataset.image_path(dataset.index(row["id"])) or row["image_id"][:12],
                row["question"],
                row["answer"],
                said(row),
                row.get("confidence"),
                *(row.get(axis) for axis in axes),
                "right" if answered_right(row) else "wrong",
            ],
            answered_right(row),
            card_of.get(row["image_id"]),
        )
        for row in sorted(predictions, key=answered_right)
    )
    table = search_rows(head, rows, "search every answer", ("wrong", "right"), "Every question with its answers")
    note = (
        "Wrong ones first; to search, and to sort by any column. The same as all-predictions.csv of this run's folder."
    )
    return section("Every answer", remark(note), table)
