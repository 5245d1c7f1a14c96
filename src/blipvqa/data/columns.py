"""What the columns of a source are called in our rows: one rule for renaming, filters, groups and breakdowns.

Notable:
- `data.columns` renames; a column that has a name of ours (`OURS`), or one that another column was renamed to, stays
  beside it as `id (data)`, and a note says so.
- A config names a column as the source does or as `data.columns` calls it, whatever happens to it afterwards.
"""

from __future__ import annotations

import difflib

from blipvqa.config.knobs import DataConfig
from blipvqa.data.split_names import SourceError

OURS = (  # what rows and predictions hold beside the source's columns
    "id",
    "image_id",
    "group_id",
    "split",
    "pixels",
    "prediction",
    "score",
    "yes_probability",
    "confidence",
)


class ColumnNames:
    """The names of one split's columns: `final[theirs]` is ours."""

    def __init__(self, columns: list[str], split: str, data: DataConfig, texts: tuple[str, ...]):
        self.columns, self.split, self.data = columns, split, data
        missing = [name for name in data.columns if name not in columns]
        if missing:
            raise SourceError(f"data.columns: {split} has no column {', '.join(missing)}, only {shown(columns)}")
        self.final = dict(data.columns)
        for name in columns:
            if name not in self.final:
                taken = name in OURS or name in data.columns.values()
                self.final[name] = _beside(name, columns) if taken else name
        for name, ours in data.columns.items():
            if ours in OURS:
                self.final[name] = _beside(ours, columns)
        twice = {name for name in self.final.values() if list(self.final.values()).count(name) > 1}
        if twice:
            raise SourceError(f"data.columns: {split} would have two columns {', '.join(sorted(twice))}")
        absent = [name for name in ("image", *texts) if name not in self.final.values()]
        if absent:
            raise SourceError(
                f"data.source '{data.source}', {split}: no column {', '.join(absent)}; found {shown(columns)}. "
                f"Map names with data.columns, e.g. {{img_name: {absent[0]}}}."
            )

    def has(self, name: str) -> bool:
        """Whether a config that calls a column `name` means one of these."""
        return name in self.columns or name in self.final.values() or name in self.data.columns.values()

    def ours(self, name: str, knob: str) -> str:
        """The name in our rows of the column that `knob` calls `name`. Raises SourceError where there is none."""
        for theirs, renamed in self.data.columns.items():
            if name == renamed:
                return self.final[theirs]
        if name in self.final:
            return self.final[name]
        if name in self.final.values():  # "id (data)", as notes and reports call it
            return name
        every = list(dict.fromkeys([*self.final, *self.final.values()]))
        raise SourceError(f"{knob}: {self.split} has no column '{name}'{meant(name, every)}")

    @property
    def notes(self) -> list[str]:
        """A line on columns that stay beside ours of the same name."""
        beside = [
            f"{name} as '{ours}'" for name, ours in self.final.items() if ours.endswith(" (data)") and ours != name
        ]
        return [f"{self.split}: columns with names of ours are kept beside them: {', '.join(beside)}"] if beside else []


def _beside(name: str, columns: list[str]) -> str:
    """What a column is called that stays beside ours of its name; the source may have that name too."""
    name = f"{name} (data)"
    return _beside(name, columns) if name in columns else name


def image_and_texts(data: DataConfig, texts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What the source calls the pictures, and our `texts`."""
    theirs = {ours: name for name, ours in data.columns.items()}
    return theirs.get("image", "image"), tuple(theirs.get(name, name) for name in texts)


def meant(name: str, columns: list[str]) -> str:
    """ ", did you mean organ?", or the columns that there are."""
    close = difflib.get_close_matches(name, columns, 1, 0.6)
    return f", did you mean {close[0]}? It has {shown(columns)}" if close else f", only {shown(columns)}"


def shown(columns: list[str]) -> str:
    return (", ".join(columns[:20]) + f" and {len(columns) - 20} more" * (len(columns) > 20)) or "none"
