"""How questions and answers are looked at: what notebooks 01 and 02 show of them, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from blipvqa.pages.html import Html, bullets, drawing, join
from blipvqa.pages.tables import split_table, titled
from blipvqa.pages.wording import said
from blipvqa.training.task import Views
from blipvqa.vqa import figures
from blipvqa.vqa.answers import actual_answer
from blipvqa.vqa.notes import answer_notes
from blipvqa.vqa.pictures import sample_grid, sample_progress
from blipvqa.vqa.report import report


def texts(splits: Mapping) -> Html:
    """What is asked and what is answered: types, lengths, the commonest answers, questions a picture."""
    train = splits["train"]
    asked = (
        drawing(figures.plot_question_types(splits), "question types, share of each split"),
        drawing(figures.plot_lengths(splits), "words in questions and in open answers"),
        drawing(figures.plot_questions_per_image(splits), "questions per image"),
    )
    answered = (drawing(figures.plot_answers(splits), "the commonest answers of train"), bullets(answer_notes(train)))
    return titled("What is asked", join(asked)) + titled("What is answered", join(answered))


VIEWS = Views(
    split_table=partial(split_table, unit="questions"),
    texts=texts,
    sample_grid=sample_grid,
    plot_history=figures.plot_history,
    sample_progress=sample_progress,
    report=report,
    asked=lambda row: (row["question"], f"actual: {actual_answer(row)}"),
    said=said,
)
