"""How a value reads as text, in tables, figures and cards alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

NOTHING = "–"
MOST_DIGITS = 7  # from the seventh on a difference from 0 or 1 is rounding


def said(row: Mapping, key: str = "prediction") -> str:
    """What a model said, for a person: with an ellipsis where it stops at the limit of what is written (`unfinished`),
    and "(empty)" where it is nothing."""
    return f"{row[key]} …" if row[key] and row.get("unfinished") else row[key] or "(empty)"


def number(entry: Mapping | None, key: str = "value", sign: bool = False) -> str:
    """Three digits, with a plus where `sign` asks for one; a dash where there is no number.

    More digits where three would say 0 or 1 of what is neither: beside a wrong answer no accuracy is 1.000.
    """
    value = entry.get(key) if entry else None
    if value is None:
        return NOTHING
    digits = next((n for n in range(3, MOST_DIGITS) if round(abs(value), n) not in (0, 1)), 3)
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if float(text) else text.replace("-", "+" if sign else "")  # rounding leaves no minus before a zero


def p_value(entry: Mapping, key: str = "p") -> str:
    """Three digits, and "< 0.001" below: no p-value is 0."""
    value = entry.get(key)
    return "< 0.001" if value is not None and value < 0.001 else number(entry, key)


def interval(entry: Mapping | None, sign: bool = False) -> str:
    """ "0.812 to 0.874", or a dash."""
    low, high = number(entry, "low", sign), number(entry, "high", sign)
    return NOTHING if NOTHING in (low, high) else f"{low} to {high}"


def count(entry: Mapping | None, key: str = "n") -> str:
    """A number of things, with commas, and of how many groups they are: "970 (140)"; a dash where it is not known."""
    value = entry.get(key) if entry else None
    groups = entry.get("groups") if entry else None
    return NOTHING if value is None else f"{value:,}" if groups is None else f"{value:,} ({groups:,})"


def unit(scores: Mapping, images: str = "images") -> str:
    """What the intervals of `scores` are drawn over: `images`, or "groups" where `data.group_column` makes them
    (patients, say)."""
    return images if scores.get("group", "image_id") == "image_id" else "groups"


def counted(scores: Mapping, rows: str = "questions", images: str = "images") -> str:
    """The heading of a column of `count`: "questions (images)"; "pictures" where each is one row and nothing groups."""
    over = unit(scores, images)
    return rows if rows == over else f"{rows} ({over})"


def share(value: float | None, digits: int = 0) -> str:
    """A share in percent, or a dash; what is not all or nothing is never 100 % or 0 %, but "> 99%" or "< 1%"."""
    if value is None:
        return NOTHING
    step = 10 ** -(digits + 2)
    if 0 < value < 1 and round(value, digits + 2) in (0, 1):
        return f"> {1 - step:.{digits}%}" if value > step else f"< {step:.{digits}%}"
    return f"{value:.{digits}%}"


def last_part(path: str) -> str:
    """A Hub id or word as it is, a path's last part: a page that travels does not tell where files lay."""
    text = str(path)
    is_path = text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text
    return PurePath(text.replace("\\", "/")).name if is_path else text
