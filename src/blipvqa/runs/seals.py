"""Files that say what was written into them: a digest of their content stands in each.

Notable:
- What a page shows and a model's answers depend on is not believed when somebody edited it, cut it off or put another
  run's file in its place. A file without a digest is of an older version, and is read as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from blipvqa.runs.files import damaged, read_json, write_json, write_text

SEAL = "sha256_of_the_rest"
FIRST_LINE = re.compile(r"# sha256 of what follows: ([0-9a-f]{64})")
EDITED = "other content than what was written there, by its digest"


def write_sealed(path: str | Path, value: Mapping) -> None:
    """As `write_json`, with the digest of `value`."""
    value = json.loads(json.dumps(value, allow_nan=False))  # as it will be read
    value.pop(SEAL, None)
    write_json(path, value | {SEAL: _digest(json.dumps(value))})


def unbroken(content: Mapping) -> bool:
    """Whether an object holds what `write_sealed` wrote, or no digest."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return SEAL not in content or content[SEAL] == _digest(json.dumps(rest))


def read_sealed(path: str | Path, keys: Iterable[str] = ()) -> dict:
    """As `read_json`; raises DamagedFile for what somebody edited, too."""
    content = read_json(path, keys)
    if not unbroken(content):
        raise damaged(Path(path), EDITED)
    return {key: value for key, value in content.items() if key != SEAL}


def write_sealed_text(path: Path, text: str) -> None:
    """As `write_text`, below a comment (`# …`) with the text's digest: at its head, or a file cut off would miss it."""
    write_text(path, f"# sha256 of what follows: {_digest(text)}\n{text}")


def read_sealed_text(path: Path) -> str:
    """The text that `write_sealed_text` wrote. Raises DamagedFile for what somebody edited or cut off."""
    text = path.read_text(encoding="utf-8", errors="replace")
    head, _, rest = text.partition("\n")
    if not (match := FIRST_LINE.fullmatch(head)):
        return text
    if match[1] != _digest(rest):
        raise damaged(path, EDITED)
    return rest


def digest_of_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_folder(folder: Path) -> str:
    """sha256, in hex, of the names and contents of all files below a folder, but for hidden ones, which systems add."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("[!.]*") if path.is_file()}
    return _digest(json.dumps([[name, digest_of_file(files[name])] for name in sorted(files)]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
