"""Does drawing an image's questions together cost accuracy? The same data grouped and fully shuffled, equal epochs.

    .venv/bin/python benchmarks/grouping.py [--quick] [--vqa-rad FOLDER] [--only demo|vqa-rad] [--seeds 3]

Trains a smaller copy of the demo, and VQA-RAD where a folder of it is given, with `questions_per_image` as it is by default and 1,
from some seeds each, and writes curves and final numbers to `outputs/bench/grouping-<data>.json`.
"""

from __future__ import annotations

import argparse
import statistics

from blipvqa import Run, evaluate, fine_tune, load_config
from blipvqa.config.knobs import TrainConfig
from blipvqa.config.paths import project_path
from blipvqa.runs.files import write_json

SMALL = {"data.synthetic.images": {"train": 600, "validation": 80, "test": 140}, "train.epochs": 14, "train.samples": 0}
QUICK = {"data.synthetic.images": {"train": 12, "validation": 4, "test": 4}, "train.epochs": 1, "train.samples": 0}
RAD = {
    "model.name": "scratch",
    "model.image_size": 128,
    "train.learning_rate": 4e-4,
    "train.samples": 0,
    "train.patience": None,
    "train.epochs": 12,
    "train.augment": "none",
}

TOGETHER = TrainConfig().questions_per_image


def trained(config_path: str, name: str, overrides: dict) -> dict:
    """Curve and test scores of one run."""
    config = load_config(config_path, overrides, name)
    run: Run = fine_tune(config)
    evaluate(config, grounding=False, start=False, progress=False)
    scores = run.metrics("test")["overall"]
    curve = [
        {"epoch": row["epoch"], "loss": row["loss"], "exact_match": row["exact_match"]}
        for row in run.history
        if row["type"] == "epoch"
    ]
    return {
        "name": name,
        "curve": curve,
        **{key: scores[key]["value"] for key in ("exact_match", "yes_no_accuracy", "open_exact_match")},
    }


def compared(data: str, config_path: str, settings: dict, seeds: int) -> list[dict]:
    """Grouped and shuffled in turn, from each seed."""
    rows = []
    for seed in range(seeds):
        for together in (TOGETHER, 1):
            given = settings | {"seed": seed, "train.questions_per_image": together, "fresh": True}
            rows.append(
                {
                    "data": data,
                    "together": together,
                    "seed": seed,
                    **trained(config_path, f"bench-{data}-{together}-{seed}", given),
                }
            )
            print({k: v for k, v in rows[-1].items() if k != "curve"}, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--vqa-rad", help="a folder with VQA-RAD's parquet files")
    parser.add_argument("--only", choices=["demo", "vqa-rad"])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    seeds = 1 if given.quick else given.seeds
    found = {}
    if given.only != "vqa-rad":
        found["demo"] = compared("demo", "configs/demo.yaml", QUICK if given.quick else SMALL, seeds)
    if given.vqa_rad and given.only != "demo":
        found["vqa-rad"] = compared("vqa-rad", "configs/vqa-rad.yaml", RAD | {"data.source": given.vqa_rad}, seeds)
    for data, rows in found.items():
        means = {t: statistics.mean(row["exact_match"] for row in rows if row["together"] == t) for t in (TOGETHER, 1)}
        print(f"{data}: mean exact match grouped {means[TOGETHER]:.3f}, shuffled {means[1]:.3f}")
        write_json(
            project_path(f"outputs/bench/grouping-{data}.json"),
            {"runs": rows, "mean_exact_match": {str(t): m for t, m in means.items()}},
        )


if __name__ == "__main__":
    main()
