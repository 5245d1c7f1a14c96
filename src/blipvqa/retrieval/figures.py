"""Figures of searches; what a figure is stands in `pages`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from blipvqa.numbers.grouping import rows_by
from blipvqa.numbers.ranks import chance_of_recall
from blipvqa.pages import plots
from blipvqa.pages.certainty import plot_bins
from blipvqa.pages.figures import BLUE, GREEN, GREY, ORANGE, RED, empty, heading, legend, new_figure
from blipvqa.plural import how_many
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.measures import DIRECTIONS, title
from blipvqa.retrieval.tables import by_cosine
from blipvqa.retrieval.titles import RECALLS
from blipvqa.text import normalize, words

HISTORY = {name: title(name) for name in ("r_mean", "txt_r1", "img_r1")}


def plot_lengths(splits: Mapping) -> Figure:
    """How many words the texts of train have."""
    lengths = Counter(len(words(row["caption"])) for row in splits["train"].rows)
    return plots.plot_counts(dict(sorted(lengths.items())), "words of a text in train", "words", "texts")


def plot_shared(splits: Mapping) -> Figure:
    """How many pictures of train a text describes: where it is many, no search can be right by the text alone."""
    texts = rows_by(normalize(row["caption"]) for row in splits["train"].rows).values()
    pictures = Counter(len({splits["train"].rows[i]["image_id"] for i in rows}) for rows in texts)
    return plots.plot_counts(dict(sorted(pictures.items())), "pictures that a text describes", "pictures", "texts")


def plot_history(run, reference: str | None = None) -> Figure:
    """Loss, validation scores and speed of a run."""
    return plots.plot_history(run.history, HISTORY, unit="pairs", loss="loss per pair", reference=reference)


def plot_metrics(scores: Mapping) -> Figure:
    """The recalls with intervals, beside the order by cosine, chance, and what needs no look."""
    columns = (
        ("with matching" if by_cosine(scores) else "by cosine", BLUE, -0.24, scores["overall"]),
        ("cosine alone", ORANGE, -0.12, by_cosine(scores)),
        ("before training", GREEN, 0.0, scores.get("start", {})),
        ("other pictures", RED, 0.12, scores.get("exchanged", {})),
        ("chance", GREY, 0.24, scores["chance"]),
    )
    series = [
        (text, colour, shift, [entries.get(name) for name in RECALLS]) for text, colour, shift, entries in columns
    ]
    sizes = scores["gallery"]
    heading_text = f"{scores['split']}: {how_many(sizes['pictures'], 'picture')}, {how_many(sizes['texts'], 'text')}"
    return plots.plot_points(list(RECALLS.values()), series, heading_text)


def plot_ranks(predictions: Sequence[Mapping]) -> Figure:
    """The share of searches with a right one among the first k, for every k, beside a random order."""
    if not predictions:
        return empty("ranks: no search")
    gallery = Gallery.of_rows(predictions)
    figure, *both = new_figure(2, width=9)
    sizes = {"img": len(gallery.picture_rows), "txt": len(gallery.text_rows)}
    right = {
        "img": np.array([len(gallery.pictures_of_text[text]) for text in gallery.text_of]),
        "txt": np.array([len(texts) for texts in gallery.texts_of_picture]),
    }
    for axes, (direction, what) in zip(both, DIRECTIONS.items(), strict=True):
        searches = [row[direction] for row in predictions if row.get(direction)]
        size = sizes[direction]
        k = np.unique(np.geomspace(1, max(size, 2), 60).astype(int))
        for name, colour, text in (("rank", BLUE, "this run"), ("itc_rank", ORANGE, "cosine alone")):
            ranks = np.sort([search[name] for search in searches])
            axes.plot(k, np.searchsorted(ranks, k, side="right") / len(ranks), color=colour, label=text)
        axes.plot(k, [chance_of_recall(n, right[direction], size).mean() for n in k], "--", color=GREY, label="chance")
        axes.set(xscale="log", ylim=(0, 1.02), xlabel=f"first k of {size:,}")
        marks = [mark for power in range(7) for mark in (10**power, 3 * 10**power) if mark <= size]
        axes.set_xticks(marks, [f"{mark:,}" for mark in marks])  # else they are formulas, which no figure here draws
        axes.set_xticks([], minor=True)
        heading(axes, what)
    both[0].set_ylabel("share of searches with a right one")
    legend(both[0], fontsize=8)
    return figure


def plot_matching(scores: Mapping) -> Figure:
    """How often pairs of a probability belong together."""
    return plot_bins(scores["matching"]["bins"], "matching: the probability of a match", "share that belongs together")
