"""Tables of searches and measures; what a table is stands in `pages.tables`."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages.html import Html, join
from blipvqa.pages.tables import measures_table, table, titled
from blipvqa.pages.wording import count, counted, interval, number
from blipvqa.retrieval.measures import MEASURES, title
from blipvqa.retrieval.titles import HEADLINE, gallery_line

MEDIAN = "the place of the first right one that half of the searches reach"


def metrics_table(scores: Mapping) -> Html:
    """The headline: each number with its 95 % interval and count, the gallery's size above them, and beside them the
    order by cosine alone, chance, and what needs no look."""
    columns = {
        "cosine alone": by_cosine(scores),
        "chance": scores["chance"],
        "other pictures": scores.get("exchanged"),
        "before training": scores.get("start"),
    }
    others = {name: _by_title(entries) for name, entries in columns.items() if entries}
    return measures_table(
        _by_title(scores["overall"]),
        others,
        unit=counted(scores, "searches", "pictures"),
        first=f"gallery: {gallery_line(scores['gallery'])}",
    )


def by_cosine(scores: Mapping) -> dict[str, Mapping]:
    """The measures of the order by cosine under the names of the final order; none where that is the final order."""
    if not scores["gallery"].get("matched", 1):
        return {}
    return {name.removeprefix("itc_"): entry for name, entry in scores["overall"].items() if name.startswith("itc_")}


def _by_title(entries: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {text: entries[name] for name, text in HEADLINE.items() if name in entries}


def matching_table(scores: Mapping) -> Html:
    """Whether a text and a picture belong together, as a yes/no question."""
    matching = scores["matching"]
    rows = [
        ("AUROC: a pair of the data above the same text with another picture", matching["auroc"], "0.500"),
        ("right at a probability of one half", matching["accuracy"], "0.500"),
        ("expected calibration error", matching["calibration"], number(matching["calibration"], "floor")),
    ]
    head = [
        "matching (ITM)",
        "value",
        "95 % interval",
        counted(scores, "pairs", "pictures"),
        "with no skill, or by noise alone",
    ]
    return table(head, [(name, number(e), interval(e), count(e), floor) for name, e, floor in rows])


def by_table(scores: Mapping, column: str) -> Html:
    """Every level of a column: R@1 and R@10 both ways, over the whole gallery."""
    names = ("img_r1", "img_r10", "txt_r1", "txt_r10")
    rows = [
        (level, *(number(entries[name]) for name in names), interval(entries["img_r1"]), count(entries["img_r1"]))
        for level, entries in scores["by"].get(column, {}).items()
    ]
    head = [
        column,
        *(title(name) for name in names),
        f"95 % interval of {title('img_r1')}",
        counted(scores, "searches", "pictures"),
    ]
    return table(head, rows)


def more_tables(scores: Mapping) -> Html:
    """Matching as a yes/no question, every measure with what it counts, and the headline by each column."""
    rows = [
        (title(name), MEASURES[name].meaning if name in MEASURES else MEDIAN, number(e), interval(e), count(e))
        for name, e in scores["overall"].items()
    ]
    parts = [titled("Every measure", table(["measure", "what it is", "value", "95 % interval", "n"], rows, left=2))]
    return join([*parts, *(titled(f"By {column}", by_table(scores, column)) for column in scores["by"])])
