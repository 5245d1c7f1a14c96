"""Figures of statements about pairs; what a figure is stands in `pages`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from matplotlib.figure import Figure

from blipvqa.data.labels import LABELS
from blipvqa.pages import plots
from blipvqa.pages.certainty import plot_bins
from blipvqa.pages.figures import BLUE, GREEN, GREY
from blipvqa.pairs.order import about_order
from blipvqa.pairs.titles import CHANGED, HEADLINE
from blipvqa.text import words

HISTORY = {name: HEADLINE[name] for name in ("accuracy", "true_accepted", "false_rejected")}


def plot_lengths(splits: Mapping) -> Figure:
    """How many words the statements of train have."""
    lengths = Counter(len(words(row["sentence"])) for row in splits["train"].rows)
    return plots.plot_counts(dict(sorted(lengths.items())), "words of a statement in train", "words", "statements")


def plot_labels(splits: Mapping) -> Figure:
    """How many statements are true, of those that are about the order of their pictures and of the others."""
    kinds = {True: "about the order", False: "not about the order"}
    counts = {
        f"{name}, {kind}": Counter(row["label"] for row in data.rows if about_order(row["sentence"]) == is_about)
        for name, data in splits.items()
        for is_about, kind in kinds.items()
    }
    return plots.plot_shares(counts, LABELS, "true and false statements")


def plot_history(run, reference: str | None = None) -> Figure:
    """Loss, validation scores and speed of a run."""
    return plots.plot_history(run.history, HISTORY, unit="statements", loss="loss per statement", reference=reference)


def plot_metrics(scores: Mapping) -> Figure:
    """The measures with intervals, beside what sees no picture and the weights before training."""
    columns = (
        ("this run", BLUE, -0.15, scores["overall"]),
        ("no picture", GREY, 0.0, scores.get("baseline", {})),
        ("before training", GREEN, 0.15, scores.get("start", {})),
    )
    names = [name for name in HEADLINE if scores["overall"][name]["value"] is not None]
    series = [
        (legend, colour, shift, [entries.get(name) for name in names]) for legend, colour, shift, entries in columns
    ]
    return plots.plot_points([HEADLINE[name] for name in names], series, f"statements of {scores['split']}")


def plot_changed(scores: Mapping) -> Figure:
    """The accuracy with a statement's own pictures, and with other ones."""
    changed = {title: scores["changed"][name] for name, title in CHANGED.items() if name in scores.get("changed", {})}
    entries = {"both pictures": scores["overall"]["accuracy"], **changed}
    return plots.plot_points(
        list(entries), [("accuracy", BLUE, 0.0, list(entries.values()))], "which pictures it needs"
    )


def plot_by(scores: Mapping, column: str) -> Figure:
    """The accuracy of every level of a column."""
    levels = scores["by"].get(column, {})
    entries = [entries["accuracy"] for entries in levels.values()]
    return plots.plot_points(list(levels), [("accuracy", BLUE, 0.0, entries)], f"accuracy by {column}")


def plot_probabilities(scores: Mapping) -> Figure:
    """How often statements of a probability are true."""
    return plot_bins(scores["confidence"]["bins"], "the probability that a statement is true", "share that is true")
