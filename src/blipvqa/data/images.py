"""Pictures from strangers: decoded once, resized once, and kept as raw pixels.

Notable:
- `decode_image` is the one door: whatever mode or rotation a file has, an RGB picture comes out, without metadata;
  the size is read from the header before anything is unpacked.
- `ImageStore` keeps resized pixels under the digest of the file they came from. Files are written beside their place
  and moved, so processes and runs may share a store; a torn or damaged one is noticed and made again.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from blipvqa.errors import UserError
from blipvqa.runs.files import replacing

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")  # decoders a stranger's file may reach
LARGEST = 100_000_000  # pixels: 300 MB as RGB
CACHED = ("images", "synthetic", "datasets", "hub")  # what `clean_cache` removes of a cache folder
HEADER = struct.Struct("<8sII")  # magic, side, crc32 of the pixels
MAGIC = b"blipvqa1"


class ImageError(UserError, ValueError):
    """A file that is no usable picture; the message names it and says why."""


def decode_image(data: bytes, where: str) -> Image.Image:
    """The picture in `data` as RGB, upright, alpha over white, without metadata; `where` is what an error calls it.

    16-bit grey is scaled by the smallest whole number of bits that holds its brightest pixel (12-bit scans are common).
    Raises ImageError for what is broken, animated, larger than 100 megapixels, or of another format.
    """
    if not data:
        raise ImageError(f"{where}: the image file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of malformed metadata, which is dropped anyway; sizes are checked here
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_header(image, where)
                return _as_rgb(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except Exception as error:  # decoders fail in many ways on hostile bytes, and each means the same to the caller
        reason = " ".join(str(error).replace(str(io.BytesIO), "").split())[:120]
        if isinstance(error, Image.UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)}"
        raise ImageError(f"{where}: the image does not decode ({reason or type(error).__name__})") from None


def _check_header(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise ImageError(
            f"{where}: the image has {width} x {height} pixels, at most {LARGEST:,} are read. "
            "Scale it down, or cut it into tiles."
        )
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a camera's JPEG with a preview behind it
        raise ImageError(f"{where}: the file holds {image.n_frames} pictures (animated or many pages); give one")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        bits = max(8, int(values.max()).bit_length())
        image = Image.fromarray((values.clip(0) * 255 // (2**bits - 1)).astype(np.uint8))
    elif image.mode == "F":
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise ValueError("it holds pixels that are no numbers")
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    rgb = image.convert("RGB")
    clean = Image.new("RGB", rgb.size)  # a new picture: no EXIF, text chunks or colour profile come along
    clean.paste(rgb)
    return clean


def resize_image(image: Image.Image, size: int) -> np.ndarray:
    """uint8 `[3, size, size]`, bicubic: what transformers' `BlipImageProcessorPil` makes, before normalization."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1).copy()


class ImageStore:
    """Resized pixels by image id, in `folder/<size>px/`; at most `gigabytes`, the oldest files go first.

    On a disk that cannot be written, pictures are decoded each time and `read_only` says why.
    """

    def __init__(self, folder: str | Path, size: int, gigabytes: float = 20.0):
        self.folder, self.size, self.limit = Path(folder) / f"{size}px", size, int(gigabytes * 1e9)
        self.read_only = ""
        self._checked: set[str] = set()
        self._room: int | None = None  # bytes that may be written before the folder is measured again

    def get(self, image_id: str, read: Callable[[], bytes], where: str) -> np.ndarray:
        """Pixels uint8 `[3, size, size]` of the image with this id; `read` gives the file's bytes when needed.

        Raises ImageError that names `where`.
        """
        found = self._load(image_id)
        if found is not None:
            return found
        pixels = resize_image(decode_image(read(), where), self.size)
        if not self.read_only:
            self._save(image_id, pixels)
        return pixels

    def has(self, image_id: str) -> bool:
        """Whether the image was decoded before and is here."""
        return self._path(image_id).exists()

    def report(self) -> dict:
        """`images`, `gigabytes` of this size, and `limit` of all sizes."""
        files = list(self.folder.glob("*/*.raw"))
        return {
            "images": len(files),
            "gigabytes": round(sum(map(_bytes_of, files)) / 1e9, 3),
            "limit": self.limit / 1e9,
        }

    def _path(self, image_id: str) -> Path:
        return self.folder / image_id[:2] / f"{image_id}.raw"

    def _load(self, image_id: str) -> np.ndarray | None:
        """Without a checksum after the first time: a file is moved into place whole, and pages stay in memory."""
        try:
            with open(self._path(image_id), "rb") as file:
                magic, side, crc = HEADER.unpack(file.read(HEADER.size))
                pixels = np.fromfile(file, np.uint8)
        except (OSError, struct.error):
            return None
        if magic != MAGIC or side != self.size or pixels.size != 3 * side * side:
            return None
        if image_id not in self._checked:
            if zlib.crc32(pixels) != crc:
                return None
            self._checked.add(image_id)
        return pixels.reshape(3, side, side)

    def _save(self, image_id: str, pixels: np.ndarray) -> None:
        try:
            with replacing(self._path(image_id), durable=False) as beside:
                beside.write_bytes(HEADER.pack(MAGIC, self.size, zlib.crc32(pixels)) + pixels.tobytes())
        except OSError as error:
            self.read_only = error.strerror or str(error)
            return
        self._make_room(pixels.nbytes)

    def _make_room(self, written: int) -> None:
        self._room = None if self._room is None else self._room - written
        if self._room is None or self._room < 0:
            files = sorted(self.folder.parent.glob("*/*/*.raw"), key=_age)
            total = sum(map(_bytes_of, files))
            while total > self.limit and len(files) > 1:
                oldest = files.pop(0)
                total -= _bytes_of(oldest)
                oldest.unlink(missing_ok=True)
            self._room = max(0, self.limit - total, self.limit // 20)


def clean_cache(folder: str | Path) -> str:
    """Remove what is cached in `folder` (and nothing else that lies there); one line that says how much it was."""
    total = 0
    for name in CACHED:
        for path in (Path(folder) / name).rglob("*"):
            total += 0 if path.is_dir() else _bytes_of(path)
        shutil.rmtree(Path(folder) / name, ignore_errors=True)
    return f"removed {total / 1e6:,.1f} MB of cached images and data from {Path(folder).name}/"


def _bytes_of(path: Path) -> int:
    """0 for a file that another process has just removed."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _age(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0
