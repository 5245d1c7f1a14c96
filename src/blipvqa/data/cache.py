"""The cache: folders that we made and marked, of files that can be made again.

Notable:
- `data.cache_dir` may be any folder, one with a person's pictures too. What is removed lies in a folder that carries
  our mark, is called as only we call files, and begins as only ours do. Links are neither followed nor removed.
- A folder that was there before is never marked, unless it was empty.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from blipvqa.runs.files import write_text

TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/: backups leave such folders out
MARK = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Made by blipvqa. What lies here can be made again; `make clean-cache` removes it.\n"
)
STORED = re.compile(r"(?P<id>[\w-]+)\.raw")  # a picture, as older versions kept each in a file
SHARD = re.compile(r"[0-9a-f]{32}\.(shard|index)")
UNFINISHED = re.compile(r"\.(?P<name>.+)\.blipvqa-[0-9a-f]{8}\.writing")
BEGINNING = b"blipvqa"  # of a stored picture, whatever version wrote it
DRAWN = re.compile(r"\w+-00000-of-00001\.parquet|drawn\.lock")
HUB = re.compile(r".+\.(arrow|json|lock|incomplete)|[0-9a-f]{64}")  # as the datasets library names what it fetches
SEEN = re.compile(r"[0-9a-f]{32}\.seen")
KINDS = ("images", "synthetic", "hub", "seen")  # of a cache folder
MARKING = threading.Lock()  # pictures are decoded, and stored, by many threads: one of them marks
UNFINISHED_FOR = 24 * 3600  # seconds after which nobody writes an unfinished file any more


def mark(folder: Path) -> bool:
    """Make `folder` with our mark; whether it carries the mark now. One that held something before does not.

    Raises OSError where nothing can be written.
    """
    with MARKING:
        folder.mkdir(parents=True, exist_ok=True)
        if is_marked(folder):
            return True
        if folder.is_symlink() or any(not name.startswith(f".{TAG}.") for name in os.listdir(folder)):
            return is_marked(folder)  # another process may have made it between the two looks
        write_text(folder / TAG, MARK)
        return True


def is_marked(folder: Path) -> bool:
    """Whether we made `folder`."""
    tag = folder / TAG
    try:
        return not folder.is_symlink() and not tag.is_symlink() and tag.read_text(encoding="utf-8") == MARK
    except (OSError, UnicodeDecodeError):
        return False


def make_room(folder: Path, limit: int) -> int:
    """Remove the oldest shards from the marked stores in `folder` until `limit` bytes are left; what is left, in
    bytes. Files that a killed process left unfinished go first."""
    files = sorted(_stored_pictures(folder), key=_age)
    total = sum(map(bytes_of, files))
    while total > limit and len(files) > 1:
        oldest = files.pop(0)
        total -= bytes_of(oldest)
        if is_stored_picture(oldest):
            for path in {oldest.with_suffix(".index"), oldest} if oldest.suffix == ".shard" else {oldest}:
                path.unlink(missing_ok=True)
    return total


def _stored_pictures(folder: Path) -> Iterator[Path]:
    """Files called as stored pictures, or shards of them, in the marked stores of `folder`; unfinished ones of long ago
    are removed."""
    for store in filter(is_marked, _folders(folder)):
        yield from (path for path in _entries(store) if _is_shard(path) and path.suffix == ".shard")
        for part in _folders(store):
            for path in _entries(part):
                if STORED.fullmatch(path.name) and not path.is_symlink():
                    yield path
                elif is_unfinished(path) and _age(path) < time.time() - UNFINISHED_FOR:
                    path.unlink(missing_ok=True)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where another process has just removed it."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def is_stored_picture(path: Path) -> bool:
    """Whether a file is one that `ImageStore` wrote, by name, place and content; a killed process leaves it empty."""
    match = STORED.fullmatch(path.name)
    if not _is_shard(path) and (not match or path.parent.name != match["id"][:2] or path.is_symlink()):
        return False
    try:
        with open(path, "rb") as file:
            begins = file.read(len(BEGINNING))
    except OSError:
        return False
    return begins == BEGINNING or (not begins and _is_shard(path))


def _is_shard(path: Path) -> bool:
    return bool(SHARD.fullmatch(path.name)) and not path.is_symlink()


def is_unfinished(path: Path) -> bool:
    """Whether a file is what a killed process left of a picture or a mark that it was about to put into place."""
    match = UNFINISHED.fullmatch(path.name)
    ours = match and (match["name"] == TAG or STORED.fullmatch(match["name"]) or SEEN.fullmatch(match["name"]))
    return bool(ours) and not path.is_symlink()


def clean_cache(folder: str | Path) -> str:
    """Remove what we cached in `folder`, and nothing else that lies there; lines that say how much it was, and what of
    the folders that we would use was left, since we did not make it."""
    folder, total = Path(folder), 0
    for store in _marked(folder / "images"):
        total += _remove(store, lambda path: is_stored_picture(path) or is_unfinished(path))
    for drawn in _marked(folder / "synthetic"):
        total += _remove(drawn, lambda path: bool(DRAWN.fullmatch(path.name)) or is_unfinished(path))
    if is_marked(folder / "seen"):
        total += _remove(folder / "seen", lambda path: bool(SEEN.fullmatch(path.name)) or is_unfinished(path))
    if is_marked(folder / "hub"):
        total += _remove(folder / "hub", lambda path: bool(HUB.fullmatch(path.name)) or is_unfinished(path))
    lines = [f"removed {total / 1e6:,.1f} MB of cached images and data from {folder.name}/"]
    left = [name for name in (*KINDS, "datasets") if (folder / name).is_dir() and not _remove_empty(folder / name)]
    if left:
        names = ", ".join(f"{name}/" for name in left)
        lines.append(
            f"left in {folder.name}/: what {names} still holds, since it carries no mark. Older versions marked "
            "nothing: remove by hand what is theirs and not yours."
        )
    return "\n".join(lines)


def _marked(folder: Path) -> list[Path]:
    return [path for path in _folders(folder) if is_marked(path)]


def _remove(folder: Path, own: Callable[[Path], bool]) -> int:
    """Remove our own files in a marked folder, then what is empty; the bytes removed."""
    total = 0
    for place, _, names in os.walk(folder, topdown=False):
        for path in (Path(place) / name for name in names):
            if not path.is_symlink() and own(path):
                total += bytes_of(path)
                path.unlink(missing_ok=True)
        if Path(place) != folder:
            _remove_empty(Path(place))
    if os.listdir(folder) == [TAG]:
        (folder / TAG).unlink(missing_ok=True)
        _remove_empty(folder)
    return total


def _remove_empty(folder: Path) -> bool:
    """Remove a folder that holds nothing; whether it is gone."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def bytes_of(path: Path) -> int:
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
