"""How fast `answer_all` is beside `predict`: the same 1,000 questions of a run's train split, in turns.

`answer_all` starts from a table and picture files and ends with a sheet; it also loads the model. `predict` has all of
that behind it. Seconds are of processor time on one thread, which a busy machine stretches least.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blipvqa import answer_all, load_model, load_splits, predict, run_config
from blipvqa.vqa.own_questions import own_questions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="demo", help="a trained run")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = run_config(options.name)
    model, processor = load_model(str(config.folder / "model"), config)
    with tempfile.TemporaryDirectory() as folder:
        table, output = (
            write_table(load_splits(config)["train"], options.questions, Path(folder)),
            Path(folder) / "a.csv",
        )
        own, *_ = own_questions(table, config)
        print(f"{len(own):,} questions on {len({row['image_id'] for row in own.rows}):,} pictures")
        ratios = []
        for _ in range(options.rounds):
            asked = seconds(lambda: predict(model, processor, own, config, progress=False))
            answered = seconds(lambda: answer_all(config, table, output, progress=False))
            ratios.append(asked / answered)
            print(f"predict {asked:.2f} s, answer_all {answered:.2f} s, its speed {ratios[-1]:.2f} of predict's")
    print(f"median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


def write_table(data, count: int, folder: Path) -> Path:
    """The first `count` questions of a split as a person has them: a table, and picture files beside it."""
    table, names = folder / "own.csv", {}
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question"])
        for i, row in enumerate(data.rows[:count]):
            if row["image_id"] not in names:
                names[row["image_id"]] = f"{len(names)}.png"
                data.image(i).save(folder / names[row["image_id"]])
            writer.writerow([names[row["image_id"]], row["question"]])
    return table


def seconds(work: Callable) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
