"""The files that a source's `image` column names: a path counts inside the source's own folder only.

No URL, absolute path, `..` or link leads out of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from blipvqa.data.values import kind_of

LARGEST_FILE = 500_000_000  # bytes of an image file


def safe_path(folder: Path, path: str) -> Path:
    """The file that `path` means inside `folder`. Raises ValueError where it leads elsewhere or is no file."""
    if "\0" in path or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        raise ValueError(f"image {path!r:.80} is a URL or drive, expected a path relative to the source's folder")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path):
        raise ValueError(f"image {path!r:.80} leads out of the source's folder")
    try:
        file = (folder / path).resolve(strict=True)
        inside, size = file.is_relative_to(folder.resolve()), file.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"image {path!r:.80}: {getattr(error, 'strerror', None) or error}") from None
    if not inside:
        raise ValueError(f"image {path!r:.80} is a link that leads out of the source's folder")
    if not file.is_file():
        raise ValueError(f"image {path!r:.80} is no file")
    if size > LARGEST_FILE:
        raise ValueError(f"image {path!r:.80} has {size:,} bytes, at most {LARGEST_FILE:,} are read")
    return file


def read_image_file(folder: Path, path: str) -> bytes:
    """The bytes of the file that `path` means inside `folder`. Raises ValueError that names it."""
    try:
        return safe_path(folder, path).read_bytes()
    except OSError as error:
        raise ValueError(f"image {path!r:.80}: {error.strerror}") from None


def cell_bytes(cell, folder: Path) -> bytes | memoryview:
    """The image file that a cell of column `image` holds or names. Raises ValueError that says what is wrong."""
    if isinstance(cell, str) and cell:
        return read_image_file(folder, cell)
    if isinstance(cell, bytes | memoryview):
        if len(cell) > LARGEST_FILE:
            raise ValueError(f"the image has {len(cell):,} bytes, at most {LARGEST_FILE:,} are read")
        return cell
    if cell is None or cell == "":
        raise ValueError("there is no image")
    raise ValueError(f"column image: found {kind_of(cell)} ({cell!r:.40}), expected a path")
