"""A run folder has one name."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from blipvqa.config.knobs import ConfigError
from blipvqa.runs.files import flush_folder, move


def move_aside(folder: Path) -> Path:
    """Rename a run folder by the time, to a name that is free, and return that."""
    now = folder.with_name(f"{folder.name}.{time.strftime('%Y%m%d-%H%M%S')}")
    aside = next(
        path for i in itertools.count() if not (path := now.with_name(f"{now.name}-{i}" if i else now.name)).exists()
    )
    move(folder, aside)
    flush_folder(folder.parent)
    return aside


def refuse_second_name(folder: Path) -> None:
    """Raises ConfigError where a run folder stands under another name: one that differs in case, which Windows and
    macOS take for the same, or the folder that this one is a link to. One run would be held for two."""
    names = os.listdir(folder.parent) if folder.parent.is_dir() else []
    alike = [name for name in names if name.lower() == folder.name.lower() and (folder.parent / name).is_dir()]
    if alike and folder.name not in names:
        raise ConfigError(
            f"name: '{folder.name}' is '{alike[0]}' in outputs/ but for upper and lower case, which Windows and macOS "
            "do not tell apart: give that name, or one that differs in more"
        )
    real = folder.resolve()
    if folder.name in names and real.parent == folder.parent.resolve() and real.name != folder.name:
        raise ConfigError(f"name: '{folder.name}' is a link to run '{real.name}': give that name")
