"""Figures that any task uses: each takes numbers and titles and returns a matplotlib Figure."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path
from blipvqa.pages.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    SERIES,
    empty,
    ends,
    heading,
    label,
    legend,
    new_figure,
    note,
)
from blipvqa.pages.figures import points as draw_points


def plot_history(
    history: Sequence[Mapping], titles: Mapping[str, str], *, unit: str, loss: str, reference: str | None = None
) -> Figure:
    """Loss, validation scores (`titles` by measure) and speed of a run's history, and a reference curve (csv of epoch,
    loss) where one is named. `unit` is what is counted a second ("questions"), `loss` the title of the loss."""
    figure, left, middle, right = new_figure(3, width=11)
    steps = [row for row in history if row["type"] == "step"]
    epochs = [row for row in history if row["type"] == "epoch"]
    _draw_losses(left, steps, epochs, reference)
    heading(left, loss)
    for (name, title), colour in zip(titles.items(), (GREEN, *SERIES), strict=False):
        scored = [row for row in epochs if row.get(name) is not None]
        if scored:
            x, y = [row["epoch"] for row in scored], [row[name] for row in scored]
            middle.plot(x, y, "o-", ms=3, color=colour, label=title)
    for row in [row for row in epochs if row["best"]][-1:]:
        middle.axvline(row["epoch"], color=GREY, lw=1, ls=":")
    middle.set_ylim(-0.02, 1.02)
    heading(middle, "validation (dotted: best epoch)")
    legend(middle, fontsize=8)
    speeds = [row.get("rows_per_second", row.get("questions_per_second")) for row in steps]  # as older runs call it
    right.plot([row["epoch"] for row in steps], speeds, color=BLUE, lw=1)
    right.set_ylim(bottom=0)
    heading(right, f"{unit} a second")
    for axes, drawable in ((left, steps + epochs), (middle, epochs), (right, steps)):
        axes.set_xlabel("epoch")
        if not drawable:
            note(axes, "nothing logged yet")
    return figure


def _draw_losses(axes: Axes, steps: Sequence[Mapping], epochs: Sequence[Mapping], reference: str | None) -> None:
    trained = [row for row in epochs if row["train_loss"] is not None]
    for rows, key, style in (
        (steps, "loss", {"color": BLUE, "alpha": 0.35, "lw": 1, "label": "train, step"}),
        (trained, "train_loss", {"color": BLUE, "label": "train, epoch"}),
        (epochs, "loss", {"color": ORANGE, "marker": "o", "ms": 3, "label": "validation"}),
    ):
        if rows:
            axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], **style)
    if reference:
        _draw_reference(axes, reference)
    legend(axes, fontsize=8)


def plot_histories(histories: Mapping[str, Sequence[Mapping]], measures: Mapping[str, str]) -> Figure:
    """Several runs' loss and validation score over epochs; the score is the first of `measures` (titles by name) that a
    run has."""
    figure, left, right = new_figure(2, width=11)
    for (run, history), colour in zip(histories.items(), SERIES, strict=False):
        epochs = [row for row in history if row["type"] == "epoch"]
        for key, style, what in (("train_loss", "-", "train"), ("loss", "--", "validation")):
            rows = [row for row in epochs if row.get(key) is not None]
            x, y = [row["epoch"] for row in rows], [row[key] for row in rows]
            left.plot(x, y, style, color=colour, label=f"{label(run)}, {what}")
        name = next((name for name in measures if any(row.get(name) is not None for row in epochs)), None)
        rows = [row for row in epochs if row.get(name) is not None]
        if rows:
            x, y = [row["epoch"] for row in rows], [row[name] for row in rows]
            right.plot(x, y, "o-", ms=3, color=colour, label=f"{label(run)}: {measures[name]}")
    for axes, title in ((left, "loss"), (right, "validation")):
        heading(axes, title)
        axes.set_xlabel("epoch")
        legend(axes, fontsize=8)
        if not axes.lines:
            note(axes, "nothing logged yet")
    return figure


def read_reference(path: str) -> list[tuple[float, float]]:
    """(epoch, loss) of a reference curve. Raises ConfigError that says what is wrong with the file."""
    try:
        with open(project_path(path), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        curve = [(float(row["epoch"]), float(row["loss"])) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"reference_curve '{path}': expected a csv with columns epoch, loss ({error})") from None
    if not curve:
        raise ConfigError(f"reference_curve '{path}': expected a csv with columns epoch, loss; it has no row")
    return curve


def _draw_reference(axes: Axes, path: str) -> None:
    """On a scale of its own: a loss counted otherwise compares in shape only. Epochs that it lacks leave a gap."""
    loss_of_epoch = dict(read_reference(path))
    other = axes.twinx()
    epochs = range(round(min(loss_of_epoch)), round(max(loss_of_epoch)) + 1)
    other.plot(epochs, [loss_of_epoch.get(e, float("nan")) for e in epochs], "--", color="#666", lw=1)
    other.set_ylabel(f"dashed: {label(Path(path).stem)}, its own scale", fontsize=8, color="#666")
    other.spines["right"].set_visible(True)
    other.grid(visible=False)
    axes.set_xlim(-0.5, max(loss_of_epoch) + 0.5)


def plot_counts(counts: Mapping[int, int], title: str, x: str, y: str) -> Figure:
    """How often each number stands in the data."""
    figure, axes = new_figure(height=2.8)
    draw_counts(axes, counts, title, x)
    axes.set_ylabel(y)
    return figure


def draw_counts(axes: Axes, counts: Mapping[int, int], title: str, x: str = "", nothing: str = "no rows") -> None:
    """Upright bars over whole numbers."""
    if not counts:
        note(axes, nothing)
        return
    axes.bar(list(counts), list(counts.values()), color=BLUE)
    heading(axes, title)
    axes.set_xlabel(x)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def plot_shares(counts: Mapping[str, Mapping[str, int]], names: Sequence[str], title: str) -> Figure:
    """For each group (a split, say) the share that each of `names` has of all that is counted in it."""
    counts = {group: of_group for group, of_group in counts.items() if sum(of_group.values())}
    if not counts:
        return empty(f"{title}: no rows")
    figure, axes = new_figure()
    width = 0.8 / len(counts)
    for k, (group, of_group) in enumerate(counts.items()):
        places = [i + (k - (len(counts) - 1) / 2) * width for i in range(len(names))]
        shares = [of_group.get(name, 0) / sum(of_group.values()) for name in names]
        axes.bar(places, shares, width, label=label(group), color=SERIES[k % len(SERIES)])
    axes.set_xticks(range(len(names)), [label(name, 14) or "(none)" for name in names])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    heading(axes, title)
    legend(axes)
    return figure


def plot_points(
    names: Sequence[str],
    series: Sequence[tuple[str, str, float, Sequence[Mapping | None]]],
    title: str,
    height: float = 0.36,
) -> Figure:
    """Numbers with their intervals, a row a name; `series` are (legend, colour, shift down, an entry a name)."""
    values = [entry for *_, entries in series for entry in entries if entry and entry["value"] is not None]
    if not values:
        return empty(f"{title}: no number")
    figure, axes = new_figure(height=0.9 + height * len(names))
    for text, colour, shift, entries in series:
        draw_points(axes, names, entries, colour, text, shift)
    heading(axes, title)
    legend(axes, beside=True)
    return figure


def plot_pairs(counts: Mapping[str, tuple[int, int]], titles: tuple[str, str], title: str) -> Figure:
    """Two counts of each name, one bar above the other."""
    if not counts:
        return empty(f"{title}: nothing to count")
    figure, axes = new_figure(height=1 + 0.32 * len(counts))
    places = range(len(counts))
    for k, (text, colour, shift) in enumerate(((titles[0], GREY, -0.2), (titles[1], BLUE, 0.2))):
        widths = [pair[k] for pair in counts.values()]
        axes.barh([i + shift for i in places], widths, 0.38, color=colour, label=text)
    axes.set_yticks(places, [label(name) or "(empty)" for name in counts])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    heading(axes, title)
    legend(axes)
    return figure


def plot_matrix(counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str], title: str) -> Figure:
    """Counts of actual (rows) against predicted (columns), coloured by the share of their row."""
    if not rows:
        return empty(f"{title}: nothing to count")
    figure, axes = new_figure(width=7.5, height=1.8 + 0.36 * len(rows))
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[i][j] > 0.6 else "#333"
                axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [label(name, 18) or "(empty)" for name in columns], rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [label(name, 24) or "(empty)" for name in rows])
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="actual")
    heading(axes, title)
    return figure


def plot_strengths(scores: Mapping, title: str, y: str) -> Figure:
    """A score against the strength of each corruption: {"clean": entry, "scores": {kind: {strength: entry}}}."""
    clean = scores["clean"]
    if clean["value"] is None:
        return empty(f"{title}: no number")
    figure, axes = new_figure(width=8.5, height=3.8)
    colours = plt.get_cmap("tab10").colors
    for k, (kind, levels) in enumerate(scores["scores"].items()):
        strengths = [0, *map(int, levels)]
        values = [entry["value"] for entry in (clean, *levels.values())]
        axes.plot(strengths, values, "o-", ms=4, label=label(kind), color=colours[k % len(colours)])
    if clean["low"] is not None:
        axes.axhspan(clean["low"], clean["high"], color=GREY, alpha=0.2)
    axes.set(ylim=(0, 1.02), xlabel="strength (0: as it is, its 95 % interval in grey)", ylabel=y)
    heading(axes, title)
    legend(axes, beside=True)
    return figure


def plot_difference(differences: Mapping[str, Mapping], names: tuple[str, str]) -> Figure:
    """Differences between two runs in each measure (by its title), with paired intervals."""
    if not differences:
        return empty("no measure that both runs have")
    figure, axes = new_figure(height=1.1 + 0.36 * len(differences))
    for i, entry in enumerate(differences.values()):
        colour = (GREEN if entry["difference"] > 0 else RED) if entry["real"] else GREY
        axes.plot(ends(entry, "difference"), [i, i], color=colour, lw=3, alpha=0.6)
        axes.plot(entry["difference"], i, "o", color=colour)
    axes.axvline(0, color="#444", lw=1)
    axes.set_yticks(range(len(differences)), list(differences))
    axes.set_ylim(len(differences) - 0.5, -0.5)
    heading(axes, f"{label(names[1], 20)} minus {label(names[0], 20)}")
    axes.set_xlabel("grey: may be chance")
    return figure
