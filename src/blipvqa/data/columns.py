"""What the columns of a source are called in our rows: one rule for renaming, filters, groups and breakdowns.

Notable:
- `data.columns` renames; a column that has a name of ours (`OURS`), or one that another column was renamed to, stays
  beside it as `id (data)`, and a note says so.
- A config names a column as the source does or as `data.columns` calls it, whatever happens to it afterwards.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from blipvqa.config.data_knobs import DataConfig
from blipvqa.data.image_files import PICTURES
from blipvqa.data.split_names import SourceError
from blipvqa.data.values import folded_name

OURS = (  # what rows and predictions hold beside the source's columns
    "id",
    "image_id",
    "image_ids",
    "group_id",
    "split",
    "pixels",
    "prediction",
    "score",
    "yes_probability",
    "confidence",
    "withheld",
    "ranked",
    "answer_set",
    "unlike",
    "unfinished",
)
# likewise, where rows are of captions
OURS_OF_CAPTIONS = (
    "references",
    "origins",
    "img",
    "txt",
    "match",
    "match_other",
    "matching",
    "likelihood",
    "kept",
    "right",
)
OURS_OF_PAIRS = ("probability", "order", "swapped", "turned")  # and where they are of statements


class ColumnNames:
    """The names of one split's columns: `final[theirs]` is ours."""

    def __init__(
        self, columns: list[str], split: str, data: DataConfig, texts: tuple[str, ...], notes: Sequence[str] = ()
    ):
        """`notes` say how the table was read, for who misses a column of it."""
        self.columns, self.split, self.data = columns, split, data
        renames = {column_called(name, columns): ours for name, ours in data.columns.items()}
        missing = [name for name in renames if name not in columns]
        if missing:
            raise SourceError(f"data.columns: {split} has no column {missing[0]}{meant(missing[0], columns)}")
        several = ("answers",) if "answer" in texts else ()
        history = ("history",) if "question" in texts else ()
        our_names = OURS + OURS_OF_CAPTIONS * ("caption" in texts) + OURS_OF_PAIRS * ("sentence" in texts)
        if not data.history:  # beside ours, where no question gets it
            our_names, history = our_names + history, ()
        for name in ("image", *texts, *several, *history):  # "Question " is our question
            if name not in renames.values() and (theirs := column_called(name, columns)) in columns:
                renames.setdefault(theirs, name)
        self.renames = {theirs: ours for theirs, ours in renames.items() if theirs != ours}
        self.final = dict(renames)
        for name in columns:
            if name not in self.final:
                taken = name in our_names or name in renames.values()
                self.final[name] = _beside(name, columns) if taken else name
        for name, ours in renames.items():
            if ours in our_names:
                self.final[name] = _beside(ours, columns)
        twice = {name for name in self.final.values() if list(self.final.values()).count(name) > 1}
        if twice:
            raise SourceError(f"data.columns: {split} would have two columns {', '.join(sorted(twice))}")
        absent = [name for name in ("image", *texts) if name not in self.final.values()]
        if "answers" in self.final.values() and several:
            absent = [name for name in absent if name != "answer"]  # the commonest of them
        if absent:
            turned = [f"{ours}: {name}" for name, ours in renames.items() if name in absent]
            hints = [f"data.columns has the source's name first: {{{', '.join(turned)}}}."] if turned else []
            hints += [looks_like(absent, [name for name in columns if name not in renames]), *notes]
            said = f"data.source '{data.source}', {split}: no column {', '.join(absent)}; found {shown(columns)}."
            raise SourceError(" ".join(filter(None, [said, *hints])))

    def has(self, name: str) -> bool:
        """Whether a config that calls a column `name` means one of these."""
        every = [*self.columns, *self.final.values(), *self.renames.values()]
        return column_called(name, every) in every

    def ours(self, name: str, knob: str) -> str:
        """The name in our rows of the column that `knob` calls `name`. Raises SourceError where there is none."""
        for theirs, renamed in self.renames.items():
            if name == renamed:
                return self.final[theirs]
        name = column_called(name, [*self.final, *self.final.values()])
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


def column_called(name: str, columns: list[str]) -> str:
    """Which of `columns` is called `name`: exactly, or else but for case and outer spaces; `name` where none is."""
    if name in columns:
        return name
    return next((column for column in columns if folded_name(column) == folded_name(name)), name)


def looks_like(absent: list[str], columns: list[str]) -> str:
    """What to set for columns that are not there, from those that are: what they contain, or common synonyms."""
    if row := next((column for column in columns if column.lower().endswith(PICTURES)), None):
        return f"'{row}' stands in a row: a table begins with the names of its columns, such as image,question,answer."
    hints, left = [], list(columns)
    for name in absent:
        similar = [column for column in left if _alike(name, column)]
        if similar:
            left.remove(similar[0])
            hints.append(f"column `{similar[0]}` looks like `{name}`: set data.columns.{similar[0]}={name}")
    if not hints and columns:
        return f"Map names with data.columns, e.g. {{{columns[0]}: {absent[0]}}}."
    return f"{'; '.join(hints)}." if hints else ""


SYNONYMS = {
    "image": ("img", "image", "picture", "photo", "file_name", "filename", "filepath", "path", "file", "jpg", "png"),
    "question": ("question", "query", "quest", "prompt", "sent", "q"),
    "answer": ("answer", "ans", "label", "response", "target", "a"),
    "caption": ("caption", "description", "report", "findings", "text"),
    "sentence": ("sentence", "statement", "claim", "hypothesis", "text"),
    "label": ("label", "truth", "answer", "ans", "target", "y"),
}


def _alike(name: str, column: str) -> bool:
    """Whether a column's name says that it holds what we call `name`; its number or kind (`image_id`) is not it."""
    parts = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.strip()).lower())
    if {"id", "type", "organ", "url", "idx", "index"} & set(parts[1:]):
        return False
    plain = "_".join(parts)
    return any(plain == word or (len(word) > 1 and word in parts) for word in SYNONYMS[name]) or bool(
        difflib.get_close_matches(plain, [name], 1, 0.75)
    )


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
