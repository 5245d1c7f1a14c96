"""`all-predictions.csv`: every question that an evaluation answered, with its picture: to join to other tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.data.dataset import Splits
from blipvqa.pages.spreadsheets import write_sheet
from blipvqa.vqa.answers import actual_answer, answered_right

COLUMNS = ("split", "id", "image", "image_id", "question", "answer", "prediction", "confidence", "withheld", "right")


def write_all_predictions(folder: Path, splits: Splits, predictions: Mapping[str, Sequence[Mapping]]) -> Path:
    """Write the predictions of each split, in its order; `image` is the path inside the source, empty where the source
    holds the pictures themselves."""
    further = list(dict.fromkeys(column for split in predictions for column in splits[split].columns))
    rows = (
        [split, row["id"], splits[split].image_path(i), *_shown(row), *(row.get(column) for column in further)]
        for split, of_split in predictions.items()
        for i, row in enumerate(of_split)
    )
    path = folder / "all-predictions.csv"
    # a column of the data that has a name of this sheet keeps it, marked
    write_sheet(path, [*COLUMNS, *(f"{name} (data)" if name in COLUMNS else name for name in further)], rows)
    return path


def _shown(row: Mapping) -> list:
    named = ("prediction", "confidence", "withheld")
    texts = [row.get("image_id"), row.get("question"), actual_answer(row)]
    return [*texts, *(row.get(name) for name in named), answered_right(row)]
