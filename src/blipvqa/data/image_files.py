"""The files that a source's `image` column names: a name counts inside one folder only.

Notable:
- No URL, absolute path, drive, `..` or link leads out of that folder, which is the source's own or `data.image_root`.
- A name is taken as it is written first. If there is no such file, one is looked for whose name differs in case,
  Unicode form, outer spaces or slashes alone; the folder is listed once for that. Two of these are an error that
  names both.
- The folder may be a zip file, which is read in place.
"""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from blipvqa.data.slides import ENDINGS, is_slide
from blipvqa.data.values import kind_of
from blipvqa.data.zips import Zip, is_zip

LARGEST_FILE = 500_000_000  # bytes of an image file
LARGEST_SLIDE = 50_000_000_000  # bytes of a whole slide, of which only tiles are read
PICTURES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".svs", ".ndpi")
FILMS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".ogv", ".3gp")


class NoSuchFile(ValueError):
    """There is no file of this name."""


def safe_path(folder: Path, path: str) -> Path:
    """The file that `path` means inside `folder`. Raises ValueError where it leads elsewhere or is no file."""
    refuse_ways_out(path)
    try:
        file = (folder / path).resolve(strict=True)
        inside, size = file.is_relative_to(folder.resolve()), file.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:
        kind = NoSuchFile if isinstance(error, FileNotFoundError | NotADirectoryError) else ValueError
        raise kind(f"image {path!r:.80}: {getattr(error, 'strerror', None) or error}") from None
    if not inside:
        raise ValueError(f"image {path!r:.80} is a link that leads out of the source's folder")
    if not file.is_file():
        raise ValueError(f"image {path!r:.80} is no file")
    _check_size(path, size, LARGEST_SLIDE if size > LARGEST_FILE and is_slide(file) else LARGEST_FILE)
    return file


def refuse_ways_out(path: str) -> None:
    """Raises ValueError for a name that is no path inside a folder."""
    if "\0" in path:
        raise ValueError(
            f"image {path!r:.80} holds a NUL byte, which no file's name does: write the name as the file is"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        raise ValueError(f"image {path!r:.80} is a URL or drive, expected a path relative to the source's folder")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path):
        raise ValueError(f"image {path!r:.80} leads out of the source's folder")


def _check_size(path: str, size: int, most: int = LARGEST_FILE) -> None:
    if size > most:
        raise ValueError(f"image {path!r:.80} has {size:,} bytes, at most {most:,} are read")


def folded(path: str) -> str:
    """What names have in common that differ in case, Unicode form, outer spaces or slashes alone."""
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path.strip()).casefold())
    return "/".join(part for part in re.split(r"[/\\]", text) if part not in ("", "."))


class PictureFolder:
    """The folder, or zip file, that pictures are named from.

    `suffix` is added to names that do not end with it. `within` are folders inside, in which a layout keeps its
    pictures: a name is looked for there next.
    """

    def __init__(self, root: Path, suffix: str = "", within: tuple[str, ...] = (), packed: Zip | None = None):
        self.root, self.suffix, self.within = root, suffix, within
        self.zip = packed or (Zip(root) if is_zip(root) else None)
        self._prepare()

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, list[str]] | None = None  # by what they have in common, once the folder was listed
        self._stems: dict[str, str] | None = None  # a file by its name without folder and ending, once one was missing

    def __getstate__(self) -> dict:
        """For loader processes, which list the folder themselves where they need it."""
        return {"root": self.root, "suffix": self.suffix, "within": self.within, "zip": self.zip}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._prepare()

    def find(self, name: str) -> str:
        """The path inside the folder of the file that a row calls `name`. Raises ValueError that says what is wrong."""
        refuse_ways_out(name)
        if self.suffix and not name.lower().endswith(self.suffix.lower()):
            name += self.suffix
        places = [name, *(f"{folder}/{name}" for folder in self.within)]
        if self.zip and folded(name).startswith(folded(self.zip.top) + "/"):
            places.append(name[len(self.zip.top) :])  # named with the one folder that the zip holds
        for place in places:
            if self._is_there(place):
                return place
        for place in places:
            alike = self._alike(place)
            if len(alike) > 1:
                raise ValueError(f"image {name!r:.80} may be {' or '.join(sorted(alike)[:3])}: write it as the file is")
            if alike:
                return alike[0]
        raise NoSuchFile(f"image {name!r:.80}: No such file or directory{self._elsewhere(name)}")

    def _is_there(self, path: str) -> bool:
        """Raises ValueError for a path that is there and leads elsewhere."""
        if self.zip:
            return path in self.zip.members
        try:
            return bool(safe_path(self.root, path))
        except NoSuchFile:
            return False

    def _alike(self, path: str) -> list[str]:
        with self._lock:
            if self._names is None:
                self._names = {}
                for name in self.zip.members if self.zip else _files_below(self.root):
                    self._names.setdefault(folded(name), []).append(name)
        return self._names.get(folded(path), [])

    def _elsewhere(self, path: str) -> str:
        """Where a file of this name lies with another ending or in another folder: "" where there is none."""
        with self._lock:
            if self._stems is None:
                self._stems = {Path(key).stem: names[0] for key, names in (self._names or {}).items()}
        packed = (self._names or {}).get(f"{folded(path).split('/')[0]}.zip")
        if packed:
            return f", but '{packed[0]}' is there: unpack it, or set data.image_root to it"
        there = self._stems.get(Path(folded(path)).stem)
        return f", but '{there}' is there: see data.image_root and data.image_suffix" if there else ""

    def names_in(self, folder: str) -> list[str]:
        """The names of what lies in a folder inside; none where there is no such folder."""
        if self.zip:
            inside = (name[len(folder) + 1 :] for name in self.zip.members if name.startswith(f"{folder}/"))
            return sorted({name.split("/")[0] for name in inside})
        place = self.root / folder
        return sorted(path.name for path in place.iterdir()) if place.is_dir() else []

    def slide(self, name: str) -> Path | None:
        """The file that a row calls `name`, if that is a whole slide on the disk. Raises ValueError as `find`."""
        if self.zip or not f"{name}{self.suffix}".lower().endswith(ENDINGS):
            return None
        file = safe_path(self.root, self.find(name))
        return file if is_slide(file) else None

    def state(self, name: str) -> tuple[int, int, int] | None:
        """What tells the file that a row calls `name` from one that takes its place: its size, and both times, of which
        the system sets one; of the zip file where it lies in one. None where there is none."""
        try:
            state = os.stat(self.root if self.zip else safe_path(self.root, self.find(name)))
        except (ValueError, OSError):
            return None
        return state.st_size, state.st_mtime_ns, state.st_ctime_ns

    def read(self, name: str) -> bytes:
        """The bytes of the file that a row calls `name`. Raises ValueError that names it."""
        path = self.find(name)
        if self.zip:
            _check_size(path, self.zip.size(path))
            return self.zip.read(path)
        try:
            return safe_path(self.root, path).read_bytes()
        except OSError as error:
            raise ValueError(f"image {name!r:.80}: {error.strerror}") from None


def _files_below(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):  # links to folders are not followed: they may lead in circles
        inside = Path(place).relative_to(folder)
        yield from ((inside / file).as_posix() for file in files)


def cell_bytes(cell, folder: PictureFolder) -> bytes | memoryview:
    """The image file that a cell of column `image` holds or names. Raises ValueError that says what is wrong."""
    if isinstance(cell, str) and cell:
        return folder.read(cell)
    if isinstance(cell, bytes | memoryview):
        if len(cell) > LARGEST_FILE:
            raise ValueError(f"the image has {len(cell):,} bytes, at most {LARGEST_FILE:,} are read")
        return cell
    if cell is None or cell == "":
        raise ValueError("there is no image")
    raise ValueError(f"column image: found {kind_of(cell)} ({cell!r:.40}), expected a path")
