"""Values of a source's cells as JSON can hold them: what loading lets in, every writer can write.

Notable:
- A date becomes its ISO text, a decimal a number, a numpy value Python's own, bytes their digest or hex digits.
- NaN and the infinities are no JSON: they become null, and are counted.
- What has no such form (a key twice, a whole number beyond 64 bits, deep nesting) is a ValueError to name the cell by.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np

from blipvqa.text import encodable

LONGEST_VALUE = 1_000_000  # characters
DEEPEST = 20  # lists and objects in each other
LONGEST_HEX = 64  # bytes that are shown as hex digits


class Unreadable:
    """Stands in a cell for what could not be read; `problem` says why."""

    def __init__(self, problem: str):
        self.problem = problem


class DoubledObject(dict):
    """A JSON object that has a key twice."""


def plain_value(value: Any, nonfinite: Counter, column: str = "", depth: int = 0) -> Any:
    """`value` as text, number, true, false, null, list or object. `nonfinite[column]` counts what became null.

    Raises ValueError that says what is wrong.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"a text of {len(value):,} characters, at most {LONGEST_VALUE:,} are read")
        return encodable(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise ValueError("a whole number beyond 64 bits; write it as text")
        return int(value)
    if isinstance(value, Decimal) and value.is_finite():
        return plain_value(int(value) if value == value.to_integral_value() else float(value), nonfinite, column, depth)
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            nonfinite[column] += 1
            return None
        return float(value)
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date, and so is a pandas Timestamp
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_as_text(bytes(value))
    if isinstance(value, datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, Unreadable):
        raise ValueError(value.problem)
    if depth >= DEEPEST:
        raise ValueError(f"more than {DEEPEST} lists and objects in each other")
    if isinstance(value, DoubledObject):
        raise ValueError("an object in which a key stands twice")
    if isinstance(value, dict):
        return {str(key): plain_value(inner, nonfinite, column, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain_value(inner, nonfinite, column, depth + 1) for inner in value]
    raise ValueError(f"a value of type {type(value).__name__}, which has no place in JSON")


def bytes_as_text(value: bytes) -> str:
    """Hex digits of a short value, such as an identifier; the digest of a long one."""
    if len(value) <= LONGEST_HEX:
        return value.hex()
    return f"{len(value):,} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}"


def kind_of(value: Any) -> str:
    """What a plain value is called in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {str: "text", list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def shown_name(name: str) -> str:
    """A column's name without outer spaces, and without marks that nobody sees: of files put together, of web pages."""
    return name.strip().strip("\ufeff\u200b").strip()


def folded_name(name: str) -> str:
    """A column's name as it is compared: whatever its case and outer spaces."""
    return shown_name(name).casefold()
