"""What pictures inside of large files were called when they were looked at last, so that nobody reads them all again.

Notable:
- For each file (parquet, tar) the ids of its rows' pictures are kept, 8 bytes each, and nothing else of it.
- They count for that file alone: its size, place on the disk, and both times must be as they were, and the system sets
  one of these times itself, whoever puts the other back. A file that was changed in the last seconds is not trusted.
- That a picture decodes is not kept here: the store of pixels says so.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blipvqa.data.cache import mark
from blipvqa.runs.files import replacing

MAGIC = b"blipvqaN"
HEAD = struct.Struct("<8s32sI")  # magic, what the file is known by, crc32 of the ids
SETTLED = 2.0  # seconds after which a change of a file shows in its times


@dataclass(frozen=True)
class Span:
    """The rows `first` to `end` of a split, whose pictures lie in one file, in its column `column`."""

    path: Path
    first: int
    end: int
    column: str = ""


class SeenPictures:
    """The ids of a split's pictures, uint64 `[rows]`, 0 where nothing is known of one; kept in `folder`."""

    def __init__(self, folder: Path, spans: list[Span], rows: int):
        self.folder, self.spans = folder, spans
        self.ids = np.zeros(rows, np.uint64)
        self.states = [_state(span) for span in spans]  # before anything is read
        self.complete = [self._read(span, state) for span, state in zip(spans, self.states, strict=True)]

    def keep(self, ids: np.ndarray) -> None:
        """Keep `ids`, uint64 `[rows]`, of those files that are still as they were when they were read."""
        for span, state, complete in zip(self.spans, self.states, self.complete, strict=True):
            new = ids[span.first : span.end]
            if complete or state is None or not new.any() or _state(span) != state:
                continue
            try:
                if not mark(self.folder):
                    return
                with replacing(self._place(span), durable=False) as beside:
                    beside.write_bytes(HEAD.pack(MAGIC, state, zlib.crc32(new.tobytes())) + new.tobytes())
            except OSError:
                return  # a disk that is full or not to be written: they are looked at anew

    def _read(self, span: Span, state: bytes | None) -> bool:
        """Whether every picture of a file is known."""
        try:
            content = self._place(span).read_bytes()
            magic, known_by, crc = HEAD.unpack_from(content)
        except (OSError, struct.error):
            return False
        ids = content[HEAD.size :]
        if magic != MAGIC or known_by != state or zlib.crc32(ids) != crc or len(ids) != 8 * (span.end - span.first):
            return False
        self.ids[span.first : span.end] = np.frombuffer(ids, np.uint64)
        return bool(self.ids[span.first : span.end].all())

    def _place(self, span: Span) -> Path:
        name = hashlib.sha256(f"{span.path.resolve()}\0{span.column}".encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / f"{name[:32]}.seen"


def _state(span: Span) -> bytes | None:
    """What a file's content is known by; None for one that was changed in the last seconds."""
    try:
        state = os.stat(span.path)
    except OSError:
        return None
    if time.time() - max(state.st_mtime, state.st_ctime) < SETTLED:
        return None
    parts = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, span.first - span.end)
    return hashlib.sha256(repr(parts).encode()).digest()
