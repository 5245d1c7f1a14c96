"""How much longer the slowest of several processes takes than their mean: `python benchmarks/shares.py FILE.jsonl`.

The rows (`image_id`, `question`) are those of one split, in batches of 64 as prediction makes them. A batch costs its
pictures and its tokens (`training.shares`); beside our shares stand those of every n-th batch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from blipvqa.data.batches import whole_image_batches
from blipvqa.training.shares import PICTURE, cost_of, share_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=6719, help="as many as PathVQA's test has")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.file.read_text(encoding="utf-8").splitlines()[: given.rows]]
    batches = whole_image_batches([row["image_id"] for row in rows], 64)
    of_batch = [[rows[i] for i in batch] for batch in batches]
    costs = np.array([cost_of(some, "question") for some in of_batch])
    pictures = np.array([len({row["image_id"] for row in some}) for some in of_batch])
    print(f"{len(rows):,} questions on {pictures.sum():,} pictures in {len(batches)} batches")
    for processes in (2, 3, 4, 8):
        ours, every = np.array(share_of(costs, processes)), np.arange(len(batches)) % processes
        cells = [f"{name} {slowest(costs, which, processes):.3f}" for name, which in (("ours", ours), ("n-th", every))]
        print(f"{processes} processes: {', '.join(cells)}; of pictures alone {slowest(pictures, ours, processes):.3f}")
    print(f"a picture counts as {PICTURE} tokens")


def slowest(costs: np.ndarray, share: np.ndarray, processes: int) -> float:
    of_each = np.bincount(share, weights=costs, minlength=processes)
    return float(of_each.max() / of_each.mean())


if __name__ == "__main__":
    main()
