"""Whatever a source's further columns hold: what loading lets in, every writer of a run can hold."""

import datetime
import decimal
import io
import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.comparison import write_comparison
from blipvqa.pages.verdicts import save_pictures
from blipvqa.tasks import write_report
from blipvqa.vqa.review import read_review, write_review


def strict_json(text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def source(root):
    """A parquet source whose further columns are of every kind that JSON has no word for."""
    pictures = []
    for i in range(6):
        buffer = io.BytesIO()
        Image.effect_noise((40, 40), 60 + 10 * i).save(buffer, "PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    count = 12
    table = pa.table(
        {
            "image": pa.array([pictures[i // 2] for i in range(count)]),
            "question": [f"what is {i % 3}?" for i in range(count)],
            "answer": [("fat", "yes", "no")[i % 3] for i in range(count)],
            "taken": pa.array([datetime.date(2024, 1, 1 + i % 2) for i in range(count)]),
            "at": pa.array([datetime.datetime(2024, 1, 1, 1, i) for i in range(count)]),
            "digest": pa.array([bytes([i, 255]) for i in range(count)]),
            "price": pa.array([decimal.Decimal(i) / 4 for i in range(count)], pa.decimal128(8, 2)),
            "weight": pa.array([float("nan"), float("inf"), *map(float, range(count - 2))]),
            "small": pa.array(range(count), pa.int8()),
            "half": pa.array([1.5] * count, pa.float32()),
            "tags": pa.array([["a", "$\\frac{$"]] * count),
            "nested": pa.array([{"when": datetime.date(2024, 1, 1), "size": 1.0}] * count),
            "formula": ["=1+1;=2"] * count,
            "nothing": pa.nulls(count),
        }
    )
    folder = root / "mine"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        parquet.write_table(table, folder / f"{split}.parquet")
    return "mine"


def test_a_run_with_such_columns_is_written_whole(tiny, source):
    columns = ("taken", "price", "weight", "tags", "nothing")
    config = tiny(data__source=source, data__breakdown=list(columns), train__epochs=1, fresh=True)
    run = evaluate_after_training(config)
    splits, split = load_splits(config), "test"
    predictions = [strict_json(line) for line in (run.folder / f"predictions-{split}.jsonl").read_text().splitlines()]
    assert {*columns, "at", "digest", "small", "half", "nested", "formula"} <= predictions[0].keys()
    assert predictions[0]["taken"].startswith("2024-01-01")
    assert predictions[0]["weight"] is None
    for file in run.folder.rglob("*.json*"):
        for text in file.read_text(encoding="utf-8").splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            strict_json(text)
    assert set(run.metrics(split)["by"]) == {"question_type", *columns}
    images = save_pictures(splits[split], run.folder, split)
    sheet = write_review(predictions, run.folder, split, images=images)
    assert read_review(sheet, predictions)["pending"] == len(predictions)
    page = write_report(run, splits).read_text(encoding="utf-8")
    assert "By price" in page
    assert "2024-01-02" in page
    assert "\\frac" not in page
    assert write_comparison(run, run).exists()


def evaluate_after_training(config):
    fine_tune(config)
    return evaluate(config, progress=False, resamples=20)
