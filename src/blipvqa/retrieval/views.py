"""How retrieval is looked at: what notebooks 01 and 02 show of it, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from blipvqa.pages.html import Html, drawing, join
from blipvqa.pages.tables import split_table
from blipvqa.retrieval import figures
from blipvqa.retrieval.pictures import sample_grid, sample_progress
from blipvqa.retrieval.report import report
from blipvqa.training.task import Views


def texts(splits: Mapping) -> Html:
    """How long the texts of train are, and how many pictures a text describes."""
    return join(
        (
            drawing(figures.plot_lengths(splits), "words of a text"),
            drawing(figures.plot_shared(splits), "pictures that a text describes"),
        )
    )


VIEWS = Views(
    split_table=partial(split_table, unit="texts"),
    texts=texts,
    sample_grid=sample_grid,
    plot_history=figures.plot_history,
    sample_progress=sample_progress,
    report=report,
    asked=lambda row: (row["caption"],),
    said=lambda row: f"picture number {row['img']['rank']}",
)
