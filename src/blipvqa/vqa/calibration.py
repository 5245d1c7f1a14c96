"""What travels with a model of how sure it is: `calibration.json` beside its weights, written by `evaluate`.

Notable:
- A new export of the weights replaces the whole folder, so no calibration outlives the weights that it was fitted for.
- A folder may come from a stranger: what is no calibration is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from blipvqa.models.folders import CALIBRATION, ModelError, called, read_json
from blipvqa.runs.seals import unbroken, write_sealed

KINDS = ("yes_no", "sequence")


def store_calibration(folder: Path, calibration: Mapping) -> None:
    """Write what `fit_temperature` returned, with the thresholds of `selective.choose`, beside the weights."""
    write_sealed(folder / CALIBRATION, calibration)


def stored_calibration(model) -> dict | None:
    """The calibration beside the weights that `load_model` read; None where there is none, as before any evaluation."""
    folder = getattr(model, "folder", None)
    return None if folder is None else read_calibration(folder)


def read_calibration(folder: Path) -> dict | None:
    """The calibration in a model's folder, or None. Raises ModelError where the file holds something else."""
    if not (folder / CALIBRATION).exists():
        return None
    content = read_json(folder, CALIBRATION)
    refuse_broken(folder, CALIBRATION, content)
    for kind in KINDS:
        fitted = content.get(kind)
        numbers = [fitted.get(key) for key in ("temperature", "offset")] if isinstance(fitted, dict) else [None]
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) or numbers[0] <= 0:
            raise ModelError(
                f"{called(folder)}: {CALIBRATION} holds no temperature and offset for {kind}. Evaluate again, which "
                "writes it, or remove it: confidence is then the model's own"
            )
    thresholds = content.get("answering")  # what an older evaluation wrote has none
    if thresholds is not None and not (isinstance(thresholds, list) and all(map(_is_threshold, thresholds))):
        raise ModelError(f"{called(folder)}: {CALIBRATION} holds no thresholds. Evaluate again, which writes it")
    return content


def refuse_broken(folder: Path, name: str, content: Mapping) -> None:
    """Raises ModelError where `content` of a file beside the weights is not what was written."""
    if not unbroken(content):
        raise ModelError(f"{called(folder)}: {name} was changed after it was written. Evaluate again, which writes it")


def _is_threshold(pair: object) -> bool:
    """A confidence and an accuracy, both shares."""
    shares = isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, int | float) for each in pair)
    return shares and all(0 <= each <= 1 for each in pair)
