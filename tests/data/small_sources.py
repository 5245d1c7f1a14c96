"""Small sources of every kind, for the tests of this folder."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import TINY
from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from blipvqa import load_config, load_splits

PICTURES = 20
FEATURES = Features(
    {"image": ImageFeature(), "question": Value("string"), "answer": Value("string"), "organ": Value("string")}
)


def png(seed: int) -> bytes:
    """A picture of noise that no other seed gives."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int, start: int = 0) -> list[dict]:
    """Rows of which two each share a picture of the folder."""
    return [
        {
            "image": f"images/{(start + i) // 2}.png",
            "question": f"what is {start + i}?",
            "answer": f"it is {start + i}",
            "organ": "liver" if i % 3 else "lung",
        }
        for i in range(count)
    ]


def config_of(**overrides):
    """The config of the folder; dots in keys are written `__`."""
    return load_config(
        None, TINY | {"data.source": "mine"} | {key.replace("__", "."): value for key, value in overrides.items()}
    )


def splits_of(**overrides):
    return load_splits(config_of(**overrides))


def jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def parquet(path, lines, schema=None):
    """A parquet file of rows, the pictures inside."""
    whole = [{**line, "image": {"bytes": png(i), "path": None}} for i, line in enumerate(lines)]
    pq.write_table(pa.Table.from_pylist(whole, schema=schema), path)


def write(kind, folder, tables):
    """`{split: rows}` in the given kind of source."""
    for split, lines in tables.items():
        if kind == "jsonl":
            jsonl(folder / f"{split}.jsonl", lines)
        elif kind == "json":
            (folder / f"{split}.json").write_text(json.dumps(lines, indent=1), encoding="utf-8")
        elif kind == "csv":
            with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, list(lines[0]))
                writer.writeheader()
                writer.writerows(lines)
    whole = {
        split: [{**line, "image": {"bytes": (folder / line["image"]).read_bytes(), "path": None}} for line in lines]
        for split, lines in tables.items()
    }
    if kind == "parquet":
        (folder / "data").mkdir()
        for split, lines in whole.items():
            pq.write_table(
                pa.Table.from_pylist(lines, schema=FEATURES.arrow_schema),
                folder / "data" / f"{split}-00000-of-00001.parquet",
            )
    elif kind == "save_to_disk":
        DatasetDict(
            {split: Dataset.from_list(lines, features=FEATURES) for split, lines in whole.items()}
        ).save_to_disk(folder)
