"""Tables of statements and measures; what a table is stands in `pages.tables`."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages.html import Html, join
from blipvqa.pages.tables import measures_table, table, titled
from blipvqa.pages.wording import count, counted, interval, number
from blipvqa.pairs.measures import MEASURES
from blipvqa.pairs.scores import BLIND
from blipvqa.pairs.titles import CHANGED, HEADLINE


def metrics_table(scores: Mapping) -> Html:
    """The headline: each number with its 95 % interval and count, and beside it what sees no picture."""
    columns = {"no picture": scores.get("baseline"), "before training": scores.get("start")}
    others = {title: _by_title(entries) for title, entries in columns.items() if entries}
    return measures_table(_by_title(scores["overall"]), others, unit=counted(scores, "statements", "pairs"))


def _by_title(entries: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {title: entries[name] for name, title in HEADLINE.items() if name in entries}


def baselines_table(scores: Mapping) -> Html:
    """The accuracy of what sees no picture."""
    entries = {BLIND[name]: entry["accuracy"] for name, entry in scores.get("baselines", {}).items()}
    return measures_table(entries, unit=counted(scores, "statements", "pairs"), first="without any picture")


def changed_table(scores: Mapping) -> Html:
    """The accuracy with other pictures than a statement's own, and what each comparison says."""
    entries = {"both pictures": scores["overall"]["accuracy"]}
    entries |= {title: scores["changed"][name] for name, title in CHANGED.items() if name in scores.get("changed", {})}
    return measures_table(entries, unit=counted(scores, "statements", "pairs"), first="accuracy with")


def confidence_table(scores: Mapping) -> Html:
    """Whether the probabilities can be believed."""
    confidence = scores["confidence"]
    rows = [
        ("AUROC: a true statement is likelier than a false one", confidence["auroc"], "0.500"),
        ("expected calibration error", confidence["calibration"], number(confidence["calibration"], "floor")),
    ]
    head = [
        "probabilities",
        "value",
        "95 % interval",
        counted(scores, "statements", "pairs"),
        "with no skill, or by noise alone",
    ]
    return table(head, [(name, number(e), interval(e), count(e), floor) for name, e, floor in rows])


def by_table(scores: Mapping, column: str) -> Html:
    """Every level of a column: accuracy with interval and count, and what swapping changes."""
    names = ("accuracy_swapped", "consistent", "follows_order")
    rows = [
        (
            level,
            number(entries["accuracy"]),
            interval(entries["accuracy"]),
            count(entries["accuracy"]),
            *(number(entries.get(name)) for name in names),
        )
        for level, entries in scores["by"].get(column, {}).items()
    ]
    return table(
        [
            column,
            "accuracy",
            "95 % interval",
            counted(scores, "statements", "pairs"),
            *(MEASURES.title(name) for name in names),
        ],
        rows,
    )


def more_tables(scores: Mapping) -> Html:
    """Every measure with what it counts, and the accuracy by each column."""
    rows = [
        (MEASURES.title(name), MEASURES[name].meaning, number(entry), interval(entry), count(entry))
        for name, entry in scores["overall"].items()
    ]
    parts = [titled("Without any picture", baselines_table(scores))] if "baselines" in scores else []
    parts += [titled("Every measure", table(["measure", "what it is", "value", "95 % interval", "n"], rows, left=2))]
    return join([*parts, *(titled(f"By {column}", by_table(scores, column)) for column in scores["by"])])
