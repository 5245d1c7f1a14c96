"""Figures for notebooks and the report: each function takes data or a run's numbers and returns a matplotlib Figure.

Notable:
- One look for all: `_figure`. Text from data is never read as mathematics, and a letter the font lacks becomes a box.
- Numbers are drawn with their 95 % intervals and their counts; where there is nothing to draw, the figure says so.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path
from blipvqa.text import is_yes_no, normalize, question_type

BLUE, GREEN, RED, GREY, ORANGE = "#2f6690", "#2a7f62", "#b8402a", "#9aa3ab", "#d08c2f"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "figure.dpi": 96,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
}
HEADLINE = {
    "exact_match": "exact match",
    "yes_no_accuracy": "yes/no accuracy",
    "open_exact_match": "open exact match",
    "open_token_f1": "open token F1",
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
}


def _figure(columns: int = 1, width: float = 7.5, height: float = 3.2) -> tuple:
    """(figure, axes…); closed for pyplot, so that a notebook shows it once, where it is returned."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    plt.close(figure)
    return figure, *axes[0]


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def label(text, longest: int = 30) -> str:
    """Text from data as a label: one line, shortened, only letters that the font has."""
    text = " ".join(str(text).split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if ord(c) in _letters() else "□" for c in text)


def _nothing(axes, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=GREY, transform=axes.transAxes)


def _bars(axes, names: list[str], counts: list[int], title: str, colour: str = BLUE) -> None:
    """Horizontal bars, the first on top, each with its count."""
    places = range(len(names))
    axes.barh(places, counts, color=colour)
    axes.set_yticks(places, [label(name) for name in names])
    axes.invert_yaxis()
    axes.bar_label(axes.containers[0], [f" {count:,}" for count in counts], fontsize=8, color="#444")
    axes.margins(x=0.14)
    axes.grid(axis="y", visible=False)
    axes.set_title(title)


# ------------------------------------------------------------------------------------------------ the data


def plot_question_types(splits: Mapping, most: int = 10) -> Figure:
    """Share of each question type (first word) in every split."""
    figure, axes = _figure()
    counts = {name: Counter(question_type(row["question"]) for row in data.rows) for name, data in splits.items()}
    kinds = [kind for kind, _ in sum(counts.values(), Counter()).most_common(most)]
    width = 0.8 / len(counts)
    for k, (name, found) in enumerate(counts.items()):
        places = [i + (k - (len(counts) - 1) / 2) * width for i in range(len(kinds))]
        axes.bar(
            places,
            [found[kind] / sum(found.values()) for kind in kinds],
            width,
            label=name,
            color=(BLUE, ORANGE, GREEN)[k],
        )
    axes.set_xticks(range(len(kinds)), [label(kind, 14) for kind in kinds])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title("question types, share of each split")
    axes.legend()
    return figure


def plot_lengths(splits: Mapping) -> Figure:
    """Words in questions and in open answers of train."""
    figure, left, right = _figure(2)
    rows = splits["train"].rows
    for axes, title, texts in (
        (left, "words in a question", [row["question"] for row in rows]),
        (right, "words in an open answer", [row["answer"] for row in rows if not is_yes_no(row["answer"])]),
    ):
        lengths = Counter(min(len(text.split()), 25) for text in texts)
        if not lengths:
            _nothing(axes, "no open answers")
            continue
        axes.bar(list(lengths), list(lengths.values()), color=BLUE)
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("25: and more" if 25 in lengths else "")
    return figure


def plot_answers(splits: Mapping, most: int = 12) -> Figure:
    """The commonest answers in train, yes and no among them, and the commonest open ones."""
    figure, left, right = _figure(2, height=3.8)
    counts = Counter(normalize(row["answer"]) for row in splits["train"].rows)
    yes_no = sum(n for answer, n in counts.items() if is_yes_no(answer))
    kinds = {"yes": counts["yes"], "no": counts["no"], "open": counts.total() - yes_no}
    _bars(left, list(kinds), list(kinds.values()), "answers in train")
    commonest = [(a, n) for a, n in counts.most_common() if not is_yes_no(a)][:most]
    if commonest:
        _bars(right, [a for a, _ in commonest], [n for _, n in commonest], "commonest open answers")
    else:
        _nothing(right, "no open answers")
    return figure


def plot_questions_per_image(splits: Mapping) -> Figure:
    """How many images of train have how many questions."""
    figure, axes = _figure(height=2.8)
    sizes = Counter(Counter(row["image_id"] for row in splits["train"].rows).values())
    axes.bar(list(sizes), list(sizes.values()), color=BLUE)
    axes.set_title("questions per image, train")
    axes.set_xlabel("questions")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("images")
    return figure


# ------------------------------------------------------------------------------------------------ training


def plot_history(run, reference: str | None = None) -> Figure:
    """Loss, validation scores and speed of a run, and a reference curve (csv of epoch, loss) where one is named."""
    figure, left, middle, right = _figure(3, width=11)
    history = run.history
    steps = [row for row in history if row["type"] == "step"]
    epochs = [row for row in history if row["type"] == "epoch"]
    left.plot(
        [r["epoch"] for r in steps], [r["loss"] for r in steps], color=BLUE, alpha=0.35, lw=1, label="train, step"
    )
    trained = [r for r in epochs if r["train_loss"] is not None]
    left.plot([r["epoch"] for r in trained], [r["train_loss"] for r in trained], color=BLUE, label="train, epoch")
    left.plot([r["epoch"] for r in epochs], [r["loss"] for r in epochs], "o-", ms=3, color=ORANGE, label="validation")
    left.set_title("loss per answer")
    if reference:
        _draw_reference(left, reference)
    left.legend(fontsize=8)
    for (name, title), colour in zip(list(HEADLINE.items())[:3], (GREEN, BLUE, ORANGE), strict=True):
        known = [r for r in epochs if r.get(name) is not None]
        middle.plot([r["epoch"] for r in known], [r[name] for r in known], "o-", ms=3, color=colour, label=title)
    for row in [r for r in epochs if r["best"]][-1:]:
        middle.axvline(row["epoch"], color=GREY, lw=1, ls=":")
    middle.set_ylim(-0.02, 1.02)
    middle.set_title("validation (dotted: best epoch)")
    middle.legend(fontsize=8)
    right.plot([r["epoch"] for r in steps], [r["questions_per_second"] for r in steps], color=BLUE, lw=1)
    right.set_ylim(bottom=0)
    right.set_title("questions a second")
    for axes in (left, middle, right):
        axes.set_xlabel("epoch")
    return figure


def read_reference(path: str) -> list[tuple[float, float]]:
    """(epoch, loss) of a reference curve. Raises ConfigError that says what is wrong with the file."""
    try:
        with open(project_path(path), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [(float(row["epoch"]), float(row["loss"])) for row in rows]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"reference_curve '{path}': expected a csv with columns epoch, loss ({error})") from None


def _draw_reference(axes, path: str) -> None:
    """On a scale of its own: a loss counted otherwise compares in shape only. Epochs that it lacks leave a gap."""
    curve = read_reference(path)
    other = axes.twinx()
    known = dict(curve)
    epochs = range(round(min(known)), round(max(known)) + 1)
    other.plot(epochs, [known.get(e, float("nan")) for e in epochs], "--", color="#666", lw=1)
    other.set_ylabel(f"dashed: {label(Path(path).stem)}, its own scale", fontsize=8, color="#666")
    other.spines["right"].set_visible(True)
    other.grid(visible=False)
    axes.set_xlim(-0.5, max(known) + 0.5)


# ------------------------------------------------------------------------------------------------ scores


def _points(axes, names: list[str], entries: list[Mapping], colour: str, legend: str, shift: float = 0.0) -> None:
    """Values with their intervals, one row each; entries without a value are left out."""
    for i, entry in enumerate(entries):
        if entry and entry["value"] is not None:
            low, high = (entry["value"] if entry[k] is None else entry[k] for k in ("low", "high"))
            axes.plot([low, high], [i + shift] * 2, color=colour, lw=2, alpha=0.5)
            axes.plot(entry["value"], i + shift, "o", color=colour, ms=6, label=legend)
            legend = "_"
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)


def plot_metrics(scores: Mapping) -> Figure:
    """The headline numbers with intervals, beside what needs no picture, and the ceiling."""
    names = [name for name in HEADLINE if scores["overall"].get(name, {}).get("value") is not None]
    figure, axes = _figure(height=0.9 + 0.42 * len(names))
    titles = [HEADLINE[name] for name in names]
    blank = scores.get("grounding", {}).get("blank", {}).get("overall", {})
    _points(axes, titles, [scores["ceiling"].get(n) for n in names], GREY, "ceiling", 0.0)
    _points(axes, titles, [scores.get("start", {}).get(n) for n in names], "#c9b458", "before training", 0.1)
    _points(axes, titles, [scores.get("baseline", {}).get(n) for n in names], ORANGE, "majority answer", 0.2)
    _points(axes, titles, [blank.get(n) for n in names], RED, "picture blanked", 0.3)
    _points(axes, titles, [scores["overall"][n] for n in names], GREEN, "this run", -0.1)
    axes.set_title(f"numbers on {scores.get('split', 'the split')}, with 95 % intervals over images")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_by(scores: Mapping, axis: str = "question_type", metric: str = "exact_match", most: int = 14) -> Figure:
    """One measure in every level of an axis, with the picture and without it."""
    levels = list(scores["by"][axis])[:most]
    entries = [scores["by"][axis][level].get(metric, {"value": None, "n": 0}) for level in levels]
    figure, axes = _figure(height=0.9 + 0.34 * len(levels))
    names = [f"{label(level)}  (n={entry['n']:,})" for level, entry in zip(levels, entries, strict=True)]
    blank = scores.get("grounding", {}).get("blank", {}).get("by", {}).get(axis, {})
    _points(axes, names, [blank.get(level, {}).get(metric) for level in levels], RED, "picture blanked", 0.15)
    _points(axes, names, entries, GREEN, "this run")
    axes.set_title(f"{HEADLINE.get(metric, metric)} by {label(axis).replace('_', ' ')}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_answer_frequencies(predictions: Iterable[Mapping], most: int = 14) -> Figure:
    """How often each of the commonest answers is right, and how often it is given."""
    predictions = list(predictions)
    actual = Counter(normalize(row["answer"]) for row in predictions)
    predicted = Counter(normalize(row["prediction"]) for row in predictions)
    shown = [answer for answer, _ in (actual + predicted).most_common(most)]
    figure, axes = _figure(height=1 + 0.32 * len(shown))
    places = range(len(shown))
    axes.barh([i - 0.2 for i in places], [actual[a] for a in shown], 0.38, color=GREY, label="actual")
    axes.barh([i + 0.2 for i in places], [predicted[a] for a in shown], 0.38, color=BLUE, label="predicted")
    axes.set_yticks(places, [label(a) or "(empty)" for a in shown])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_title("commonest answers, actual and predicted")
    axes.legend()
    return figure


def plot_grounding(scores: Mapping) -> Figure:
    """Exact match by question type with the right picture, another one, and none."""
    kinds = scores["by"]["question_type"]
    figure, axes = _figure(height=0.9 + 0.36 * min(len(kinds), 12))
    levels = list(kinds)[:12]
    names = [f"{label(level)}  (n={kinds[level]['exact_match']['n']:,})" for level in levels]
    for variant, colour, legend, shift in (
        ("blank", RED, "blanked", 0.2),
        ("shuffled", ORANGE, "another picture", 0.0),
    ):
        found = scores["grounding"][variant]["by"]["question_type"]
        _points(axes, names, [found.get(k, {}).get("exact_match") for k in levels], colour, legend, shift)
    _points(axes, names, [kinds[k]["exact_match"] for k in levels], GREEN, "its own picture", -0.2)
    axes.set_title("exact match: what of it needs the picture")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_stress(found: Mapping) -> Figure:
    """Exact match against the strength of each corruption (`corruptions.stress`)."""
    figure, axes = _figure(width=8.5, height=3.8)
    clean = found["clean"]
    colours = plt.get_cmap("tab10").colors
    for k, (kind, levels) in enumerate(found["scores"].items()):
        strengths = [0, *map(int, levels)]
        values = [clean["value"], *(entry["value"] for entry in levels.values())]
        axes.plot(strengths, values, "o-", ms=4, label=label(kind), color=colours[k % 10])
    if clean["low"] is not None:
        axes.axhspan(clean["low"], clean["high"], color=GREY, alpha=0.2)
    axes.set(ylim=(0, 1.02), xlabel="strength (0: as it is, its 95 % interval in grey)", ylabel="exact match")
    axes.set_title(f"corrupted pictures, {found['n']:,} questions of {found['split']}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


# ------------------------------------------------------------------------------------------------ confidence


def plot_reliability(found: Mapping) -> Figure:
    """How often answers of a confidence are right, before and after calibration (`metrics["confidence"]`); the larger a
    point and the grey bar below it, the more questions it stands for."""
    figure, left, right = _figure(2, height=3.4)
    for axes, name in ((left, "before"), (right, "after")):
        if not found[name]:
            _nothing(axes, "no validation split to calibrate on")
            continue
        bins = [b for b in found[name]["bins"] if b["n"]]
        most = max((b["n"] for b in bins), default=1)
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        axes.bar(
            [(b["low"] + b["high"]) / 2 for b in bins],
            [b["n"] / most * 0.25 for b in bins],
            [b["high"] - b["low"] for b in bins],
            color=GREY,
            alpha=0.35,
        )
        axes.scatter(
            [b["confidence"] for b in bins],
            [b["accuracy"] for b in bins],
            [12 + 120 * b["n"] / most for b in bins],
            color=BLUE,
            alpha=0.8,
        )
        axes.set(xlim=(-0.03, 1.05), ylim=(-0.03, 1.05), xlabel="confidence", ylabel="share right")
        axes.set_title(f"{name} calibration: error {found[name]['ece']['value']:.3f}")
    return figure


def plot_coverage(found: Mapping) -> Figure:
    """Accuracy when only the most certain are answered (`metrics["confidence"]`)."""
    figure, axes = _figure(height=3.0)
    curve = found["risk_coverage"]
    axes.plot(curve["coverage"], curve["accuracy"], color=BLUE)
    for point in found["at_coverage"]:
        axes.plot(
            [point["coverage"]] * 2,
            [point["low"] or point["value"], point["high"] or point["value"]],
            color=BLUE,
            lw=2,
            alpha=0.5,
        )
        axes.annotate(
            f"{point['value']:.3f}",
            (point["coverage"], point["value"]),
            textcoords="offset points",
            xytext=(4, 7),
            fontsize=8,
        )
        axes.plot(point["coverage"], point["value"], "o", color=BLUE, ms=4)
    axes.set(
        xlim=(0, 1.03),
        ylim=(0, 1.08),
        xlabel="share of questions answered, the most certain first",
        ylabel="share right",
    )
    axes.set_title("answering only what is certain")
    return figure


def plot_confusion(found: Mapping) -> Figure:
    """What was answered where the commonest answers were right (`metrics["slices"]["confusion"]`)."""
    answers, predicted, counts = found["answers"], found["predicted"], found["counts"]
    figure, axes = _figure(width=7.5, height=1.8 + 0.36 * len(answers))
    shares = [[c / max(1, n) for c in row] for row, n in zip(counts, found["n"], strict=True)]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                axes.text(
                    j,
                    i,
                    f"{count:,}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if shares[i][j] > 0.6 else "#333",
                )
    axes.set_xticks(range(len(predicted)), [label(a, 18) for a in predicted], rotation=35, ha="right")
    axes.set_yticks(range(len(answers)), [label(a, 24) for a in answers])
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_title("commonest answers: what was said instead")
    return figure


def plot_difference(compared: Mapping, names: tuple[str, str]) -> Figure:
    """Differences between two runs on the same questions, with paired intervals (`uncertainty.compare_runs`)."""
    shown = [name for name in HEADLINE if compared["overall"].get(name, {}).get("difference") is not None]
    figure, axes = _figure(height=1.1 + 0.36 * len(shown))
    for i, name in enumerate(shown):
        found = compared["overall"][name]
        low, high = (found["difference"] if found[k] is None else found[k] for k in ("low", "high"))
        colour = (GREEN if found["difference"] > 0 else RED) if found["real"] else GREY
        axes.plot([low, high], [i, i], color=colour, lw=3, alpha=0.6)
        axes.plot(found["difference"], i, "o", color=colour)
    axes.axvline(0, color="#444", lw=1)
    axes.set_yticks(range(len(shown)), [HEADLINE[name] for name in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_title(f"{label(names[1])} minus {label(names[0])}; grey: may be chance")
    return figure
