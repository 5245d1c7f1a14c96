"""Figures of how sure a model is, and how rightly (`metrics["confidence"]`), for any task that has a confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blipvqa.pages.figures import BLUE, GREY, empty, ends, heading, new_figure, note
from blipvqa.pages.wording import number


def plot_reliability(scores: Mapping) -> Figure:
    """How often answers of a confidence are right, before and after calibration; the larger a point and the grey bar
    below it, the more predictions it stands for."""
    figure, left, right = new_figure(2, height=3.4)
    for axes, name in ((left, "before"), (right, "after")):
        if not scores[name]:
            note(axes, "no validation split to calibrate on")
        elif not any(part["n"] for part in scores[name]["bins"]):
            note(axes, "no answer has a confidence")
        else:
            _draw_bins(axes, [part for part in scores[name]["bins"] if part["n"]])
            heading(axes, f"{name} calibration: error {number(scores[name]['ece'])}")
    return figure


def plot_bins(bins: Sequence[Mapping], title: str, right: str) -> Figure:
    """How often statements of a probability are true (`numbers.calibration.reliability_bins`)."""
    bins = [part for part in bins if part["n"]]
    if not bins:
        return empty(f"{title}: nothing to count")
    figure, axes = new_figure(width=4.5, height=3.4)
    _draw_bins(axes, bins)
    axes.set(xlabel="stated probability", ylabel=right)
    heading(axes, title)
    return figure


def _draw_bins(axes: Axes, bins: list[Mapping]) -> None:
    most = max(part["n"] for part in bins)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    middles, widths = [(part["low"] + part["high"]) / 2 for part in bins], [part["high"] - part["low"] for part in bins]
    axes.bar(middles, [part["n"] / most * 0.25 for part in bins], widths, color=GREY, alpha=0.35)
    sizes = [12 + 120 * part["n"] / most for part in bins]
    axes.scatter([p["confidence"] for p in bins], [p["accuracy"] for p in bins], sizes, color=BLUE, alpha=0.8)
    axes.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.05), xlabel="confidence", ylabel="share right")


def plot_coverage(scores: Mapping, unit: str = "questions") -> Figure:
    """Accuracy when only the most certain are answered."""
    curve = scores["risk_coverage"]
    if not curve["coverage"]:
        return empty("answering only what is certain: no answer has a confidence")
    figure, axes = new_figure(height=3.0)
    axes.plot(curve["coverage"], curve["accuracy"], color=BLUE)
    for point in scores["at_coverage"]:
        place = (point["coverage"], point["value"])
        axes.plot([point["coverage"]] * 2, ends(point), color=BLUE, lw=2, alpha=0.5)
        axes.annotate(number(point), place, textcoords="offset points", xytext=(4, 7), fontsize=8)
        axes.plot(*place, "o", color=BLUE, ms=4)
    x = f"share of {unit} answered, the most certain first"
    axes.set(xlim=(0, 1.03), ylim=(0, 1.08), xlabel=x, ylabel="share right")
    heading(axes, "answering only what is certain")
    return figure
