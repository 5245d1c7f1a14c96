"""One look for all figures, and the pieces that they are made of: bars, points with intervals, notes.

Notable:
- Text is never read as mathematics, at no moment of drawing: `PlainFigure` says so to every text before each drawing
  and each measuring, because matplotlib makes tick labels as late as that.
- Numbers are drawn with their 95 % intervals; where there is nothing to draw, the figure says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, GREEN, RED, GREY, ORANGE, YELLOW = "#2f6690", "#2a7f62", "#b8402a", "#9aa3ab", "#d08c2f", "#c9b458"
SERIES = (BLUE, ORANGE, GREEN, RED, GREY, YELLOW)
PLAIN_TEXT = {"text.parse_math": False, "text.usetex": False}
STYLE = PLAIN_TEXT | {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 96,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


class PlainFigure(Figure):
    """A figure in which `$\\frac{$` is an answer, not a formula, in every text that it holds or will hold."""

    def draw(self, renderer):
        with self._plain():
            super().draw(renderer)

    def get_tightbbox(self, *arguments, **options):  # a notebook measures before it draws
        with self._plain():
            return super().get_tightbbox(*arguments, **options)

    @contextmanager
    def _plain(self) -> Iterator[None]:
        for text in self.findobj(Text):
            text.set_parse_math(False)
            text.set_usetex(False)
        with plt.rc_context(PLAIN_TEXT):  # for tick labels, which are made while the figure is drawn
            yield


def new_figure(columns: int = 1, width: float = 7.5, height: float = 3.2) -> tuple:
    """(figure, axes…); closed for pyplot, so that a notebook shows it once, where it is returned."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, FigureClass=PlainFigure)
    plt.close(figure)
    return figure, *axes[0]


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def label(text, longest: int = 30) -> str:
    """Text from data as a label: one line, shortened, only letters that the font has."""
    text = " ".join(str(text).split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if c.isprintable() and ord(c) in _letters() else "□" for c in text)


def heading(axes: Axes, text: str) -> None:
    """What a plot shows, above its left end."""
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold")


def note(axes: Axes, text: str) -> None:
    """Say, where a plot would be, why there is none."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, label(text, 80), ha="center", va="center", color=GREY, transform=axes.transAxes)


def empty(text: str) -> Figure:
    """A figure that says why it shows nothing."""
    figure, axes = new_figure(height=1.2)
    note(axes, text)
    return figure


def legend(axes: Axes, beside: bool = False, **options) -> None:
    """The legend, in the plot or `beside` it; none where nothing in it has a name."""
    place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if beside else {}
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, **place, **options)


def bars(axes: Axes, counts: Mapping[str, int], title: str, nothing: str = "nothing to count") -> None:
    """Horizontal bars, the first on top, each with its count."""
    if not counts:
        note(axes, nothing)
        return
    places = range(len(counts))
    drawn_bars = axes.barh(places, list(counts.values()), color=BLUE)
    axes.set_yticks(places, [label(name) or "(empty)" for name in counts])
    axes.invert_yaxis()
    axes.bar_label(drawn_bars, [f" {count:,}" for count in counts.values()], fontsize=8, color="#444")
    axes.margins(x=0.14)
    axes.grid(axis="y", visible=False)
    heading(axes, title)


def points(
    axes: Axes,
    names: Sequence[str],
    entries: Sequence[Mapping | None],
    colour: str,
    legend_text: str,
    shift: float = 0.0,
) -> None:
    """Values with their intervals, one row each; entries without a value are left out."""
    for i, entry in enumerate(entries):
        if entry and entry["value"] is not None:
            low, high = ends(entry)
            axes.plot([low, high], [i + shift] * 2, color=colour, lw=2, alpha=0.5)
            axes.plot(entry["value"], i + shift, "o", color=colour, ms=6, label=legend_text)
            legend_text = "_"  # one entry in the legend for all rows
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)


def ends(entry: Mapping, key: str = "value") -> tuple[float, float]:
    """The interval of an entry, or its value twice where it has none."""
    return tuple(entry[key] if entry[end] is None else entry[end] for end in ("low", "high"))
