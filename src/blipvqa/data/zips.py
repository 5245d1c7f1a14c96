"""A zip file read in place, as if it were the folder that it holds: nothing of it is unpacked onto the disk.

Notable:
- What it would ask for is read from its own list of members first: their number, their bytes, how well they pack.
- A name that leads out of it, an encrypted member, and a zip inside the zip are refused.
- Each process opens the file for itself: processes that share an open file would read at each other's place.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

from blipvqa.data.split_names import SourceError, is_table

MOST_MEMBERS = 2_000_000
MOST_BYTES = 500_000_000_000  # of all members, unpacked
LARGEST_MEMBER = 1_000_000_000  # bytes, unpacked
STRANGEST_RATIO = 100  # unpacked to packed bytes of a member of more than SMALL bytes: tables and pictures pack less
SMALL = 10_000_000
IGNORED = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")  # what systems put into a folder


class Zip:
    """The members of a zip file below the one folder that it holds, if it holds one. Raises SourceError."""

    def __init__(self, path: Path):
        self.path = path
        self._prepare()
        with _explained(path):
            members = [info for info in self._file().infolist() if not info.is_dir() and not is_ignored(info.filename)]
        _check(members, path)
        names = [info.filename.replace("\\", "/") for info in members]
        tops = {name.split("/", 1)[0] for name in names}
        nested = len(tops) == 1 and all("/" in name for name in names)
        self.top = f"{tops.pop()}/" if nested else ""
        self.members = {name[len(self.top) :]: info for name, info in zip(names, members, strict=True)}

    def _prepare(self) -> None:
        self._lock, self._open = threading.Lock(), None

    def __getstate__(self) -> dict:
        return {"path": self.path, "top": self.top, "members": self.members}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._prepare()

    def _file(self) -> ZipFile:
        with self._lock:
            if self._open is None or self._open[0] != os.getpid():
                self._open = (os.getpid(), ZipFile(self.path))
            return self._open[1]

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises ValueError where they are damaged, or more than the zip says."""
        info = self.members[name]
        try:
            with self._file().open(info) as member:
                content = member.read(info.file_size + 1)
        except (BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise ValueError(f"{name!r:.80} in {self.path.name} is damaged: {error}") from None
        if len(content) != info.file_size:
            raise ValueError(f"{name!r:.80} in {self.path.name} is damaged: it is longer than the zip says")
        return content

    def tables(self) -> dict[str, Member]:
        """The members that may be tables, as a folder's files."""
        return {
            name: Member(self, name) for name in self.members if name.count("/") < 3 and is_table(Member(self, name))
        }

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked."""
        return self.members[name].file_size


class Member:
    """A member as a table's file."""

    def __init__(self, packed: Zip, path: str):
        self.zip, self.path, self.name = packed, path, path.rpartition("/")[2]

    def open(self, mode: str) -> io.BytesIO:
        try:
            return io.BytesIO(self.zip.read(self.path))
        except ValueError as error:
            raise SourceError(str(error)) from None

    def is_file(self) -> bool:
        return True


class _explained:
    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, BadZipFile | OSError | ValueError | NotImplementedError):
            raise SourceError(f"{self.path.name} does not read as a zip file: {str(error)[:120]}") from None


def is_zip(path: Path) -> bool:
    """Whether `path` is a zip file by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def leads_out(name: str) -> bool:
    """Whether a member's name leads out of the file that holds it."""
    parts = name.split("/")
    return name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name


def is_ignored(name: str) -> bool:
    """Whether a member is what a system puts into every folder."""
    return name.startswith(IGNORED[0]) or name.rsplit("/", 1)[-1] in IGNORED[1:]


def _check(members: list[ZipInfo], path: Path) -> None:
    """Raises SourceError for what no folder of tables and pictures would be."""
    if len(members) > MOST_MEMBERS:
        raise SourceError(f"{path.name} has {len(members):,} members, at most {MOST_MEMBERS:,} are read: unpack it")
    total = sum(info.file_size for info in members)
    if total > MOST_BYTES:
        raise SourceError(f"{path.name} asks for {total / 1e9:,.0f} GB, at most {MOST_BYTES / 1e9:,.0f} are read")
    seen: set[str] = set()
    for info in members:
        name = info.filename.replace("\\", "/")
        what = f"{path.name}: member {info.filename!r:.80}"
        if leads_out(name):
            raise SourceError(f"{what} leads out of the zip file")
        if name in seen:
            raise SourceError(f"{what} stands twice")
        seen.add(name)
        if name.lower().endswith(".zip"):
            raise SourceError(f"{what} is a zip inside the zip, which is not opened: unpack the outer one")
        if info.flag_bits & 1:
            raise SourceError(f"{what} is encrypted: unpack it")
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise SourceError(f"{what} is a link")
        if info.file_size > LARGEST_MEMBER:
            raise SourceError(f"{what} asks for {info.file_size:,} bytes, at most {LARGEST_MEMBER:,} are read")
        if info.file_size > SMALL and info.file_size > STRANGEST_RATIO * max(info.compress_size, 1):
            raise SourceError(
                f"{what} asks for {info.file_size:,} bytes of {info.compress_size:,}: a file that packs so well is no "
                "picture and no table"
            )
