"""How statements about pairs are looked at: what notebooks 01 and 02 show of them, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from blipvqa.pages.html import Html, drawing, join
from blipvqa.pages.tables import split_table
from blipvqa.pairs import figures
from blipvqa.pairs.pictures import said, sample_grid, sample_progress
from blipvqa.pairs.report import report
from blipvqa.training.task import Views


def texts(splits: Mapping) -> Html:
    """How long the statements of train are, and how many are true."""
    return join(
        (
            drawing(figures.plot_lengths(splits), "words of a statement"),
            drawing(figures.plot_labels(splits), "true and false statements"),
        )
    )


VIEWS = Views(
    split_table=partial(split_table, unit="statements"),
    texts=texts,
    sample_grid=sample_grid,
    plot_history=figures.plot_history,
    sample_progress=sample_progress,
    report=report,
    asked=lambda row: [row["sentence"], f"right: {row['label']}"],
    said=said,
)
