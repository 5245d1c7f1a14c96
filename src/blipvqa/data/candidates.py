"""Answers to choose from that a row brings itself: `candidates`, and how right each of them is, `relevance`.

Notable:
- A list, or in csv the same as JSON text, as in VisDial, whose hundred options stand with each question.
- Columns of these names that hold no lists stay further columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from blipvqa.data.json_files import PARSER
from blipvqa.data.values import kind_of
from blipvqa.text import normalize

MOST_CANDIDATES = 10_000  # of one question


def candidates_of(row: Mapping) -> list[str]:
    """The answers that a row brings to choose from; empty where it brings none."""
    candidates = row.get("candidates")
    return candidates if isinstance(candidates, list) else []


def join_candidates(values: dict[str, Any]) -> str | None:
    """Make `candidates` and `relevance` of a row's values lists, or None; what is wrong with them, or None."""
    for name in ("candidates", "relevance"):
        value = values.get(name)
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                values[name] = PARSER.decode(value.strip())
            except (ValueError, RecursionError):
                return f"column {name}: {value!r:.40} is no list in JSON"
        elif value in ("", []):
            values[name] = None
    candidates, relevance = values.get("candidates"), values.get("relevance")
    if not isinstance(candidates, list):
        return None
    if not 2 <= len(candidates) <= MOST_CANDIDATES:
        return f"column candidates: {len(candidates):,} of them, expected 2 to {MOST_CANDIDATES:,}"
    if wrong := [one for one in candidates if not isinstance(one, str) or not normalize(one)]:
        return f"column candidates: found {kind_of(wrong[0])} ({wrong[0]!r:.40}) among them, expected texts"
    if relevance is None:
        return None
    if not isinstance(relevance, list) or len(relevance) != len(candidates):
        found = f"{len(relevance):,} numbers" if isinstance(relevance, list) else kind_of(relevance)
        return f"column relevance: found {found}, expected a number for each of {len(candidates):,} candidates"
    if wrong := [one for one in relevance if not _is_relevance(one)]:
        return f"column relevance: found {wrong[0]!r:.40} among them, expected numbers of 0 or more"
    return None


def _is_relevance(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
