"""Figures of questions, answers and measures; how they are drawn stands in `pages.figures` and `pages.plots`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from matplotlib.figure import Figure

from blipvqa.errors import InputError
from blipvqa.pages import plots
from blipvqa.pages.figures import GREEN, GREY, ORANGE, RED, YELLOW, bars, empty, label, new_figure
from blipvqa.pages.wording import unit
from blipvqa.text import normalize
from blipvqa.vqa.answers import is_yes_no, question_type
from blipvqa.vqa.titles import HEADLINE, spoken

# ------------------------------------------------------------------------------------------------ the data


def plot_question_types(splits: Mapping, most: int = 10) -> Figure:
    """Share of each question type (first word) in every split."""
    counts = {name: Counter(question_type(row["question"]) for row in data.rows) for name, data in splits.items()}
    types = [kind for kind, _ in sum(counts.values(), Counter()).most_common(most)]
    return plots.plot_shares(counts, types, "question types, share of each split")


def plot_lengths(splits: Mapping) -> Figure:
    """Words in questions and in open answers of train."""
    figure, left, right = new_figure(2)
    rows = splits["train"].rows
    for axes, title, texts in (
        (left, "words in a question", [row["question"] for row in rows]),
        (right, "words in an open answer", [row["answer"] for row in rows if not is_yes_no(row["answer"])]),
    ):
        lengths = Counter(min(len(text.split()), 25) for text in texts)
        nothing = "no open answers" if rows else "no questions"
        plots.draw_counts(axes, lengths, title, "25: and more" if 25 in lengths else "", nothing)
    return figure


def plot_answers(splits: Mapping, most: int = 12) -> Figure:
    """The commonest answers in train, yes and no among them, and the commonest open ones."""
    figure, left, right = new_figure(2, height=3.8)
    counts = Counter(normalize(row["answer"]) for row in splits["train"].rows)
    yes_no = sum(n for answer, n in counts.items() if is_yes_no(answer))
    kinds = {"yes": counts["yes"], "no": counts["no"], "open": counts.total() - yes_no}
    bars(left, kinds if counts else {}, "answers in train", "no answers")
    commonest = [(answer, n) for answer, n in counts.most_common() if not is_yes_no(answer)][:most]
    bars(right, dict(commonest), "commonest open answers", "no open answers")
    return figure


def plot_questions_per_image(splits: Mapping) -> Figure:
    """How many images of train have how many questions."""
    sizes = Counter(Counter(row["image_id"] for row in splits["train"].rows).values())
    return plots.plot_counts(sizes, "questions per image, train", "questions", "images")


# ------------------------------------------------------------------------------------------------ training


def plot_history(run, reference: str | None = None) -> Figure:
    """Loss, validation scores and speed of a run, and a reference curve (csv of epoch, loss) where one is named."""
    titles = dict(list(HEADLINE.items())[:3])
    return plots.plot_history(run.history, titles, unit="questions", loss="loss per answer", reference=reference)


# ------------------------------------------------------------------------------------------------ scores


def plot_metrics(scores: Mapping) -> Figure:
    """The headline numbers with intervals, beside what needs no picture, and the ceiling."""
    names = [name for name in HEADLINE if scores["overall"].get(name, {}).get("value") is not None]
    rows = (
        ("ceiling", GREY, 0.0, scores["ceiling"]),
        ("before training", YELLOW, 0.1, scores.get("start", {})),
        ("questions alone", ORANGE, 0.2, scores.get("baseline", {})),
        ("another picture", RED, 0.3, scores.get("grounding", {}).get("shuffled", {}).get("overall", {})),
        ("this run", GREEN, -0.1, scores["overall"]),
    )
    series = [(text, colour, shift, [entries.get(name) for name in names]) for text, colour, shift, entries in rows]
    title = f"numbers on {label(scores.get('split', 'the split'))}, with 95 % intervals over {unit(scores)}"
    return plots.plot_points([HEADLINE[name] for name in names], series, title, height=0.42)


def plot_by(scores: Mapping, axis: str = "question_type", metric: str = "exact_match", most: int = 14) -> Figure:
    """One measure in every level of an axis, with the picture and without it."""
    by_level = scores["by"].get(axis)
    if by_level is None:
        raise InputError(f"axis: '{axis}' is none of {', '.join(scores['by'])}")
    levels = list(by_level)[:most]
    entries = [by_level[level].get(metric) for level in levels]
    exchanged = scores.get("grounding", {}).get("shuffled", {}).get("by", {}).get(axis, {})
    series = [
        ("another picture", RED, 0.15, [exchanged.get(level, {}).get(metric) for level in levels]),
        ("this run", GREEN, 0.0, entries),
    ]
    title = f"{spoken(metric)} by {label(spoken(axis))}"
    return plots.plot_points(_with_counts(levels, entries, unit(scores)), series, title, height=0.34)


def _with_counts(levels: Iterable[str], entries: Iterable[Mapping | None], unit: str) -> list[str]:
    """Each level with its questions and the images they are of: "what  (n=120, 40 images)"."""
    return [
        f"{label(level) or '(none)'}  (n={entry['n'] if entry else 0:,}{_of_groups(entry, unit)})"
        for level, entry in zip(levels, entries, strict=True)
    ]


def _of_groups(entry: Mapping | None, unit: str) -> str:
    return f", {entry['groups']:,} {unit}" if entry and entry.get("groups") is not None else ""


def plot_answer_frequencies(predictions: Iterable[Mapping], most: int = 14) -> Figure:
    """How often each of the commonest answers is right, and how often it is given."""
    predictions = list(predictions)
    actual = Counter(normalize(row["answer"]) for row in predictions)
    predicted = Counter(normalize(row["prediction"]) for row in predictions)
    commonest = [answer for answer, _ in (actual + predicted).most_common(most)]
    counts = {answer: (actual[answer], predicted[answer]) for answer in commonest}
    return plots.plot_pairs(counts, ("actual", "predicted"), "commonest answers, actual and predicted")


def plot_grounding(scores: Mapping, most: int = 12) -> Figure:
    """Exact match by question type with the right picture, another one, and none."""
    if "grounding" not in scores:
        return empty("not asked without the right picture: grounding is off")
    by_type = scores["by"]["question_type"]
    levels = list(by_type)[:most]
    own = [by_type[level]["exact_match"] for level in levels]
    without = {name: scores["grounding"][name]["by"]["question_type"] for name in ("blank", "shuffled")}
    series = [
        ("blanked", RED, 0.2, [without["blank"].get(level, {}).get("exact_match") for level in levels]),
        ("another picture", ORANGE, 0.0, [without["shuffled"].get(level, {}).get("exact_match") for level in levels]),
        ("its own picture", GREEN, -0.2, own),
    ]
    return plots.plot_points(
        _with_counts(levels, own, unit(scores)), series, "exact match: what of it needs the picture"
    )


def plot_stress(scores: Mapping) -> Figure:
    """Exact match against the strength of each corruption (`stress.stress`)."""
    title = f"corrupted pictures, {scores['n']:,} questions of {label(scores['split'])}"
    return plots.plot_strengths(scores, title, "exact match")


def plot_confusion(confusion: Mapping) -> Figure:
    """What was answered where the commonest answers were right (`metrics["slices"]["confusion"]`)."""
    title = "commonest answers: what was said instead"
    return plots.plot_matrix(confusion["counts"], confusion["answers"], confusion["predicted"], title)
