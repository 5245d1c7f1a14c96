"""Tables of captions and measures; what a table is stands in `pages.tables`."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.captions.measures import MEASURES
from blipvqa.captions.titles import HEADLINE
from blipvqa.pages.html import Html, join
from blipvqa.pages.tables import measures_table, table, titled
from blipvqa.pages.wording import count, counted, interval, number


def metrics_table(scores: Mapping) -> Html:
    """The headline: each number with its 95 % interval and count, and beside it what needs no picture."""
    columns = {
        "commonest caption": scores.get("baseline"),
        "nearest picture's": scores.get("nearest"),
        "other pictures": scores.get("exchanged"),
        "before training": scores.get("start"),
    }
    others = {title: _by_title(entries) for title, entries in columns.items() if entries}
    return measures_table(_by_title(scores["overall"]), others, unit=counted(scores, "pictures", "pictures"))


def _by_title(entries: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {title: entries[name] for name, title in HEADLINE.items() if name in entries}


def by_table(scores: Mapping, column: str) -> Html:
    """Every level of a column: CIDEr-D with interval and count, BLEU-4, and things named."""
    rows = [
        (
            level,
            number(entries["cider_d"]),
            interval(entries["cider_d"]),
            count(entries["cider_d"]),
            *(number(entries.get(name)) for name in ("bleu_4", "terms_recalled", "terms_invented")),
        )
        for level, entries in scores["by"].get(column, {}).items()
    ]
    named = ("BLEU-4", "things recalled", "things invented")
    return table([column, "CIDEr-D", "95 % interval", counted(scores, "pictures", "pictures"), *named], rows)


def more_tables(scores: Mapping) -> Html:
    """Every measure with what it counts, and the headline by each column."""
    rows = [
        (MEASURES.title(name), MEASURES[name].meaning, number(entry), interval(entry), count(entry))
        for name, entry in scores["overall"].items()
    ]
    parts = [titled("Every measure", table(["measure", "what it is", "value", "95 % interval", "n"], rows, left=2))]
    return join([*parts, *(titled(f"By {column}", by_table(scores, column)) for column in scores["by"])])
