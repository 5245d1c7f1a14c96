"""Files that are written whole or not at all, and are on the disk before anything refers to them.

Notable:
- A file is written beside its place, flushed, moved there, and then its folder is flushed: after a kill or a power cut
  there is the old file or the new one. Only logs grow in place; a torn last line is left out when they are read.
- Temporary names end in `.writing`, `.whole` or `.old` with our mark before them; `sweep` touches nothing else.
- Files get the mode that the umask asks for, whatever the library that wrote them chose.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blipvqa.errors import DamagedFile

# Tests set this: it is called before every flush, rename, append and removal, with the operation's name and its path
before_operation: Callable[[str, Path], None] | None = None

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.blipvqa-[0-9a-f]{8}\.(?P<stage>writing|whole|old)")

# Temporary names of version 0.1.0: those of tempfile, before names that a run folder holds
_OLDER = re.compile(
    r"\.(?P<name>model|README\.md|config\.yaml|report\.html|(environment|state|(metrics|stress|explanations)-\w+)\.json"
    r"|(history|samples|predictions-\w+)\.jsonl|(train|validation|test)(-\w+)?\.jsonl?|step-\d{8}\.(safetensors|json)"
    r"|review-\w+\.csv)\.[a-z0-9_]{8}(?P<old>\.old)?"
)


def _announce(operation: str, path: Path) -> None:
    if before_operation is not None:
        before_operation(operation, path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.blipvqa-{secrets.token_hex(4)}.writing")


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends well, what it wrote is moved into place.

    `durable` flushes file and folder to the disk; what can be made again need not wait for that.
    """
    path = Path(path)
    make_folder(path.parent, durable)
    beside = _beside(path)
    mode = _make_empty(beside)
    try:
        yield beside
        beside.chmod(mode)  # a library may have put a file of its own mode in its place
        if durable:
            flush(beside)
        move(beside, path)
        if durable:
            flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a whole folder.

    The new folder is called `.whole` before the old one moves out of the way, so that after a kill between the two
    moves `sweep` knows which copy to put into place.
    """
    make_folder(path.parent)
    beside = _beside(path)
    whole, old = beside.with_suffix(".whole"), beside.with_suffix(".old")
    beside.mkdir()
    try:
        yield beside
        flush_tree(beside)
        move(beside, whole)
        flush_folder(path.parent)
        if path.exists():
            move(path, old)
        move(whole, path)
        flush_folder(path.parent)
    finally:
        if not path.exists():
            _recover(path)
        for rest in (beside, whole, old):
            remove(rest)


def sweep(folder: Path) -> None:
    """Finish or remove what killed writers left in `folder` and its subfolders; only names of our own making.

    A folder whose two moves were cut apart is put into its place: the new copy where it is whole, else the old one.
    """
    hidden = [*folder.glob(".*"), *folder.glob("*/.*")]
    leftovers = [path for path in hidden if _TEMPORARY.fullmatch(path.name)]
    older = [path for path in hidden if _OLDER.fullmatch(path.name)]
    for path in leftovers:
        target = path.with_name(_TEMPORARY.fullmatch(path.name)["name"])
        if path.is_dir() and not target.exists():
            _recover(target)
    for path in older:
        match = _OLDER.fullmatch(path.name)
        target = path.with_name(match["name"])
        if match["old"] and path.is_dir() and not target.exists():
            move(path, target)  # it moved out of the way for a new one that never came
            flush_folder(target.parent)
    for path in [*leftovers, *older]:
        remove(path)


def _recover(target: Path) -> None:
    for stage in ("whole", "old"):
        for copy in target.parent.glob(f".*.{stage}"):
            match = _TEMPORARY.fullmatch(copy.name)
            if match and match["name"] == target.name and copy.is_dir():
                move(copy, target)
                flush_folder(target.parent)
                return


# ------------------------------------------------------------------------------------------------ steps to the disk


def make_folder(folder: Path, durable: bool = True) -> None:
    """`folder` with its parents; the names of those that are new are flushed."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing if durable else []):
        flush_folder(path.parent)


def flush(path: str | Path) -> None:
    """The content of a file to the disk."""
    _announce("flush", Path(path))
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """The names in a folder to the disk, where the system can do that (Windows opens no folder)."""
    _announce("flush folder", folder)
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_logs(*paths: Path) -> None:
    """Logs that grew by `append_lines`, and their names."""
    for path in filter(Path.exists, paths):
        flush(path)
        flush_folder(path.parent)


def flush_tree(folder: Path) -> None:
    """Every file with the mode of the umask, on the disk; then the folders, innermost first."""
    probe = folder / "mode.writing"
    mode = _make_empty(probe)
    probe.unlink()
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            os.chmod(Path(place) / name, mode)
            flush(Path(place) / name)
        flush_folder(Path(place))


def _make_empty(path: Path) -> int:
    """Create an empty file and return the mode that the umask gave it."""
    with open(path, "xb") as file:
        return stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def move(source: Path, target: Path) -> None:
    """Rename, in place of what is there."""
    _announce("rename", target)
    os.replace(source, target)


def remove(path: Path) -> None:
    """A file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        _announce("remove", path)
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        _announce("remove", path)
        path.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------ text and JSON


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value) -> None:
    """Raises ValueError for NaN and infinity, which are no JSON: an undefined number is null."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """One JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """Add to a log in one write; `flush_logs` brings it to the disk."""
    _announce("append", Path(path))
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def cut_log(path: Path, rows: int) -> None:
    """Keep the first `rows` lines of a log. What stands behind them was not flushed, and may be torn."""
    lines = path.read_bytes().splitlines(keepends=True)[:rows] if path.exists() else []
    with replacing(path) as beside:
        beside.write_bytes(b"".join(lines))


def read_lines(path: str | Path, keys: Iterable[str] = ()) -> list[dict]:
    """The objects of a `.jsonl` file; a last line without its end was torn by a kill and is left out.

    Raises DamagedFile, naming the line, for what is no JSON object with `keys`.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_object(path, line, keys, f" in line {number}") for number, line in enumerate(lines, 1)]


def read_json(path: str | Path, keys: Iterable[str] = ()) -> dict:
    """The object of a `.json` file. Raises DamagedFile for anything but an object with `keys`."""
    return _object(Path(path), Path(path).read_bytes(), keys)


def _object(path: Path, text: bytes, keys: Iterable[str], place: str = "") -> dict:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"no JSON{place} ({error!s:.80})") from None
    if not isinstance(content, dict):
        raise damaged(path, f"a {type(content).__name__}{place}, expected an object")
    if missing := [key for key in keys if key not in content]:
        raise damaged(path, f"no {', '.join(missing)}{place}")
    return content


def damaged(path: Path, what: str) -> DamagedFile:
    """The error to raise for a file of ours that holds `what`."""
    return DamagedFile(
        f"'{path.parent.name}/{path.name}' is damaged: it holds {what}. Put back a copy of it, or remove it and do "
        "again what wrote it."
    )
