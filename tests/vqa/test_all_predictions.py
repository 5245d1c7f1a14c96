"""Every answered question in one sheet that people can join to their own tables."""

import csv
import json
from pathlib import Path

from conftest import VQA_RAD_SAMPLE

from blipvqa import Run, evaluate, load_splits
from blipvqa.vqa.all_predictions import write_all_predictions


def read(path: Path) -> list[dict]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sheet_names_each_answered_question_s_picture_as_the_source_does(done):
    evaluate(done, progress=False, resamples=50)  # other tests evaluate other splits of this run, each writes the sheet
    rows = read(done.folder / "all-predictions.csv")
    splits, predictions = load_splits(done), Run(done.folder).predictions("test")
    assert [row["split"] for row in rows] == ["test"] * len(splits["test"]) + ["validation"] * len(splits["validation"])
    for i, (row, prediction) in enumerate(zip(rows, predictions, strict=False)):
        assert row["id"] == prediction["id"] and row["question"] == prediction["question"]
        assert row["prediction"] == prediction["prediction"] and float(row["confidence"]) == prediction["confidence"]
        assert (row["image"] or None) == splits["test"].image_path(i)
        assert row["right"] in ("true", "false") and "topic" in row


def test_the_path_is_the_one_of_the_source_s_own_table(tiny, root):
    splits = load_splits(tiny(data__source=str(VQA_RAD_SAMPLE)))
    predictions = [row | {"prediction": row["answer"], "confidence": 0.5} for row in splits["train"].rows]
    path = write_all_predictions(root, splits, {"train": predictions})
    rows = read(path)
    lines = (VQA_RAD_SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert {row["image"] for row in rows} <= {json.loads(line)["image"] for line in lines}
    assert all(row["right"] == "true" and row["image"] for row in rows) and rows
