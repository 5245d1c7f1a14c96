"""Whether a statement is true: what a cell of column `label` may say, and what rows hold of it."""

from __future__ import annotations

from typing import Any

from blipvqa.data.values import kind_of

LABELS = ("false", "true")  # by the class that a model gives them
# A table with an empty cell has its whole numbers as 1.0 and 0.0 in pandas and parquet.
MEANT = dict.fromkeys(("true", "yes", "1", "1.0"), "true") | dict.fromkeys(("false", "no", "0", "0.0"), "false")


def truth(value: Any) -> str | None:
    """ "true" or "false" of a cell: true and false, yes and no, 1 and 0, in any case; None for anything else."""
    return MEANT.get(str(value).strip().lower()) if isinstance(value, str | bool | int | float) else None


def join_label(values: dict[str, Any]) -> str | None:
    """Make `label` of a row's values "true" or "false"; what is wrong with it, or None."""
    value = values.get("label")
    if value is None or value == "":
        return None  # as every text that is missing
    values["label"] = truth(value)
    if values["label"] is None:
        return f"column label: found {kind_of(value)} ({value!r:.40}), expected true or false, yes or no, 1 or 0"
    return None
