"""The conversation before a question: from a cell to `history` of a row, its turns from the oldest to the newest.

Notable:
- A cell is a list of {"question", "answer"} or of [question, answer]; in csv the same as JSON text.
- A column `history` of plain texts (what is known of a patient) is no conversation: it stays a further column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from blipvqa.data.json_files import PARSER
from blipvqa.data.texts import text_problem
from blipvqa.data.values import kind_of

TURN_END = ";"  # stands after each turn's answer; no question holds one, once it is prepared (`vqa/batches`)
MOST_TURNS = 1_000  # of one conversation
EXPECTED = "expected a list of {question, answer}"


class Turn(TypedDict):
    """One question that was answered before."""

    question: str
    answer: str


def history_of(row: Mapping) -> list[Turn]:
    """The turns before a row's question; empty where there are none, or the column is no conversation."""
    turns = row.get("history")
    return turns if isinstance(turns, list) else []


def join_history(values: dict[str, Any]) -> str | None:
    """Make `history` of a row's values what it is called, None where it has no turn; what is wrong with it, or None."""
    value = values.get("history")
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = PARSER.decode(value.strip())
        except (ValueError, RecursionError):
            return f"column history: {value!r:.40} is no list in JSON"
    if isinstance(value, list):
        try:
            values["history"] = turns_of(value) or None
        except ValueError as error:
            return f"column history: {error}"
    elif value == "":
        values["history"] = None
    return None


def turns_of(value: Any) -> list[Turn]:
    """A list of turns in our form. Raises ValueError that names the turn, from 1."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {kind_of(value)} ({value!r:.40}), {EXPECTED}")
    if len(value) > MOST_TURNS:
        raise ValueError(f"{len(value):,} turns, at most {MOST_TURNS:,} are read")
    return [_turn(number, turn) for number, turn in enumerate(value, 1)]


def _turn(number: int, turn: Any) -> Turn:
    if isinstance(turn, Mapping):
        pair = (turn.get("question"), turn.get("answer"))
    elif isinstance(turn, list | tuple) and len(turn) == 2:
        pair = tuple(turn)
    else:
        raise ValueError(f"turn {number} is {turn!r:.60}, {EXPECTED} or [question, answer]")
    for name, text in zip(("question", "answer"), pair, strict=True):
        if problem := text_problem(name, text):
            raise ValueError(f"turn {number}: {problem.removeprefix(f'column {name}: ')}")
    return Turn(question=pair[0], answer=pair[1])
