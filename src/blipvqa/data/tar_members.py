"""The files in a tar, by their headers: POSIX.1-2001 (pax) and GNU tar, as `man 5 tar` describes both.

Notable:
- What a member would ask for is read from its header first. A name that leads out of the tar, a link, a device, a
  damaged header and a file that ends early are refused: what comes after them would be guessed.
- A header is one read and a sum; Python's `tarfile` takes three times as long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from blipvqa.data.split_names import SourceError
from blipvqa.data.zips import MOST_BYTES, MOST_MEMBERS, is_ignored, leads_out

BLOCK = 512  # bytes of a header, and what members are filled up to
AFTER_END = 100 * BLOCK  # bytes that are looked at behind the end of a tar
LONGEST_NAME = 10_000  # bytes of a name that has a member of its own
PLAIN, FOLDER, LONG_NAME, LONG_LINK, PAX, PAX_OF_ALL = (b"0", b"\0", b"7"), b"5", b"L", b"K", b"x", b"g"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: where its bytes begin, and how many they are."""

    name: str
    start: int
    size: int

    @property
    def ending(self) -> str:
        return self.name.rpartition("/")[2].rpartition(".")[2].lower()


def members_of(path: Path) -> Iterable[Member]:
    """The files in a tar. Raises SourceError for what no folder of pictures and texts would be, and a damaged tar."""
    try:
        with open(path, "rb", buffering=0) as file:
            yield from _checked(path, _headers(path, file, os.fstat(file.fileno()).st_size))
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None


def read_at(file: RawIOBase, size: int, start: int) -> bytes:
    """`size` bytes of an unbuffered file from byte `start`, or fewer at its end; Windows has no `os.pread`."""
    file.seek(start)
    return file.read(size)


def _checked(path: Path, members: Iterable[tuple[Member, bytes]]) -> Iterator[Member]:
    total = 0
    for number, (member, kind) in enumerate(members):
        if kind == FOLDER or is_ignored(member.name) or member.name.rpartition("/")[2].startswith("._"):
            continue
        what = f"{path.name}: member {member.name!r:.80}"
        if leads_out(member.name):
            raise SourceError(f"{what} leads out of the tar file")
        if kind not in PLAIN:
            raise SourceError(f"{what} is a link, a device or a file with holes: only plain files are read")
        total += member.size
        if number >= MOST_MEMBERS:
            raise SourceError(f"{path.name} has more than {MOST_MEMBERS:,} members: write it as several shards")
        if total > MOST_BYTES:
            raise SourceError(f"{path.name} asks for more than {MOST_BYTES / 1e9:,.0f} GB: write it as several shards")
        yield member


def _headers(path: Path, file: RawIOBase, size: int) -> Iterator[tuple[Member, bytes]]:
    """Each member with its kind."""
    at, number, told = 0, 0, {}
    while True:
        block = read_at(file, BLOCK, at)
        if block and not any(block):  # two of these end a tar, and more may follow
            if any(read_at(file, AFTER_END, at)):
                raise SourceError(
                    f"{path.name} holds more behind its end, which tars put together do: write each apart"
                )
            return
        number, at = number + 1, at + BLOCK
        place = f"{path.name}: header {number}, at byte {at - BLOCK:,}"
        if len(block) < BLOCK:
            raise SourceError(f"{place}: the file ends early: copy it anew")
        if not _is_header(block):
            raise SourceError(f"{place}: it is damaged, or this is no tar file: copy it anew")
        kind, length = block[156:157], int(told.pop("size", _number(block[124:136])))
        if at + length > size:
            raise SourceError(f"{place}: member {_name(block)!r:.80} has {length:,} bytes and the file ends before")
        start, at = at, at + -(-length // BLOCK) * BLOCK
        if kind in (LONG_NAME, LONG_LINK, PAX, PAX_OF_ALL):
            if length > LONGEST_NAME and kind != PAX_OF_ALL:
                raise SourceError(f"{place}: a name or note of {length:,} bytes, at most {LONGEST_NAME:,} are read")
            told |= _told(kind, read_at(file, min(length, LONGEST_NAME), start))
            continue
        yield Member(told.pop("path", None) or _name(block), start, length), kind
        told = {}


def _is_header(block: bytes) -> bool:
    """Whether the sum of its bytes is what it says."""
    try:
        return _number(block[148:156]) == sum(block) - sum(block[148:156]) + 8 * 32
    except ValueError:
        return False


def _number(digits: bytes) -> int:
    """Octal digits, or GNU's binary number for what is larger."""
    if digits[:1] == b"\x80":
        return int.from_bytes(digits[1:], "big")
    return int(digits.strip(b" \0") or b"0", 8)


def _name(block: bytes) -> str:
    name, prefix = block[:100].split(b"\0", 1)[0], block[345:500].split(b"\0", 1)[0]
    whole = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return _plain(whole.decode("utf-8", "replace"))


def _plain(name: str) -> str:
    return re.sub(r"^(\./+)+", "", name.replace("\\", "/"))


def _told(kind: bytes, content: bytes) -> dict[str, str]:
    """What a header before a member says of it: its long name, and in pax's notes its size."""
    if kind == LONG_NAME:
        return {"path": _plain(content.rstrip(b"\0").decode("utf-8", "replace"))}
    if kind != PAX:
        return {}
    notes = re.findall(rb"\d+ (path|size)=([^\n]*)\n", content)
    told = {key.decode(): value.decode("utf-8", "replace") for key, value in notes}
    if not told.get("size", "0").isdigit():
        del told["size"]
    return {key: _plain(value) for key, value in told.items()}
