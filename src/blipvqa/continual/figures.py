"""The matrix of a sequence as a picture: which model is right how often on which data set."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from blipvqa.continual.tables import TITLES, model_title
from blipvqa.pages.figures import SERIES, empty, heading, label, legend, new_figure


def plot_matrix(scores: Mapping, method: str, own: bool = False) -> Figure:
    """A method's matrix, dark where much is right; framed is each data set right after its stage."""
    of_method = scores["methods"][method]
    cells = (of_method["own"] if own else of_method)["matrix"]
    names = [stage["name"] for stage in scores["stages"]]
    figure, axes = new_figure(width=7.5, height=1.6 + 0.42 * len(cells))
    values = [[float("nan") if entry["value"] is None else entry["value"] for entry in row] for row in cells]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for k, row in enumerate(cells):
        for j, entry in enumerate(row):
            _write(axes, k, j, entry)
            if len(cells) == len(names) + 1 and k == j + 1:
                axes.add_patch(_frame(j, k))
    axes.set_xticks(range(len(names)), [label(name, 22) for name in names])
    axes.set_yticks(range(len(cells)), [label(model_title(each, scores), 28) for each in of_method["after"]])
    axes.grid(visible=False)
    heading(axes, label(TITLES[method], 60))
    return figure


def _write(axes: Axes, k: int, j: int, entry: Mapping) -> None:
    value = entry["value"]
    text = "–" if value is None else f"{value:.2f}"
    if value is not None and entry["low"] is not None:
        text += f"  [{entry['low']:.2f}, {entry['high']:.2f}]"
    colour = "white" if value is not None and value > 0.55 else "#111"
    axes.text(j, k, text, ha="center", va="center", fontsize=8.5, color=colour)


def _frame(j: int, k: int) -> Rectangle:
    return Rectangle((j - 0.48, k - 0.46), 0.96, 0.92, fill=False, edgecolor="#d08c2f", linewidth=2)


def plot_first(scores: Mapping) -> Figure:
    """The first data set's score after each stage, a line a method; intervals stand in the matrices."""
    names = [stage["name"] for stage in scores["stages"]]
    lines = {
        m: of["matrix"] for m, of in scores["methods"].items() if len(of["matrix"]) == len(names) + 1 and m != "alone"
    }
    if len(names) < 2 or not lines:
        return empty("one stage: nothing that could be forgotten")
    figure, axes = new_figure(width=9.5, height=3.4)
    for (method, cells), colour in zip(lines.items(), SERIES, strict=False):
        entries = [row[0] for row in cells]
        axes.plot(
            range(len(cells)), [entry["value"] for entry in entries], "o-", ms=4, color=colour, label=TITLES[method]
        )
    for method, style in (("joint", ":"), ("alone", "--")):
        of = scores["methods"].get(method)
        if of:
            axes.axhline(of["matrix"][1][0]["value"], ls=style, lw=1, color="#666", label=TITLES[method])
    axes.set_xticks(range(len(names) + 1), ["before", *(label(f"after {i}: {n}", 18) for i, n in enumerate(names, 1))])
    axes.set_ylim(0, 1.02)
    heading(axes, f"what is right of the first data set, {label(names[0], 30)}")
    legend(axes, beside=True, fontsize=8)
    return figure
