"""A task on real pictures that a small model from scratch can learn: which part of the body a picture of VQA-RAD shows.

Writes a folder of jsonl and pictures, split by picture: "which part of the body is this?", and "is this the …?" of one
part drawn at random. The parts are the data's own column `organ`.

    .venv/bin/python benchmarks/organ_questions.py --vqa-rad ../shared/data/vqa-rad --output outputs/organ-questions
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
from pathlib import Path

import pyarrow.parquet as parquet
from PIL import Image

PARTS = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
SHARES = {"validation": 0.3, "test": 0.25}  # of the pictures; the rest trains
SIDE = 256  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqa-rad", type=Path, required=True, help="a folder in the Hub's layout")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    pictures: dict[str, tuple[bytes, str]] = {}
    for file in sorted(options.vqa_rad.rglob("*.parquet")):
        table = parquet.read_table(file, columns=["image", "organ"])
        for image, organ in zip(table["image"].to_pylist(), table["organ"].to_pylist(), strict=True):
            pictures[hashlib.sha256(image["bytes"]).hexdigest()[:16]] = (image["bytes"], PARTS[organ])
    names, draw = sorted(pictures), random.Random(0)
    draw.shuffle(names)
    options.output.mkdir(parents=True, exist_ok=True)
    for split, chosen in _cut(names).items():
        lines = [line for name in chosen for line in _questions(name, *pictures[name], options.output, draw)]
        (options.output / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        print(f"{split}: {len(lines)} questions on {len(chosen)} pictures")


def _cut(names: list[str]) -> dict[str, list[str]]:
    cut, start = {}, 0
    for split, share in SHARES.items():
        cut[split] = names[start : start + round(share * len(names))]
        start += len(cut[split])
    return {**cut, "train": names[start:]}


def _questions(name: str, content: bytes, part: str, folder: Path, draw: random.Random) -> list[dict]:
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    picture.save(folder / f"{name}.png")
    other = draw.choice(list(PARTS.values()))
    return [
        {"image": f"{name}.png", "question": question, "answer": answer, "part": part}
        for question, answer in (
            ("which part of the body is this?", part),
            (f"is this the {other}?", "yes" if other == part else "no"),
        )
    ]


if __name__ == "__main__":
    main()
