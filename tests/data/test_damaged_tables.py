"""Tables whose bytes were changed at random: read, or refused by name; never a bare error, never a crash."""

import json
import random

import pyarrow as pa
import pytest
from datasets import Dataset
from small_sources import parquet, png, rows, splits_of, write

from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Bytes changed, taken out, put in, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        place, way = draw.randrange(len(data) or 1), draw.random()
        if way < 0.5 and data:
            data[place] = draw.randrange(256)
        elif way < 0.7:
            del data[place : place + draw.randrange(1, 30)]
        elif way < 0.9:
            data[place:place] = draw.randbytes(draw.randrange(1, 10))
        elif way < 0.95:
            del data[place:]
        elif data:
            data[place] ^= 1 << draw.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "save_to_disk"])
@pytest.mark.parametrize("count", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_a_damaged_file_is_named_or_read(folder, kind, count):
    lines = [{**row, "patient": i // 4, "box": [0.1, i], "more": {"a": 1}} for i, row in enumerate(rows(12))]
    if kind == "parquet":
        parquet(folder / "train.parquet", lines)
    elif kind == "save_to_disk":
        Dataset(pa.Table.from_pylist([{**line, "image": png(i)} for i, line in enumerate(lines)])).save_to_disk(folder)
    else:
        write(kind, folder, {"train": lines})
    files = sorted(path for path in folder.iterdir() if path.is_file())
    whole = {path: path.read_bytes() for path in files}
    draw = random.Random(f"{kind}/{count}")
    refused = 0
    for _ in range(count):
        path = draw.choice(files)
        path.write_bytes(damaged(whole[path], draw))
        for on_error in ("raise", "skip"):
            try:
                splits = splits_of(data__on_error=on_error)
            except (SourceError, ImageError) as error:
                assert "train" in str(error) or "mine" in str(error)
                refused += 1
            else:
                assert all(json.dumps(list(data.rows), allow_nan=False) for data in splits.values())
        path.write_bytes(whole[path])
    assert refused > count // 2
    assert sum(map(len, splits_of().values())) == 12
