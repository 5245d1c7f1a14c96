"""Figures of captions; what a figure is stands in `pages`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from matplotlib.figure import Figure

from blipvqa.captions.measures import MEASURES
from blipvqa.captions.titles import SHARES
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages import plots
from blipvqa.pages.figures import BLUE, GREEN, GREY, ORANGE, YELLOW
from blipvqa.text import words

HISTORY = {name: MEASURES.title(name) for name in ("bleu_4", "terms_recalled", "terms_invented")}


def plot_lengths(splits: Mapping) -> Figure:
    """How many words the captions of train have."""
    lengths = Counter(len(words(row["caption"])) for row in splits["train"].rows)
    return plots.plot_counts(dict(sorted(lengths.items())), "words of a caption in train", "words", "captions")


def plot_captions_per_image(splits: Mapping) -> Figure:
    """How many captions a picture of train has."""
    rows = rows_by(row["image_id"] for row in splits["train"].rows).values()
    return plots.plot_counts(
        dict(sorted(Counter(map(len, rows)).items())), "captions a picture", "captions", "pictures"
    )


def plot_history(run, reference: str | None = None) -> Figure:
    """Loss, validation scores and speed of a run."""
    return plots.plot_history(run.history, HISTORY, unit="captions", loss="loss per caption", reference=reference)


def plot_metrics(scores: Mapping) -> Figure:
    """The measures that lie between 0 and 1, with intervals, beside what writes no caption or needs no picture."""
    names = [name for name in SHARES if scores["overall"].get(name, {}).get("value") is not None]
    columns = (
        ("this run", BLUE, -0.24, scores["overall"]),
        ("nearest picture's caption", YELLOW, -0.12, scores.get("nearest", {})),
        ("other pictures", ORANGE, 0.0, scores.get("exchanged", {})),
        ("commonest caption", GREY, 0.12, scores.get("baseline", {})),
        ("before training", GREEN, 0.24, scores.get("start", {})),
    )
    series = [
        (legend, colour, shift, [entries.get(name) for name in names]) for legend, colour, shift, entries in columns
    ]
    return plots.plot_points([MEASURES.title(name) for name in names], series, f"captions of {scores['split']}")
