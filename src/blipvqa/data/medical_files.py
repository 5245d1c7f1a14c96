"""DICOM files and whole slides: what of one a row shows, and what that picture is called.

Notable:
- A row names a frame (`frame`, from 1) or a region of a slide (`x, y, width, height, level`, as OpenSlide counts: x and
  y in pixels of level 0, width and height in those of the level). `data.window` is of the whole source.
- Two frames, regions or windows of one file are two pictures: `image_id` is of the file's bytes and the part.
- These columns mean nothing for other files, where they may be a person's own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blipvqa.data import dicom, slides
from blipvqa.data.depth import Refused
from blipvqa.data.image_files import PictureFolder, cell_bytes

REGION = ("x", "y", "width", "height", "level")
BLOCK = 4_000_000  # bytes
SLIDES: dict[Path, tuple[tuple, str]] = {}  # what each was when it was read, and its id: gigabytes, and many regions


@dataclass(frozen=True)
class View:
    """What a row shows of a file, as its cells say."""

    frame: str = ""
    region: tuple[str, ...] = ("",) * len(REGION)
    window: tuple[float, float] | None = None  # centre and width


@dataclass(frozen=True)
class PictureFile:
    """A DICOM file or slide, its bytes or a slide's path, and what of it is shown."""

    content: bytes | Path
    view: View = View()

    @property
    def is_dicom(self) -> bool:
        return isinstance(self.content, bytes) and dicom.is_dicom(self.content)

    def part(self) -> tuple:
        """The frame and window, or the region, that is shown: empty for a file as a whole. Raises Refused."""
        if self.is_dicom:
            return dicom.part_of(self.content, whole_number(self.view.frame, "frame"), self.view.window)
        cells = [whole_number(cell, name) for cell, name in zip(self.view.region, REGION, strict=True)]
        return slides.part_of(self.content, cells)


def view_of(values: Mapping[str, Any], window: list[float] | None) -> View:
    """What the cells of a row, by our names, say of its picture."""
    cells = {name: "" if values.get(name) is None else str(values[name]).strip() for name in ("frame", *REGION)}
    return View(cells["frame"], tuple(cells[name] for name in REGION), tuple(window) if window else None)


def whole_number(cell: str, name: str) -> int | None:
    """None for an empty cell. Raises Refused for what is no number."""
    if not cell:
        return None
    try:
        number = float(cell)
        if number.is_integer():
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise Refused(f"column {name}: found {cell!r:.40}, expected a whole number")


def picture_of(cell: Any, folder: PictureFolder, view: View) -> bytes | memoryview | PictureFile:
    """The picture that a cell of column `image` holds or names. Raises ValueError that says what is wrong."""
    if isinstance(cell, str) and cell and (path := folder.slide(cell)):
        return PictureFile(path, view)
    content = cell_bytes(cell, folder)
    return PictureFile(bytes(content), view) if dicom.is_dicom(content) or slides.is_slide(content) else content


def picture_id(picture: bytes | memoryview | PictureFile) -> str:
    """16 hex digits: of the sha256 of a file's bytes, and of what is shown of it. Raises Refused."""
    if not isinstance(picture, PictureFile):
        return image_digest(picture)
    digest, part = file_id(picture), picture.part()
    return image_digest(f"{digest} {part}".encode()) if part else digest


def file_id(picture: bytes | memoryview | PictureFile) -> str:
    """16 hex digits of the file's bytes, whatever is shown of it."""
    if not isinstance(picture, PictureFile):
        return image_digest(picture)
    if isinstance(picture.content, bytes):
        return image_digest(picture.content)
    now = os.stat(picture.content)
    state = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    if SLIDES.get(picture.content, (None, ""))[0] != state:
        digest = hashlib.sha256()
        with picture.content.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        SLIDES[picture.content] = state, digest.hexdigest()[:16]
    return SLIDES[picture.content][1]


def image_digest(content: bytes | memoryview) -> str:
    """16 hex digits of the sha256 of an image file's bytes."""
    return hashlib.sha256(content).hexdigest()[:16]
