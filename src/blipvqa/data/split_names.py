"""Which file is which split: names are taken exactly, and what is left aside is said.

Notable:
- `train.jsonl`, `train-00000-of-00002.parquet` and the common synonyms (`validate.jsonl`, `testing.csv`, `eval.json`)
  are splits; `train-old.jsonl`, `train.bak.csv` and `test-before-review.jsonl` are not.
- Each split may have a format of its own. Two names, two formats or two places for one split are refused, and so is
  a set of shards with one missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from blipvqa.errors import UserError
from blipvqa.text import encodable

SYNONYMS = {  # as the datasets library takes them, and SLAKE's `validate`
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_OF = {name: split for split, names in SYNONYMS.items() for name in names}
READ = ("parquet", "jsonl", "json", "csv", "tsv", "xlsx")  # the endings that are read
UNREAD = ("ndjson", "arrow", "feather", "xls", "ods", "gz", "zip", "bz2", "xz", "zst")
INSTEAD = f"Tables are read as {', '.join(READ)}: save them so, and unpack what is packed"
TABLES = (*READ, *UNREAD)
NO_DATA = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")  # the datasets library's own
FILE_NAME = re.compile(r"(?P<name>\w+)(-(?P<shard>\d+)-of-(?P<shards>\d+)(-[0-9a-f]{16})?)?\.(?P<ending>\w+)")


class SourceError(UserError, ValueError):
    """Data that cannot be used; the message names the file and row, and says what to do."""


class TableFile(Protocol):
    """A table's file, on the disk (a `Path`) or in a zip."""

    name: str

    def open(self, mode: str) -> IO[bytes]:
        """For `rb`."""

    def is_file(self) -> bool:
        """False for a folder that has a table's name."""


def ending_of(path: TableFile) -> str:
    """The ending of its name, without the dot, in lower case."""
    return path.name.rpartition(".")[2].lower()


@dataclass
class SplitFiles:
    """The files of a source's folder: `files` by split, in the order of their shards, and `ignored`, names of tables
    that are no split."""

    files: dict[str, list[TableFile]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def split_of(name: str) -> str | None:
    """Our name of a split that a source calls `name`; None where that is no split's name."""
    return SPLIT_OF.get(name.lower())


def tables_in(folder: Path) -> dict[str, TableFile]:
    """What has a table's name in a folder, in the folders in it, and in those of its `data/`, by its path inside."""
    places = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
    places += [path for path in sorted((folder / "data").glob("*")) if path.is_dir()]
    listed = [path for place in places for path in sorted(place.iterdir()) if is_table(path)]
    return {path.relative_to(folder).as_posix(): path for path in listed}


def find_split_files(tables: dict[str, TableFile]) -> SplitFiles:
    """The splits of a folder itself and of its `data/`, the Hub's layout; `tables` is what lies there, by its path."""
    candidates: dict[str, list[tuple[str, TableFile, re.Match]]] = {}
    deeper, ignored = [], []
    for name, path in tables.items():
        *folders, _ = name.split("/")
        if folders not in ([], ["data"]):
            deeper.append(name)  # a layout that is not read, or something else
            continue
        match = FILE_NAME.fullmatch(path.name)
        split = split_of(match["name"]) if match and match["ending"].lower() in READ else None
        if split and path.is_file():
            candidates.setdefault(split, []).append((name, path, match))
        else:
            ignored.append(name)
    files = {split: _checked_shards(split, candidates[split]) for split in SYNONYMS if split in candidates}
    return SplitFiles(files, deeper + ignored)


def is_table(path: TableFile) -> bool:
    """Whether a file, or a folder of parts, has the name of a table."""
    return ending_of(path) in TABLES and path.name not in NO_DATA


def _checked_shards(split: str, candidates: list[tuple[str, TableFile, re.Match]]) -> list[TableFile]:
    """The files of one split. Raises SourceError where it is not plain which ones they are."""
    names = [name for name, _, _ in candidates]
    kinds = {(name.rpartition("/")[0], *match.group("name", "ending", "shards")) for name, _, match in candidates}
    if len(kinds) > 1:
        raise SourceError(
            f"split {split} is in several files: {', '.join(names)}. Keep one name and format for it, or give the "
            "others a name that is no split's"
        )
    shards = candidates[0][2]["shards"]
    if shards is None:
        return [path for _, path, _ in candidates]
    numbers = [int(match["shard"]) for _, _, match in candidates]
    missing = sorted(set(range(min(int(shards), 100_000))) - set(numbers))
    if missing or len(numbers) != int(shards):
        wrong = f"number {missing[0]:05d} is missing" if missing else f"there are {len(numbers)}"
        raise SourceError(f"split {split} is in {int(shards)} files by their names, {wrong}: {', '.join(names[:6])}")
    in_order = sorted(range(len(numbers)), key=numbers.__getitem__)
    return [candidates[i][1] for i in in_order]


def ignored_note(names: list[str]) -> list[str]:
    """Lines on tables that were left aside: of a kind that is not read, or of another name."""
    unread = [name for name in names if is_unread(name)]
    others = [name for name in names if not is_unread(name)]
    synonyms = ", ".join(name for split in SYNONYMS.values() for name in split)
    notes = [f"not read, since their names are no split's ({synonyms}): {listed(others)}"] if others else []
    return notes + ([f"not read: {listed(unread)}. {INSTEAD}"] if unread else [])


def is_unread(name: str) -> bool:
    """Whether a table's name ends as those do that are not read."""
    return name.rpartition(".")[2].lower() in UNREAD


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(map(encodable, names[:8])) + f" and {len(names) - 8} more" * (len(names) > 8)
