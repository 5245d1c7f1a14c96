"""Where relative paths start from."""

from __future__ import annotations

import os
from pathlib import Path


def project_root() -> Path:
    """The folder that relative paths start from: `BLIPVQA_ROOT`, else the nearest folder upwards that holds both
    `configs` and `notebooks`, else the working directory."""
    if os.environ.get("BLIPVQA_ROOT"):
        return Path(os.environ["BLIPVQA_ROOT"]).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "configs").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return here


def project_path(path: str | Path) -> Path:
    """`path` from the project's root (absolute paths and `~` stay what they say)."""
    return project_root() / Path(path).expanduser()
