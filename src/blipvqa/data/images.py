"""Pictures from strangers: decoded once, resized once, and kept as raw pixels.

Notable:
- `open_picture` is the one door: whatever form, mode or rotation a picture has, RGB comes out, without metadata; the
  size is read from the header before anything is unpacked, and all threads share one budget of memory.
- `ImageStore` keeps resized pixels under the digest of the file they came from, by what decoded them, in `shards`
  that processes and runs may share; a damaged picture is made again.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL
from PIL import Image

from blipvqa.config.paths import project_path
from blipvqa.data.cache import bytes_of, make_room, mark
from blipvqa.data.decoding_memory import MEMORY, PLAIN_PILLOW, image_memory, resize_memory
from blipvqa.data.depth import Refused
from blipvqa.data.one_colour import shows_nothing
from blipvqa.data.picture_sources import FORMATS, Source, picture_source
from blipvqa.data.shards import Shards
from blipvqa.errors import MissingFile, UserError

DECODER = f"5-pillow-{PIL.__version__}"  # the first number grows whenever the same file gives other pixels
LARGEST_FILE = 500_000_000  # bytes of an image file
SHARDS = 256  # of a store that is full
DIGEST = re.compile("[0-9a-f]{16}")
Decoded = TypeVar("Decoded")  # a picture, or its pixels


class ImageError(UserError, ValueError):
    """A file that is no usable picture; the message names it and says why."""


def open_picture(picture, where: str | None = None) -> Image.Image:
    """Any picture as RGB, upright, alpha over white, without metadata; `where` is what an error calls it.

    `picture` is a file's path (from the project's root) or bytes, a Pillow picture of any mode, or an array `[H, W]` or
    `[H, W, 1 to 4]` (grey, grey and alpha, RGB, RGB and alpha) of whole numbers or fractions. The same picture gives
    the same pixels in whatever form it comes; what is deeper than 8 bits goes by the rule of `depth.py`.

    Raises ImageError for what is broken, animated, too large, or of another format; FileNotFoundError.
    """
    return _decoded(picture, where, lambda source: 2 * image_memory("RGB", *source.size), Source.whole)


def open_pixels(picture, size: int, where: str | None = None) -> np.ndarray:
    """`resize_image(open_picture(picture), size)`, with fewer copies of the whole picture."""

    def memory(source: Source) -> int:
        return source.copies * image_memory("RGB", *source.size) + resize_memory(*source.size, size)

    return _decoded(picture, where, memory, lambda source: _channels_first(source.resized(size)))


def resize_image(image: Image.Image, size: int) -> np.ndarray:
    """uint8 `[3, size, size]`, bicubic: what transformers' `BlipImageProcessorPil` makes, before normalization."""
    memory = resize_memory(*image.size, size)
    _attempt("the picture", MEMORY.check, memory)
    with PLAIN_PILLOW, MEMORY.take(memory):
        return _attempt("the picture", lambda: _channels_first(image.resize((size, size), Image.Resampling.BICUBIC)))


def _decoded(
    picture, where: str | None, memory: Callable[[Source], int], unpack: Callable[[Source], Decoded]
) -> Decoded:
    """`unpack(source)`, while `memory(source)` bytes beside the source's own are taken from the budget."""
    where = _name(picture) if where is None else where
    with PLAIN_PILLOW:
        source = _attempt(where, _source, picture)
        amount = source.memory + memory(source)
        _attempt(where, MEMORY.check, amount)
        with MEMORY.take(amount):
            try:
                return _attempt(where, unpack, source)
            finally:
                del source  # it holds the unpacked picture, which must be gone when its memory counts as free


def _attempt(where: str, work: Callable, *arguments):
    """`work(*arguments)`; whatever goes wrong is an ImageError that begins with `where`."""
    try:
        return work(*arguments)
    except (FileNotFoundError, ImageError):
        raise
    except Refused as error:
        problem = str(error)
    except Image.DecompressionBombError:
        problem = "the image is too large: scale it down, or cut it into tiles"
    except Exception as error:  # decoders fail in many ways on hostile bytes, and each means the same to the caller
        reason = " ".join(str(error).replace(str(io.BytesIO), "").split())[:200] or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)}"
        if isinstance(error, MemoryError):
            reason = "memory ran out"
        problem = f"the image does not decode ({reason})"
    del work, arguments  # an error that is kept would keep the picture too, as it would the one that is handled above
    raise ImageError(f"{where}: {problem}")


def _channels_first(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1).copy()


def _name(picture) -> str:
    return f"picture '{Path(picture).name}'" if isinstance(picture, str | os.PathLike) else "the picture"


def _source(picture) -> Source:
    if not isinstance(picture, str | os.PathLike):
        return picture_source(picture)
    file = project_path(picture)
    if not file.exists():
        raise MissingFile(f"there is no picture {str(picture)!r}")
    if not file.is_file():
        raise Refused("it is no file")
    if file.stat().st_size > LARGEST_FILE:
        raise Refused(f"it has {file.stat().st_size:,} bytes, at most {LARGEST_FILE:,} are read")
    return picture_source(file.read_bytes())


class ImageStore:
    """Resized pixels by image id, in the shards of `folder/<size>px-<decoder>/`; at most `gigabytes`, the oldest
    shards go first.

    Where the decoder changed, pictures are decoded anew; what an older one left makes room as any old file does.

    On a disk that cannot be written, or where a folder of this name is somebody else's, pictures are decoded each time
    and `read_only` says why.
    """

    def __init__(self, folder: str | Path, size: int, gigabytes: float = 20.0):
        self.folder, self.size, self.limit = Path(folder) / f"{size}px-{DECODER}", size, int(gigabytes * 1e9)
        self.read_only = ""
        self.shards = Shards(self.folder, size, self.limit // SHARDS)
        self._one_colour: set[int] = set()  # of pictures that could not be stored
        self._room: int | None = None  # bytes that may be written before the folder is measured again

    def get(self, image_id: str, read: Callable[[], Any], where: str) -> np.ndarray:
        """Pixels uint8 `[3, size, size]` of the image with this id; `read` gives the file's bytes, or its part
        to show, when needed.

        Raises ImageError that names `where`.
        """
        number = number_of(image_id)
        pixels = self.shards.read(number)
        if pixels is None:
            pixels = open_pixels(read(), self.size, where)
            one_colour = shows_nothing(pixels)
            if not self.read_only:
                self._save(number, pixels, one_colour)
            if self.read_only and one_colour:
                self._one_colour.add(number)
        return pixels

    @property
    def seen(self) -> Path:
        """Where the cache keeps what large files were found to hold."""
        return self.folder.parent.parent / "seen"

    def has(self, image_id: str) -> bool:
        """Whether the image was decoded before and its shard is here, whole by its header and size."""
        return self.shards.find(number_of(image_id)) is not None

    def holds(self, numbers: np.ndarray) -> np.ndarray:
        """`has` of many images at once, bool `[N]`, by their numbers, uint64 `[N]`."""
        return self.shards.holds(numbers)

    def sums(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`zlib.crc32` of the pixels of many images, uint32 `[N]`, and of which it is known without reading them."""
        return self.shards.sums(numbers)

    def are_one_colour(self, numbers: np.ndarray) -> np.ndarray:
        """Whether all pixels of each image that was decoded are almost the same: see `one_colour.py`."""
        return self.shards.one_coloured(numbers) | np.isin(numbers, np.array(list(self._one_colour), np.uint64))

    def report(self) -> dict:
        """`images`, `gigabytes` of this size, and `limit` of all sizes."""
        files = list(self.folder.glob("*.shard"))
        return {
            "images": len(self.shards),
            "gigabytes": round(sum(map(bytes_of, files)) / 1e9, 3),
            "limit": self.limit / 1e9,
        }

    @property
    def notes(self) -> list[str]:
        """A line where nothing can be stored; none where all is well."""
        if not self.read_only:
            return []
        place = f"{self.folder.parent.name}/{self.folder.name}"
        return [f"pictures are decoded each time: the cache's '{place}' is not written ({self.read_only})"]

    def _save(self, number: int, pixels: np.ndarray, one_colour: bool) -> None:
        try:
            if self._room is None and not mark(self.folder):
                self.read_only = "it was there before and was not made by this program"
                return
            self.shards.add(number, pixels, one_colour)
        except OSError as error:
            self.read_only = error.strerror or str(error)
            return
        self._make_room(pixels.nbytes)

    def _make_room(self, written: int) -> None:
        self._room = None if self._room is None else self._room - written
        if self._room is None or self._room < 0:
            total = make_room(self.folder.parent, self.limit)
            self._room = max(0, self.limit - total, self.limit // 20)


def number_of(image_id: str) -> int:
    """An image's id as the number by which shards keep it."""
    return int(image_id if DIGEST.fullmatch(image_id) else hashlib.sha256(image_id.encode()).hexdigest()[:16], 16)
