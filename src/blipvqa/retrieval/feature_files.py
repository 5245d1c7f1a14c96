"""Features on the disk: made once for each key, in parts that are written whole, and only of one model's weights.

Notable:
- A part is a safetensors file with the features and, in its header, their keys. What a kill left out is made again;
  what is there stays.
- `made_by.json` says which weights made them. Other weights are refused: their features lie elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from blipvqa.bars import progress_bar
from blipvqa.runs.files import make_folder, read_json, remove, replacing, write_json
from blipvqa.runs.run import RunError

PART = 1024  # features of a part
MADE_BY = "made_by.json"
HEADER = "rows"  # of a part: its keys, and their digest with the features


def refuse_other_weights(folder: Path, made_by: dict) -> None:
    """Raise RunError where the features in `folder` were made by something else than `made_by`; note it where there are
    none."""
    note = folder / MADE_BY
    if not note.exists():
        make_folder(folder)
        for part in folder.glob("*.safetensors"):  # of a folder whose note was lost: nobody knows what made them
            remove(part)
        write_json(note, made_by)
        return
    before = {key.replace(" ", "_"): value for key, value in read_json(note).items()}  # "image size" of older versions
    before.setdefault("precision", made_by["precision"])  # they do not name it
    changed = [key.replace("_", " ") for key in made_by if before.get(key) != made_by[key]]
    if changed:
        raise RunError(
            f"the index in '{folder.parent.name}/{folder.name}' was made with other {', '.join(changed)} than the run "
            "has now: its features do not compare with new ones. Make it anew: fresh=True, or remove the folder."
        )


def features_of(
    folder: Path,
    kind: str,
    keys: Sequence[str],
    make: Callable[[list[int]], Tensor],
    width: int,
    progress: str | None = None,
) -> Tensor:
    """Features `[N,D]` of distinct `keys`, from the parts `<kind>-000000.safetensors` … of `folder`; those that no part
    holds are made by `make(positions)` and added."""
    features, there = torch.empty(len(keys), width), torch.zeros(len(keys), dtype=torch.bool)
    place = {key: i for i, key in enumerate(keys)}
    number = 0
    for path in sorted(folder.glob(f"{kind}-*.safetensors")):
        number = max(number, int(path.stem.rpartition("-")[2]) + 1)
        stored, values = _read(path, width)
        pairs = [(place[key], row) for row, key in enumerate(stored) if key in place]
        if pairs:
            to, rows = (torch.tensor(column) for column in zip(*pairs, strict=True))
            features[to], there[to] = values[rows], True
    missing = (~there).nonzero()[:, 0].tolist()
    parts = range(0, len(missing), PART)
    for start in progress_bar(parts, desc=progress, unit="part", disable=progress is None or not missing, leave=False):
        rows = missing[start : start + PART]
        features[rows] = make(rows).float().cpu()
        with replacing(folder / f"{kind}-{number:06d}.safetensors") as beside:
            names = json.dumps([keys[row] for row in rows])
            said = {"keys": names, "sha256": _digest(names, features[rows])}
            # one entry: of several the order is drawn anew each time, and two processes' files would differ
            save_file({"features": features[rows]}, beside, {HEADER: json.dumps(said)})
        number += 1
    return features


def _read(path: Path, width: int) -> tuple[list[str], Tensor]:
    """Keys and features of a part; none of one that cannot be read, whose features are then made again."""
    try:
        with safe_open(path, "pt") as file:
            header, values = json.loads(file.metadata()[HEADER]), file.get_tensor("features")
            keys = json.loads(header["keys"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return [], torch.empty(0, width)
    fits = values.shape == (len(keys), width) and bool(values.isfinite().all())
    if fits and header.get("sha256") != _digest(header["keys"], values):
        raise RunError(
            f"'{path.parent.parent.name}/{path.parent.name}/{path.name}' holds other features or names than were "
            "written there. Make the index anew: fresh=True, or remove this file, whose features are then made again."
        )
    return (keys, values) if fits else ([], torch.empty(0, width))


def _digest(keys: str, features: Tensor) -> str:
    """A sha256 of the features and of what they are called."""
    return hashlib.sha256(keys.encode() + features.contiguous().numpy().tobytes()).hexdigest()
