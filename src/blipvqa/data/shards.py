"""Resized pictures of one size in shards: files of many pictures, written once, with an index that finds any of them.

Notable:
- A shard is `<token>.shard`, pictures of equal length one after the other, and `<token>.index`, an entry for each: its
  id, the sum of its pixels, and a sum of the entry. An entry is written after its pixels, so what a kill or a full disk
  leaves behind is found nowhere.
- Each process that adds pictures writes shards of its own, so none waits for another; all read all of them.
- Pixels are read at their place, by a file of its own each. A shard that was mapped into memory and is cut short by a
  full or broken disk would end the process without a word, and its pages would count as the process's own.
- The index is a few sorted arrays: 24 bytes a picture, shared by the processes of a loader.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = b"blipvqaS"
HEAD = struct.Struct("<8sII16s")  # magic, version of this form, side of the pictures, token of the shard
VERSION = 1
ENTRY = np.dtype([("id", "<u8"), ("crc", "<u4"), ("one_colour", "<u2"), ("check", "<u2")])
NAME = re.compile(r"(?P<token>[0-9a-f]{32})\.(shard|index)")
MOST_RECENT = 50_000  # pictures that are not in the sorted arrays yet
LOOK_AGAIN = 1.0  # seconds after which a picture that is missing may have been written by another process


@dataclass
class _Shard:
    """A shard as it was when its index was last read."""

    path: Path
    count: int = 0
    checked: np.ndarray | None = None  # pictures whose pixels were seen to be whole


class Shards:
    """The shards of a folder, for pictures `[3, side, side]`; new ones of about `length` bytes."""

    def __init__(self, folder: Path, side: int, length: int):
        self.folder, self.side, self.size = folder, side, 3 * side * side
        self.most = max(1, length // self.size)  # pictures of a shard
        self.shards: list[_Shard] = []
        self.numbers: dict[str, int] = {}  # of `shards`, by token
        self.ids, self.entries, self.places = (
            np.empty(0, np.uint64),
            np.empty(0, ENTRY),
            np.empty(0, np.int64),
        )  # sorted
        self.recent: dict[int, tuple[int, np.void]] = {}  # what was added since: its place and entry
        self.gone: set[int] = set()  # numbers of shards that made room for others
        self.writer: _Writer | None = None
        self.looked = -LOOK_AGAIN
        self._lock = threading.RLock()

    def __getstate__(self) -> dict:
        """For loader processes: without the lock and what is being written."""
        return self.__dict__ | {"_lock": None, "writer": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state | {"_lock": threading.RLock()}

    def __len__(self) -> int:
        self._look(force=True)
        return len(np.unique(self.ids))

    def holds(self, ids: np.ndarray) -> np.ndarray:
        """Whether each picture is here, bool `[N]` for ids uint64 `[N]`."""
        self._look(force=True)
        if not len(self.ids):
            return np.zeros(len(ids), bool)
        return self.ids[np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)] == ids

    def one_coloured(self, ids: np.ndarray) -> np.ndarray:
        """Whether each picture is here and almost one colour, bool `[N]`."""
        self._look(force=True)
        return np.isin(ids, self.ids[self.entries["one_colour"] > 0])

    def sums(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sum of each picture's pixels as it was written, uint32 `[N]`, and whether the picture is here, `[N]`."""
        here = self.holds(ids)
        if not len(self.ids):
            return np.zeros(len(ids), np.uint32), here
        return self.entries["crc"][np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)], here

    def find(self, picture: int) -> np.void | None:
        """The entry of a picture, or None."""
        return next((entry for _, entry in self._found(picture)), None)

    def read(self, picture: int) -> np.ndarray | None:
        """The pixels of a picture, uint8 `[3, side, side]`; None where it is not here, or damaged."""
        for place, entry in self._found(picture):
            pixels = self._pixels(*divmod(place, 2**32), entry)
            if pixels is not None:
                return pixels.reshape(3, self.side, self.side)
        return None

    def add(self, picture: int, pixels: np.ndarray, one_colour: bool) -> None:
        """Keep a picture. Raises OSError where nothing can be written."""
        entry = np.zeros(1, ENTRY)
        entry["id"], entry["crc"], entry["one_colour"] = picture, zlib.crc32(pixels), one_colour
        entry["check"] = _check(entry)
        with self._lock:
            if self.writer is None or not self.writer.takes(self.most):
                self.writer = _Writer(self.folder, self.side)
                self.numbers[self.writer.token] = len(self.shards)
                self.shards.append(_Shard(self.writer.path, 0, np.zeros(self.most, bool)))
            number = self.numbers[self.writer.token]
            record = self.writer.write(pixels, entry)
            shard = self.shards[number]
            shard.count, shard.checked[record] = record + 1, True
            self.recent[picture] = (number * 2**32 + record, entry[0])
            if len(self.recent) == MOST_RECENT:
                self._look(force=True)

    def _found(self, picture: int) -> Iterator[tuple[int, np.void]]:
        """(place, entry) of a picture, the newest first: one that was damaged was written again."""
        for _ in range(2):
            with self._lock:
                recent, ids, entries, places = self.recent.get(picture), self.ids, self.entries, self.places
            if recent:
                yield recent
            first, last = (int(np.searchsorted(ids, np.uint64(picture), side)) for side in ("left", "right"))
            yield from ((int(places[at]), entries[at]) for at in range(last - 1, first - 1, -1))
            if recent or first < last or not self._look():
                return

    def _pixels(self, number: int, record: int, entry: np.void) -> np.ndarray | None:
        shard, pixels = self.shards[number], np.empty(self.size, np.uint8)
        try:
            with open(shard.path, "rb", buffering=0) as file:
                file.seek(HEAD.size + record * self.size)
                whole = file.readinto(pixels) == self.size
        except OSError:  # it made room for others
            return None
        if whole and not shard.checked[record]:  # once: pages stay in memory
            whole = zlib.crc32(pixels) == entry["crc"]
            shard.checked[record] = whole
        return pixels if whole else None

    def _look(self, force: bool = False) -> bool:
        """Read what the indexes of the folder hold more than when they were read last; whether that was anything."""
        with self._lock:
            if not force and time.monotonic() - self.looked < LOOK_AGAIN:
                return False
            self.looked = time.monotonic()
            indexes = self._indexes()
            new = [piece for path in indexes if (piece := self._new_entries(path))]
            gone = {number for token, number in self.numbers.items() if token not in {path.stem for path in indexes}}
            if not new and not self.recent and gone <= self.gone:
                return False
            self.gone |= gone
            own = np.array([entry for _, entry in self.recent.values()], ENTRY), self._recent_places()
            entries, places = zip((self.entries, self.places), *new, own, strict=True)
            entries, places = np.concatenate(entries), np.concatenate(places)
            there = ~np.isin(places >> 32, list(self.gone))
            entries, places = entries[there], places[there]
            order = np.argsort(entries["id"], kind="stable")
            self.entries, self.places, self.recent = entries[order], places[order], {}
            self.ids = np.ascontiguousarray(self.entries["id"])
            return True

    def _recent_places(self) -> np.ndarray:
        return np.array([place for place, _ in self.recent.values()], np.int64)

    def _indexes(self) -> list[Path]:
        try:
            return sorted(
                path for path in self.folder.iterdir() if NAME.fullmatch(path.name) and path.suffix == ".index"
            )
        except OSError:
            return []

    def _new_entries(self, index: Path) -> tuple[np.ndarray, np.ndarray] | None:
        """Entries of an index that were not read yet, with their places; those that are damaged are left out."""
        if self.writer and self.writer.token == index.stem:
            return None  # these are in `recent`
        number = self.numbers.get(index.stem)
        shard = self.shards[number] if number is not None else _Shard(index.with_suffix(".shard"))
        try:
            content, head = _after_head(index, shard.count * ENTRY.itemsize)
            length = os.stat(shard.path).st_size
            if head != HEAD.pack(MAGIC, VERSION, self.side, bytes.fromhex(index.stem)) or head != _head(shard.path):
                return None  # another program's, or of other pictures
        except OSError:
            return None
        entries = np.frombuffer(content[: len(content) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)
        entries = entries[: max(0, (length - HEAD.size) // self.size - shard.count)]
        if not len(entries):
            return None
        if number is None:
            number = self.numbers[index.stem] = len(self.shards)
            self.shards.append(shard)
        places = number * 2**32 + np.arange(shard.count, shard.count + len(entries))
        more = np.zeros(len(entries), bool)
        shard.checked = more if shard.checked is None else np.concatenate([shard.checked[: shard.count], more])
        shard.count += len(entries)
        good = entries["check"] == _check(entries)
        return entries[good], places[good]


class _Writer:
    """A new shard of this process."""

    def __init__(self, folder: Path, side: int):
        self.token, self.process, self.count = secrets.token_hex(16), os.getpid(), 0
        self.path, self.size = folder / f"{self.token}.shard", 3 * side * side
        self.pixels, self.index = (io.FileIO(self.path.with_suffix(ending), "x") for ending in (".shard", ".index"))
        for file in (self.pixels, self.index):
            _write(file, HEAD.pack(MAGIC, VERSION, side, bytes.fromhex(self.token)), 0)

    def takes(self, most: int) -> bool:
        """Whether it may hold one more: not in a process that was forked since, nor where it was removed."""
        return self.process == os.getpid() and self.count < most and os.fstat(self.index.fileno()).st_nlink > 0

    def write(self, pixels: np.ndarray, entry: np.ndarray) -> int:
        """The number of the picture in this shard."""
        _write(self.pixels, pixels.tobytes(), HEAD.size + self.count * self.size)
        _write(self.index, entry.tobytes(), HEAD.size + self.count * ENTRY.itemsize)
        self.count += 1
        return self.count - 1

    def __del__(self):
        for name in ("pixels", "index"):
            if hasattr(self, name):
                getattr(self, name).close()


def _write(file: io.FileIO, content: bytes, at: int) -> None:
    file.seek(at)  # of a picture that was not written whole nothing counts
    if file.write(content) != len(content):
        raise OSError("the disk is full")


def _head(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(HEAD.size)


def _after_head(path: Path, skipped: int) -> tuple[bytes, bytes]:
    with open(path, "rb") as file:
        head = file.read(HEAD.size)
        file.seek(HEAD.size + skipped)
        return file.read(), head


def _check(entries: np.ndarray) -> np.ndarray:
    """A sum of each entry, uint16 `[N]`."""
    mixed = entries["id"] * np.uint64(0x9E3779B97F4A7C15) ^ entries["crc"].astype(np.uint64) * np.uint64(
        0xC2B2AE3D27D4EB4F
    )
    return ((mixed + entries["one_colour"]) * np.uint64(0x165667B19E3779F9) >> np.uint64(48)).astype(np.uint16)
