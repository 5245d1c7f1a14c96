"""Tables of questions, answers and measures; what a table is stands in `pages.tables`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.pages.html import Html, join
from blipvqa.pages.tables import measures_table, table, titled
from blipvqa.pages.wording import count, counted, interval, number, share
from blipvqa.plural import how_many
from blipvqa.vqa.baselines import TITLES
from blipvqa.vqa.candidate_ranks import RANKS
from blipvqa.vqa.measures import MEASURES
from blipvqa.vqa.published import MACRO_F1, MACRO_F1_MEANING, PUBLISHED
from blipvqa.vqa.titles import CONTROLS, HEADLINE, spoken


def metrics_table(scores: Mapping) -> Html:
    """The headline: each number with its 95 % interval and count, the ceiling, and what needs no picture."""
    columns = {
        "generated": scores.get("generated"),
        "ceiling": scores["ceiling"],
        "questions alone": scores.get("baseline"),
        "another picture": scores.get("grounding", {}).get("shuffled", {}).get("overall"),
        "before training": scores.get("start"),
    }
    others = {title: _by_title(entries) for title, entries in columns.items() if entries}
    return measures_table(_by_title(scores["overall"]), others, unit=counted(scores))


def _by_title(entries: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {HEADLINE[name]: entry for name, entry in entries.items() if name in HEADLINE}


def variants_table(scores: Mapping) -> Html:
    """Every further measure under its own name, with what it counts."""
    rows = [
        (
            spoken(name),
            Html('<span style="color:var(--faint,#555)">{}</span>').format(MEASURES[name].meaning),
            number(entry),
            interval(entry),
            count(entry),
        )
        for name, entry in scores["overall"].items()
        if name not in HEADLINE and entry["value"] is not None
    ]
    return table(["measure", "what it is", "value", "95 % interval", counted(scores)], rows, left=2)


def published_table(scores: Mapping) -> Html:
    """This run under the conventions of other people's scripts (`published`), one of their numbers a line."""
    meanings = {name: (measure.title, measure.meaning) for name, measure in PUBLISHED.items()}
    meanings[MACRO_F1] = ("PathVQA paper, macro F1", MACRO_F1_MEANING)
    rows = [
        (*meanings[name], number(entry), interval(entry), count(entry))
        for name, entry in scores["published"].items()
        if entry["value"] is not None
    ]
    return table(["whose number", "what it computes", "this run", "95 % interval", counted(scores)], rows, left=2)


def by_table(scores: Mapping, axis: str = "question_type", most: int = 100) -> Html:
    """The largest levels of an axis: exact match with interval and count, with another picture, yes/no and open."""
    levels = scores["by"].get(axis, {})
    exchanged = scores.get("grounding", {}).get("shuffled", {}).get("by", {}).get(axis, {})
    rows = [
        (
            level,
            number(entries["exact_match"]),
            interval(entries["exact_match"]),
            count(entries["exact_match"]),
            number(exchanged.get(level, {}).get("exact_match")),
            *(number(entries.get(name)) for name in ("yes_no_accuracy", "open_exact_match", "open_token_f1")),
        )
        for level, entries in list(levels.items())[:most]
    ]
    if len(levels) > most:
        rows.append((f"… and {len(levels) - most:,} more in metrics-{scores.get('split', '*')}.json", *[""] * 7))
    numbers = ["exact match", "95 % interval", counted(scores), "another picture", "yes/no", "open exact", "open F1"]
    return table([spoken(axis), *numbers], rows)


def slice_table(rows: Sequence[Mapping], title: str, unit: str = "questions (images)") -> Html:
    """A table of `metrics["slices"]`; levels without a question are left out."""
    shown = [(_slice(row["slice"]), number(row, "exact_match"), interval(row), count(row)) for row in rows if row["n"]]
    return table([title, "exact match", "95 % interval", unit], shown)


def worst_table(rows: Sequence[Mapping], unit: str) -> Html:
    """The worst slices, beside what remains of each without the luck of being the worst of many."""
    shown = [
        (_slice(row["slice"]), number(row, "exact_match"), interval(row), count(row), number(row, "shrunk"))
        for row in rows
        if row["n"]
    ]
    return table(["slice", "exact match", "95 % interval", unit, "without luck (shrunk)"], shown)


def _worst_of(slices: Mapping) -> str:
    looked_at = f" {slices['looked_at']}" if "looked_at" in slices else ""
    return f"Worst of{looked_at} slices of ten questions and more: the worst of many is partly bad luck"


def _slice(name: str) -> str:
    """ "question_type: where", with the axis in words."""
    axis, colon, level = name.partition(": ")
    return f"{spoken(axis)}{colon}{level}" if colon else name


def mistakes_table(rows: Sequence[Mapping]) -> Html:
    """The commonest wrong answers."""
    shown = [(row["answer"], row["prediction"] or "(empty)", f"{row['n']:,} of {row['of']:,}") for row in rows]
    return table(["actual", "predicted", "times"], shown, left=2)


def review_table(review: Mapping) -> Html:
    """What a pathologist's verdicts (`review.read_review`) say, beside exact match on the same answers."""
    titles = {
        "expert_accuracy": "accepted by the expert",
        "expert_accuracy_with_partly": "… or partly right",
        "exact_match": "exact match of the same answers",
    }
    rows = [
        (title, number(review[name]), interval(review[name]), count(review[name])) for name, title in titles.items()
    ]
    rows.append(("without a verdict", "", "", f"{review['pending']:,}"))
    if review["undefined"]:
        rows.append((f"undefined: {review['undefined']}", "", "", ""))
    return table(["", "value", "95 % interval", counted(review)], rows)


WITHOUT = {
    "shuffled": "another picture in its place",
    "blank": "picture blanked",
    "one_exchanged": "one of several pictures exchanged",
    "one_dropped": "one of several pictures dropped",
}


def grounding_rows(scores: Mapping) -> list[tuple[str, ...]]:
    """Exact match without the own picture, what is lost with interval, and how many answers change with interval."""
    grounding = scores["grounding"]
    sensitivity = grounding.get("sensitivity") or {
        name: {"value": value} for name, value in grounding["changed"].items()
    }
    return [
        (
            words,
            number(grounding[name]["overall"]["exact_match"]),
            number(grounding["gap"][name], "difference"),
            interval(grounding["gap"][name]),
            share(sensitivity[name]["value"]),
            interval(sensitivity[name]),
        )
        for name, words in WITHOUT.items()
        if name in grounding["gap"]
    ]


GROUNDING_HEAD = ["", "exact match", "visual reliance", "95 % interval", "image sensitivity", "95 % interval"]


def candidates_table(scores: Mapping) -> Html:
    """Ranks among the candidates that rows bring themselves (`row_candidates`), beside those of a random order."""
    found = scores["candidates"]
    rows = [
        (RANKS.title(name), number(entry), interval(entry), count(entry), number(found["chance"][name]))
        for name, entry in found["overall"].items()
    ]
    return table(["", "value", "95 % interval", counted(scores), "by chance"], rows)


OTHER_TURNS = {"exchanged": "another conversation in its place", "dropped": "without conversation"}


def history_table(scores: Mapping) -> Html:
    """What questions with turns before them lose without their own turns (`conversations`), the exchange first."""
    history = scores["history"]
    own = history["own"]["exact_match"]
    rows = [("as they are", number(own), interval(own), count(own), "", "", "", "")]
    for name, words in OTHER_TURNS.items():
        entry, gap, changed = history[name]["exact_match"], history["gap"][name], history["sensitivity"][name]
        lost = number(gap, "difference"), interval(gap), share(changed["value"]), interval(changed)
        rows.append((words, number(entry), interval(entry), count(entry), *lost))
    head = ["questions with turns", "exact match", "95 % interval", counted(scores), "lost", "95 % interval"]
    return table([*head, "answers that change", "95 % interval"], rows)


def grounding_table(scores: Mapping) -> Html:
    """What the score loses without the own picture (`grounding`), the exchange first."""
    return table(GROUNDING_HEAD, grounding_rows(scores))


def foreign_note(scores: Mapping) -> str:
    """How many pictures are unlike those of training, and exact match on them and on the others."""
    foreign = scores["foreign"]
    usual, unusual = (foreign["exact_match"][name] for name in ("usual", "foreign"))
    by_chance = (
        f" It was read off {foreign['checked_on']:,} of them: of as many pictures of the same kind as here up to "
        f"{foreign['by_chance']:,} are unlike by chance."
        if "by_chance" in foreign  # metrics of older versions do not say
        else ""
    )
    return (
        f"{foreign['images']:,} of {foreign['of']:,} pictures are unlike those of training, by the vision tower's "
        f"features; the threshold is the one that 95 % or more of validation's pictures pass.{by_chance} Exact match "
        f"on them is {number(unusual)} ({interval(unusual)}), on the others {number(usual)} ({interval(usual)})."
    )


def sets_note(sets: Mapping) -> str:
    """What the answer sets rest on, in a paragraph."""
    fitted = sets["calibration"]
    return (
        "Of a new picture's questions a set holds the right answer at least as often as its level says, pictures "
        "weighing equally. A set always holds the answer given, so easy questions are covered more often. Calibrated "
        f"on {how_many(fitted['questions'], 'validation question')} of {how_many(fitted['groups'], 'group')}, which "
        "chose no epoch and no temperature. A right answer that is no candidate counts as not covered: "
        f"{share(sets['not_among']['value'])} of these questions, {fitted['not_among']:,} of those calibrated on."
    )


def sets_table(scores: Mapping) -> Html:
    """Coverage and size of the answer sets (`conformal`) of each level, in all and by question type."""
    sets, rows = scores["answer_sets"], []
    for level, of_level in sets["levels"].items():
        name = f"{float(level):.0%}"
        if of_level is None:
            rows.append((name, sets["calibration"]["levels"][level]["reason"], *[""] * 5))
            continue
        for kind, entries in {"all": of_level, **of_level["by"]}.items():
            coverage, size = entries["coverage"], entries["size"]
            numbers = (number(coverage), interval(coverage), number(size), interval(size), count(coverage))
            rows.append((name, kind, *numbers))
    head = ["level", "questions", "covered", "95 % interval", "answers in a set", "95 % interval", counted(scores)]
    return table(head, rows, left=2)


def baselines_table(scores: Mapping) -> Html:
    """What answers reach that never see the picture (`baselines`), the strongest in bold."""
    columns = {name: HEADLINE[name] for name in ("exact_match", "yes_no_accuracy", "open_exact_match")}
    rows = []
    for name, entries in scores["baselines"].items():
        title = Html("<b>{}</b>").format(TITLES[name]) if name == scores["baseline_name"] else TITLES[name]
        first = entries["exact_match"]
        rows.append((title, interval(first), *(number(entries[column]) for column in columns)))
    return table(["answers from questions alone", "95 % interval", *columns.values()], rows)


def more_tables(scores: Mapping) -> Html:
    """What is worth a look after the headline: variants, axes, slices, mistakes."""
    slices, unit = scores["slices"], counted(scores)
    parts = [titled("Without any picture", baselines_table(scores))] if "baselines" in scores else []
    parts.append(titled("Further measures", variants_table(scores)))
    parts += [titled(f"By {spoken(axis)}", by_table(scores, axis)) for axis in scores["by"] if axis != "question_type"]
    parts += [
        titled(_worst_of(slices), worst_table(slices["worst"], unit)),
        titled("Open answers by length", slice_table(slices["answer_length"], "reference has", unit)),
    ]
    if "answer_frequency" in slices:
        by_frequency = slice_table(slices["answer_frequency"], "in train", unit)
        parts.append(titled("Open answers by how often train has them", by_frequency))
    return join([*parts, titled("Commonest mistakes", mistakes_table(slices["mistakes"]))])


def stress_table(scores: Mapping) -> Html:
    """Exact match of every corruption and strength (`stress.stress`)."""
    strengths = list(next(iter(scores["scores"].values()), {}))
    clean = [number(scores["clean"]), *[""] * len(strengths)]
    rows = [("as it is", *clean[: len(strengths)])]
    rows += [(kind, *(number(levels[strength]) for strength in strengths)) for kind, levels in scores["scores"].items()]
    return table(["corruption", *(f"strength {strength}" for strength in strengths)], rows)


def pointing_table(games: Mapping, unit: str = "questions (images)") -> Html:
    """The pointing game of each (model, method): how often the peak lies in the box, and what tells nothing of it."""
    rows = [
        (
            *(name, method, count(game), with_interval(game, "rate"), number(game, "chance")),
            *(with_interval(game.get(control)) for control in CONTROLS),
        )
        for (name, method), game in games.items()
    ]
    head = ["model", "method", unit, "peak in the box", "boxes' area"]
    return table([*head, "another row's map", "another question", "random decoder"], rows, left=2)


def with_interval(entry: Mapping | None, key: str = "value") -> str:
    """ "0.892 [0.823, 0.936]", or without the interval where there is none."""
    if not entry or entry.get("low") is None:
        return number(entry, key)
    return f"{number(entry, key)} [{number(entry, 'low')}, {number(entry, 'high')}]"
