"""What may be wrong with a question, an answer or a caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blipvqa.data.row_table import RowTable
from blipvqa.data.values import kind_of
from blipvqa.errors import InputError
from blipvqa.plural import how_many
from blipvqa.text import LOST, normalize, says_something

BLANK = dict.fromkeys(map(ord, "\u115f\u1160\u2800\u3164\uffa0"))  # letters and signs, to Unicode, that show nothing
SIGNS = {  # in texts, and what is said of them
    LOST: "lost letters ({sign}, first: {first})",
    "<image>": "{sign}, which is read as words and shows no picture (first: {first}): take it out",
    "<video>": "{sign}, which is read as words and shows no film (first: {first}): take it out",
}
LONGEST_TEXT = 20_000  # characters of a question, an answer or a caption


def text_problem(name: str, text: Any) -> str | None:
    """What is wrong with a question, an answer or a caption; None where nothing is."""
    if text is None:
        return f"column {name}: there is no {name}"
    if not isinstance(text, str):
        return f"column {name}: found {kind_of(text)} ({text!r:.40}), expected text"
    if len(text) > LONGEST_TEXT:
        return f"column {name}: the text has {len(text):,} characters, at most {LONGEST_TEXT:,} are read"
    shown = text.translate(BLANK)
    if not says_something(shown) and (name != "answer" or not normalize(shown)):
        return f"column {name}: the text is empty"
    return None


def check_own_text(name: str, text: Any, who: str) -> None:
    """Raise InputError where a text of one's own, the `name` that the function `who` takes, is none."""
    if problem := text_problem(name, text):
        raise InputError(f"{who}: {problem.removeprefix(f'column {name}: ')}")


def sign_notes(split: str, texts: Sequence[str], rows: RowTable, place: Callable[[int], str]) -> list[str]:
    """A line on each column of texts in which another program, or half a character in JSON, left a mark in a letter's
    place, or which hold other models' mark of a picture; `place(i)` is where a person finds row i."""
    notes = []
    for name in texts:
        columns = [
            rows.columns[one] for one in (name, *(("answers",) if name == "answer" else ())) if one in rows.columns
        ]
        values = [column.values.cast(pa.large_string()) for column in columns]
        for sign, said in SIGNS.items():
            holds = np.zeros(len(rows), bool)
            for of_column in values:
                matched = pc.match_substring(of_column, sign)
                holds |= matched.fill_null(False).to_numpy(zero_copy_only=False)
            if holds.any():
                count = how_many(int(holds.sum()), "text has", "texts have")
                first = place(int(holds.argmax()))
                notes.append(f"{split}: column {name}: {count} {said.format(sign=sign, first=first)}")
    return notes
