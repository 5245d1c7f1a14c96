"""Several right answers to one question: from a list, or from one cell, to `answer` and `answers` of a row.

`answers` holds what people answered, each as often as it was said (VQA v2: ten); `answer` is the one that stands for
them where one is needed: the source's own, or the commonest.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from blipvqa.data.json_files import PARSER
from blipvqa.data.values import DoubledObject, kind_of
from blipvqa.text import normalize

MOST_ANSWERS = 1_000  # of one question


def join_answers(values: dict[str, Any], separator: str | None) -> str | None:
    """Make `answer` and `answers` of a row's values what they are called; what is wrong with them, or None."""
    if "answers" not in values and separator is None:
        return None
    try:
        answers = _listed(values.get("answers"), separator)
        if separator and isinstance(values.get("answer"), str):
            parts = _parts(values["answer"], separator)
            values["answer"] = parts[0] if parts else ""  # "heart |" is one answer, and the mark is none of it
            answers = answers or (parts if len(parts) > 1 else [])
    except ValueError as error:
        return f"column answers: {error}"
    if answers and values.get("answer") in (None, ""):
        values["answer"] = _commonest(answers)
    values["answers"] = answers or None
    return None


def _listed(value: Any, separator: str | None) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        value = _of_text(value, separator)
    if not isinstance(value, list):
        raise ValueError(f"found {kind_of(value)} ({value!r:.40}), expected a list of texts")
    if any(isinstance(one, DoubledObject) for one in value):
        raise ValueError("a key stands twice in one of them")
    texts = [one.get("answer") if isinstance(one, dict) else one for one in value]
    wrong = [one for one in texts if not isinstance(one, str)]
    if wrong:
        raise ValueError(f"found {kind_of(wrong[0])} ({wrong[0]!r:.40}) among them, expected texts")
    if len(texts) > MOST_ANSWERS:
        raise ValueError(f"{len(texts):,} answers, at most {MOST_ANSWERS:,} are read")
    return [text for text in texts if normalize(text)]


def _of_text(text: str, separator: str | None) -> Any:
    """A list as a csv file holds one: as JSON, or with the separator."""
    if text.lstrip().startswith("["):
        try:
            return PARSER.decode(text.strip())
        except (ValueError, RecursionError):
            raise ValueError(f"{text!r:.40} is no list in JSON") from None
    return _parts(text, separator) if separator else [text]


def _parts(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _commonest(answers: list[str]) -> str:
    """Of equally common ones the first."""
    counts = Counter(map(normalize, answers))
    return max(answers, key=lambda answer: counts[normalize(answer)])
