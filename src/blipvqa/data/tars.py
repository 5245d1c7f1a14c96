"""Shards of pictures and texts, `.tar` files as webdataset and img2dataset write them, read in place.

Notable:
- Members of one name but for the ending are a row: a picture, and its text (`.txt`, column `caption`), its columns
  (`.json`), or both. They may stand apart in the file.
- A tar that is damaged or hostile is refused whole (`tar_members`); a row whose members do not fit is named as such.
- A picture is read at its place by number, with one call, in any process: nothing is unpacked, no file stays open.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blipvqa.data.image_files import LARGEST_FILE
from blipvqa.data.json_files import PARSER
from blipvqa.data.layouts import Table, split_in
from blipvqa.data.raw import PlacedRow
from blipvqa.data.seen import Span
from blipvqa.data.split_names import SourceError, listed, split_of
from blipvqa.data.tar_members import Member, members_of, read_at
from blipvqa.data.text_tables import checked_row

PICTURES = ("png", "jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "bmp", "gif", "webp", "dcm")
TEXTS = ("txt", "text", "caption")
LARGEST_TEXT = 1_000_000  # bytes of a text, or of a row's columns
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass
class _Sample:
    """The members of one row."""

    pictures: list[Member] = field(default_factory=list)
    texts: list[Member] = field(default_factory=list)
    columns: list[Member] = field(default_factory=list)
    others: list[Member] = field(default_factory=list)

    def add(self, member: Member) -> None:
        kinds = {"json": self.columns} | dict.fromkeys(PICTURES, self.pictures) | dict.fromkeys(TEXTS, self.texts)
        kinds.get(member.ending, self.others).append(member)

    def problem(self) -> str | None:
        """What is wrong with the members, or None."""
        for what, members in (("pictures", self.pictures), ("texts", self.texts), ("tables", self.columns)):
            if len(members) > 1:
                return f"it has two {what}: {members[0].name!r:.80} and {members[1].name!r:.80}"
        if self.others:
            read = f"{', '.join(PICTURES)}, {', '.join(TEXTS)}, json"
            return f"member {self.others[0].name!r:.80} has an ending that is not read ({read})"
        if not self.pictures:
            return f"{(self.texts + self.columns)[0].name!r:.80} has no picture of the same name"
        if not self.texts + self.columns:
            return f"{self.pictures[0].name!r:.80} has no text of the same name (.txt or .json)"
        large = [one for one in self.texts + self.columns if one.size > LARGEST_TEXT]
        if large:
            return f"{large[0].name!r:.80} has {large[0].size:,} bytes, at most {LARGEST_TEXT:,} of text are read"
        if self.pictures[0].size > LARGEST_FILE:
            size = self.pictures[0].size
            return f"{self.pictures[0].name!r:.80} has {size:,} bytes, at most {LARGEST_FILE:,} are read"
        return None


class TarPictures:
    """The pictures of a split's tars, by the number of their row."""

    def __init__(self, paths: list[Path]):
        self.paths, self.ends = paths, [0]  # each file's rows end where the next one's begin
        self.files, self.starts, self.sizes = array("i"), array("q"), array("q")  # of each row; -1: no picture

    def add(self, file: int, member: Member | None) -> None:
        self.files.append(file if member else -1)
        self.starts.append(member.start if member else 0)
        self.sizes.append(member.size if member else 0)

    def end_of_file(self) -> None:
        """All rows of one file are added."""
        self.ends.append(len(self.files))

    def spans(self) -> list[Span]:
        """Which rows lie in which file."""
        return [Span(path, *self.ends[k : k + 2]) for k, path in enumerate(self.paths)]

    def cells(self, rows: Sequence[int]) -> Iterator[bytes | None]:
        """The pictures of these rows."""
        return (self.cell(row) for row in rows)

    def may_name(self) -> bool:
        """A tar holds its pictures."""
        return False

    def cell(self, row: int) -> bytes | None:
        """One row's picture. Raises SourceError where the tar has become another file."""
        if self.files[row] < 0:
            return None
        path = self.paths[self.files[row]]
        content = _read(path, self.starts[row], self.sizes[row])
        if len(content) != self.sizes[row]:
            raise SourceError(f"{path.name} was replaced after the data was read: load the data anew")
        return content


def _read(path: Path, start: int, size: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return read_at(file, size, start)
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None


def is_tar(path: Path) -> bool:
    """Whether `path` is a tar by its name."""
    return path.suffix.lower() == ".tar" and path.is_file()


def tars_by_split(source: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The tars of a source by split, in the order of their names, and notes. The source is one, or a folder with tars
    in it and in the folders in it.

    A tar's split is a word of its name, or the name of its folder; where no name has one, all tars are train.
    Raises SourceError where one that is compressed lies there.
    """
    found = [source] if is_tar(source) else _tars_below(source)
    splits = {path: split_of(path.parent.name) if path.parent != source else None for path in found}
    splits = {path: split or split_in(path.name) for path, split in splits.items()}
    nameless = [path.name for path, split in splits.items() if split is None]
    if len(nameless) == len(found):
        note = f"{len(found)} tar files name no split: their rows are train"
        return ({"train": found}, [note]) if found else ({}, [])
    notes = [f"not read, since their names are no split's: {listed(nameless)}"] if nameless else []
    names = dict.fromkeys(split for split in splits.values() if split)
    return {name: [path for path, split in splits.items() if split == name] for name in names}, notes


def _tars_below(folder: Path) -> list[Path]:
    places = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
    files = [path for place in places for path in sorted(place.iterdir())]
    packed = [path for path in files if path.name.lower().endswith(COMPRESSED)]
    if packed and not any(map(is_tar, files)):
        raise SourceError(f"{packed[0].name} is compressed, and a picture in it cannot be read by itself: unpack it")
    return [path for path in files if is_tar(path)]


def tar_tables(paths: list[Path], pictures: TarPictures) -> Iterator[Table]:
    """The rows of each tar; their pictures are added to `pictures`, a row each."""
    for file, path in enumerate(paths):
        yield Table(path, _rows(file, path, pictures), "sample")


def _rows(file: int, path: Path, pictures: TarPictures) -> Iterator[PlacedRow]:
    for key, sample in _samples(path).items():
        row = sample.problem() or _row(path, sample)
        pictures.add(file, None if isinstance(row, str) else sample.pictures[0])
        yield key, row
    pictures.end_of_file()


def _samples(path: Path) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    seen: set[str] = set()
    for member in members_of(path):
        if member.name in seen:
            raise SourceError(f"{path.name}: member {member.name!r:.80} stands twice")
        seen.add(member.name)
        key = member.name[: -len(member.ending) - 1] if "." in member.name.rpartition("/")[2] else member.name
        samples.setdefault(key, _Sample()).add(member)
    return samples


def _row(path: Path, sample: _Sample) -> dict | str:
    """The columns of a row, or what is wrong with it."""
    try:
        row = _columns(path, sample.columns[0]) if sample.columns else {}
        if isinstance(row, str) or not sample.texts:
            return row
        text = _text(path, sample.texts[0])
    except SourceError as error:
        return str(error)
    if row.get("caption", text) not in (None, "", text):
        return f"it has two texts: {sample.texts[0].name!r:.80}, and `caption` in {sample.columns[0].name!r:.80}"
    return row | {"caption": text}


def _columns(path: Path, member: Member) -> dict | str:
    try:
        row = checked_row(PARSER.decode(_text(path, member)))
    except json.JSONDecodeError as error:
        return f"{member.name!r:.80} is not JSON: {error}"
    except RecursionError:
        return f"{member.name!r:.80} is not JSON: nested too deeply"
    if isinstance(row, str):
        return f"{member.name!r:.80}: {row}"
    return {"image (data)" if name == "image" else name: value for name, value in row.items()}


def _text(path: Path, member: Member) -> str:
    try:
        return _read(path, member.start, member.size).decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SourceError(f"{member.name!r:.80} is not UTF-8") from None
