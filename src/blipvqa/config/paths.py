"""Where relative paths start from."""

from __future__ import annotations

import os
from pathlib import Path

from blipvqa.errors import InputError


def project_root() -> Path:
    """The folder that relative paths start from: `BLIPVQA_ROOT`, else the nearest folder upwards that holds both
    `configs` and `notebooks`, else the working directory.

    Raises InputError where `BLIPVQA_ROOT` is no folder: a misspelt one was made, and runs were looked for there.
    """
    if named := os.environ.get("BLIPVQA_ROOT"):
        root = Path(named).expanduser().resolve()
        if not root.is_dir():
            raise InputError(f"BLIPVQA_ROOT is '{named}', which is no folder: set it to the project's, or unset it")
        return root
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "configs").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def project_path(path: str | Path) -> Path:
    """`path` from the project's root (absolute paths and `~` stay what they say)."""
    return project_root() / Path(path).expanduser()
