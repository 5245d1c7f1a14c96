"""How captions are looked at: what notebooks 01 and 02 show of them, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from blipvqa.captions import figures
from blipvqa.captions.pictures import sample_grid, sample_progress
from blipvqa.captions.report import report
from blipvqa.pages.html import Html, drawing, join
from blipvqa.pages.tables import split_table
from blipvqa.pages.wording import said
from blipvqa.training.task import Views


def texts(splits: Mapping) -> Html:
    """How long the captions of train are, and how many a picture has."""
    return join(
        (
            drawing(figures.plot_lengths(splits), "words of a caption"),
            drawing(figures.plot_captions_per_image(splits), "captions a picture"),
        )
    )


VIEWS = Views(
    split_table=partial(split_table, unit="captions"),
    texts=texts,
    sample_grid=sample_grid,
    plot_history=figures.plot_history,
    sample_progress=sample_progress,
    report=report,
    asked=lambda row: [f"reference: {text}" for text in row["references"][:3]],
    said=said,
)
