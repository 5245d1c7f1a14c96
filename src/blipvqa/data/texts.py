"""What may be wrong with a question, an answer or a caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blipvqa.data.values import kind_of
from blipvqa.text import LOST, normalize, says_something

LONGEST_TEXT = 20_000  # characters of a question, an answer or a caption


def text_problem(name: str, text: Any) -> str | None:
    """What is wrong with a question, an answer or a caption; None where nothing is."""
    if text is None:
        return f"column {name}: there is no {name}"
    if not isinstance(text, str):
        return f"column {name}: found {kind_of(text)} ({text!r:.40}), expected text"
    if len(text) > LONGEST_TEXT:
        return f"column {name}: the text has {len(text):,} characters, at most {LONGEST_TEXT:,} are read"
    if not says_something(text) and (name != "answer" or not normalize(text)):
        return f"column {name}: the text is empty"
    return None


def lost_letter_notes(split: str, texts: Sequence[str], rows: Mapping[str, Mapping]) -> list[str]:
    """A line on each column of texts in which another program, or half a character in JSON, left a mark in a letter's
    place; `rows` by where a person finds them."""
    notes = []
    for name in texts:
        places = [
            place
            for place, row in rows.items()
            if any(LOST in text for text in (row[name], *((row.get("answers") or ()) if name == "answer" else ())))
        ]
        if places:
            notes.append(f"{split}: column {name}: {len(places)} texts have lost letters ({LOST}, first: {places[0]})")
    return notes
