"""Tables of what the filter kept and how well it filters."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.bootstrapping.candidates import SYNTHETIC, WEB
from blipvqa.bootstrapping.scores import RECALL, Scores
from blipvqa.pages.html import Html
from blipvqa.pages.tables import table
from blipvqa.pages.wording import NOTHING, count, counted, interval, number

ORIGINS = {WEB: "of the source (web)", SYNTHETIC: "written by a model (synthetic)", "all": "all"}
FILTER = {
    "right_before": "right before filtering",
    "precision": "right among the kept (precision)",
    "recall": "kept among the right (recall)",
    "precision_at_recall": f"precision at a recall of {RECALL:g}",
    "auroc": "AUROC: a right text above a wrong one",
}
JUDGES = {
    "matching": "the filter's matching (ITM) alone",
    "likelihood": "the captioner's likelihood alone",
    "both": "both, which keep and drop here",
}
SAID = {
    "right": "right",
    "terms_recalled": "things recalled",
    "terms_invented": "things invented",
    "distinct_captions": "distinct texts",
    "distinct_2": "distinct word pairs",
    "words": "words",
}
WITH_INTERVAL = ("right", "terms_recalled", "terms_invented")


def kept_table(scores: Scores) -> Html:
    """The share of texts that the filter keeps, by where they come from."""
    rows = [(ORIGINS[origin], number(entry), interval(entry), count(entry)) for origin, entry in scores["kept"].items()]
    return table(["texts", "share kept", "95 % interval", counted(scores, "texts", "pictures")], rows)


def filter_table(scores: Scores) -> Html:
    """How well the filter filters, where it is known which texts are right."""
    rows = [
        (ORIGINS[origin], FILTER[name], Html("<b>{}</b>").format(number(entry)), interval(entry), count(entry))
        for origin, entries in scores.get("filter", {}).items()
        for name, entry in entries.items()
        if number(entry) != NOTHING  # written texts of which none is right have no recall
    ]
    return table(["texts", "", "value", "95 % interval", counted(scores, "texts", "pictures")], rows, left=2)


def judge_table(scores: Scores) -> Html:
    """How well each judge alone tells right texts from wrong ones, where captioners judge beside the filters."""
    rows = [
        (
            ORIGINS[origin],
            JUDGES[judge],
            *(cell for name in ("auroc", "precision_at_recall") for cell in (number(of[name]), interval(of[name]))),
        )
        for origin, judges in scores.get("judges", {}).items()
        for judge, of in judges.items()
    ]
    head = ["texts", "judged by", "AUROC", "95 % interval", FILTER["precision_at_recall"], "95 % interval"]
    return table(head, rows, left=2)


def fault_table(scores: Scores) -> Html:
    """What is kept of texts with each fault, and how well the filter tells them from right ones."""
    rows = [
        (
            "nothing wrong" if fault == "none" else fault,
            count(entries["kept"]),
            number(entries["kept"]),
            interval(entries["kept"]),
            number(entries.get("auroc")),
            interval(entries.get("auroc")),
        )
        for fault, entries in scores.get("by_fault", {}).items()
    ]
    head = [
        "what is wrong",
        counted(scores, "texts", "pictures"),
        "share kept",
        "95 % interval",
        "AUROC",
        "95 % interval",
    ]
    return table(head, rows)


def said_table(scores: Scores) -> Html:
    """What the texts say: how many are right, which things they name, how varied they are."""
    names = [name for name in SAID if any(name in entries for entries in scores["said"].values())]
    rows = [
        (group, _texts(entries), *(_cell(name, entries.get(name)) for name in names))
        for group, entries in scores["said"].items()
    ]
    return table(["texts", counted(scores, "number", "pictures"), *(SAID[name] for name in names)], rows)


def _texts(entries: Mapping) -> str:
    return count(entries["words"]) if entries else "0"


def _cell(name: str, entry: Mapping | None) -> str:
    if not entry:
        return NOTHING
    return f"{number(entry)} ({interval(entry)})" if name in WITH_INTERVAL else number(entry)
