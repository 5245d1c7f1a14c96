"""Two hundred tables with one strange cell each, of every format: refused by name or taken, never a bare error."""

import csv
import datetime
import decimal
import itertools
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from small_sources import PICTURES, png, rows, splits_of

from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError

DEEP = json.loads("[" * 60 + "]" * 60)
VALUES = {
    "null": None,
    "number": 3,
    "negative": -1,
    "fraction": 2.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "huge number": 10**40,
    "true": True,
    "list": ["a", 1],
    "empty list": [],
    "object": {"a": {"b": [1, None]}},
    "deep": DEEP,
    "empty": "",
    "blank": "  \t ",
    "long": "word " * 30_000,
    "control": "a\x00b\x07\u202e",
    "surrogate": "half \ud800",
    "formula": "=cmd|'/c calc'!A1",
    "mark-up": "<script>alert(1)</script> $\\frac{$",
    "URL": "http://127.0.0.1:9/x.png",
    "path": "../../etc/passwd",
    "date": datetime.date(2024, 2, 29),
    "time stamp": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC),
    "late date": datetime.date(9999, 12, 31),
    "duration": datetime.timedelta(days=3),
    "decimal": decimal.Decimal("3.10"),
    "bytes": b"\x00\xff" * 40,
    "picture": {"bytes": png(1), "path": "http://127.0.0.1:9/x.png"},
    "numpy": np.float32(1.5),
    "array": np.arange(3),
}
COLUMNS = ("image", "question", "answer", "organ", "extra", "id", "confidence", "nested.name", "")
FORMATS = ("jsonl", "json", "csv", "parquet", "save_to_disk")


def cases(count: int) -> list[tuple]:
    """(value, column, format, whether the whole column holds it), the same ones each time."""
    every = list(itertools.product(VALUES, COLUMNS, FORMATS, (False, True)))
    return random.Random(15).sample(every, count)


def table_with(value, column: str, whole: bool) -> list[dict]:
    lines = [{**row, column: row.get(column)} for row in rows(12)]
    for line in lines if whole else lines[5:6]:
        line[column] = value
    return lines


def write_table(folder, lines: list[dict], kind: str) -> bool:
    """Whether the format can hold these rows at all."""
    if kind == "csv":
        with open(folder / "train.csv", "w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return True
    if kind in ("jsonl", "json"):
        texts = [json.dumps(line, default=str) for line in lines]
        whole = "[" + ",\n".join(texts) + "]" if kind == "json" else "\n".join(texts)
        (folder / f"train.{kind}").write_text(whole, encoding="utf-8")
        return True
    whole = [
        {
            **line,
            "image": {"bytes": (folder / line["image"]).read_bytes(), "path": None}
            if isinstance(line["image"], str) and line["image"].startswith("images")
            else line["image"],
        }
        for line in lines
    ]
    try:
        table = pa.Table.from_pylist(whole)
        if kind == "parquet":
            pq.write_table(table, folder / "train.parquet")
        else:
            Dataset(table).save_to_disk(folder)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, RecursionError, TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id="-".join(map(str, case)), marks=[pytest.mark.slow] if i >= 24 else [])
        for i, case in enumerate(cases(200))
    ],
)
def test_a_strange_cell_is_named_or_taken(folder, case, capfd):
    value, column, kind, whole = case
    if not write_table(folder, table_with(VALUES[value], column, whole), kind):
        return  # there is no such file
    for on_error in ("raise", "skip"):
        try:
            splits = splits_of(data__on_error=on_error)
        except (SourceError, ImageError) as error:
            message = str(error)
            assert "train" in message
            assert whole or on_error == "raise" or kind in ("parquet", "save_to_disk"), message
            continue
        loaded = [row for data in splits.values() for row in data.rows]
        for row in loaded:
            assert json.loads(json.dumps(row, allow_nan=False)) == row
            assert json.dumps(row, ensure_ascii=False).encode()
        left_out = [note for note in splits.notes if "left out" in note]
        assert len(loaded) == 12 or left_out
        assert splits["train"].image(0).size == (20, 20)
    assert len(list((folder / "images").iterdir())) == PICTURES
