"""Figures of what the filter says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from blipvqa.bootstrapping.candidates import SYNTHETIC, WEB, Candidate
from blipvqa.pages.figures import BLUE, GREEN, RED, heading, legend, new_figure, note

BINS = np.linspace(0, 1, 26)
TITLES = {WEB: "texts of the source", SYNTHETIC: "texts written by a model"}


def plot_matches(texts: Sequence[Candidate], threshold: float) -> Figure:
    """How well texts fit by what the models say, by origin; right and wrong ones apart where that is known."""
    figure, *axes = new_figure(len(TITLES), width=9.5)
    for ax, (origin, title) in zip(axes, TITLES.items(), strict=True):
        own = [text for text in texts if text["origin"] == origin]
        if not own:
            note(ax, f"no {title}")
            continue
        if all("right" in text for text in own):
            groups = {"wrong": RED, "right": GREEN}
            values = [[text["match"] for text in own if text["right"] == (name == "right")] for name in groups]
            ax.hist(values, BINS, stacked=True, color=list(groups.values()), label=list(groups))
        else:
            ax.hist([text["match"] for text in own], BINS, color=BLUE)
        ax.axvline(threshold, color="#222", lw=1.2, ls="--", label="kept from here on")
        both = any("likelihood" in text for text in own)
        ax.set_xlabel("match, by ITM and by words" if both else "probability of a match")
        ax.set_ylabel("texts")
        heading(ax, title)
    legend(axes[-1], beside=True)
    return figure
