"""Tables of a sequence: methods side by side, the matrix of one, and what its stages share."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.continual.measures import MEASURES
from blipvqa.pages.html import Html
from blipvqa.pages.tables import table
from blipvqa.pages.wording import NOTHING, count, interval, number, share

TITLES = {
    "plain": "plain: one after the other",
    "replay": "replay of stored rows",
    "questions": "replay of questions alone",
    "distil": "distillation from the last model",
    "interpolate": "weights between stages",
    "lora": "one LoRA a stage",
    "joint": "all at once",
    "alone": "each alone, a model each",
}
SIGNED = ("forgetting", "backward_transfer", "forward_transfer")


def measures_table(scores: Mapping, own: bool = False) -> Html:
    """Every method's measures with intervals; with `own`, over answers that no other stage teaches."""
    rows = []
    for method, of_method in scores["methods"].items():
        entries = (of_method["own"] if own else of_method)["measures"]
        rows.append((TITLES[method], *(_value(entries[name], name in SIGNED) for name in MEASURES)))
    return table(["", *(how.title for how in MEASURES.values())], rows)


def reasons(scores: Mapping, own: bool = False) -> list[str]:
    """Why numbers are missing, a line for each reason."""
    said: dict[str, dict[str, None]] = {}
    for method, of_method in scores["methods"].items():
        for entry in (of_method["own"] if own else of_method)["measures"].values():
            if entry["value"] is None:
                said.setdefault(entry["reason"], {})[TITLES[method]] = None
    return [
        f"No number for {'any method' if len(methods) == len(scores['methods']) else ', '.join(methods)}: {reason}."
        for reason, methods in said.items()
    ]


def matrix_table(scores: Mapping, method: str, own: bool = False) -> Html:
    """A method's matrix: a row a model, a column a data set."""
    of_method = scores["methods"][method]
    cells = (of_method["own"] if own else of_method)["matrix"]
    names = [stage["name"] for stage in scores["stages"]]
    rows = [
        (model_title(after, scores), *(_value(entry) for entry in row))
        for after, row in zip(of_method["after"], cells, strict=True)
    ]
    return table(["model", *names], rows)


def model_title(after: int | None, scores: Mapping) -> str:
    """A model as people call it: after which stage, 0 before the first, None all at once."""
    if not after:
        return "all at once" if after is None else "before"
    return f"after {after}: {scores['stages'][after - 1]['name']}"


def stages_table(scores: Mapping) -> Html:
    """What each stage holds, and how many of its answers and scored questions are its own."""
    rows = []
    for stage in scores["stages"]:
        rows.append(
            (
                stage["name"],
                *(
                    count({"n": stage["rows"][split], "groups": stage["pictures"][split]})
                    for split in ("train", stage["split"])
                ),
                f"{stage['answers']:,}",
                f"{stage['answers'] - stage['taught_elsewhere']:,}",
                f"{stage['own']:,} ({share(stage['own'] / stage['rows'][stage['split']])})",
            )
        )
    head = [
        "data set",
        "trained on: questions (pictures)",
        "scored on",
        "answers",
        "of no other set",
        "scored, of no other",
    ]
    return table(head, rows)


def forgotten_table(scores: Mapping) -> Html:
    """Of the questions that were right after their stage, how many are wrong at the end."""
    rows = [
        (
            TITLES[method],
            f"{lost['rows']:,}",
            f"{lost['of']:,}",
            share(lost["rows"] / lost["of"] if lost["of"] else None),
        )
        for method, of_method in scores["methods"].items()
        if (lost := of_method.get("forgotten"))
    ]
    return table(["", "forgotten", "of questions right after their stage", ""], rows)


def _value(entry: Mapping, sign: bool = False) -> Html:
    if entry["value"] is None:
        return Html(NOTHING)
    return Html("<b>{}</b><br>{}").format(number(entry, sign=sign), interval(entry, sign=sign))
