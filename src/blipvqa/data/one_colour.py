"""Pictures that are one colour after decoding: an empty field, a mask instead of a picture, or a file read wrongly."""

from __future__ import annotations

from collections.abc import Mapping

NAMED = 5  # rows that a note names


def one_colour_notes(splits: Mapping) -> list[str]:
    """One line for each split that holds such pictures, naming the first rows that show them."""
    notes = []
    for name, data in splits.items():
        first: dict[str, str] = {}
        for row in data.rows:
            first.setdefault(row["image_id"], row["id"])
        rows = [row_id for image_id, row_id in first.items() if data.store.is_one_colour(image_id)]
        if rows:
            count = "1 picture is" if len(rows) == 1 else f"{len(rows):,} pictures are"
            more = ", …" if len(rows) > NAMED else ""
            notes.append(f"{name}: {count} one colour after decoding (row {', '.join(rows[:NAMED])}{more})")
    return notes
