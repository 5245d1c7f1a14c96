"""Levels of a breakdown that are written in several ways: they are counted as one, and that is said."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.data.row_table import column_of
from blipvqa.numbers.grouping import NO_VALUE, written_level
from blipvqa.plural import how_many


def spelling_notes(splits: Mapping) -> list[str]:
    """A line for each column of a breakdown whose values differ in letter case or spaces alone (`levels`)."""
    notes = []
    for name, data in splits.items():
        for column in data.breakdown:
            spelled: dict[str, set[str]] = {}
            for value in column_of(data.rows, column):
                spelled.setdefault(written_level(value).casefold(), set()).add(str(value))
            several = sorted(sorted(spellings) for key, spellings in spelled.items() if len(spellings) > 1)
            if several := [spellings for spellings in several if written_level(spellings[0]) != NO_VALUE]:
                notes.append(
                    f"{name}: "
                    f"{how_many(len(several), f'value of column {column} is', f'values of column {column} are')} "
                    "written in several ways, and counted as one each, such as "
                    f"{' and '.join(map(repr, several[0][:3]))}"
                )
    return notes
