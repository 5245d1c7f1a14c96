"""Does drawing an image's questions together cost accuracy? The same data grouped and fully shuffled, equal epochs.

    .venv/bin/python benchmarks/grouping.py [--quick]

Trains a smaller copy of the demo with `questions_per_image` 8 and 1 from three seeds, and VQA-RAD once each where a
folder of it is given, and writes curves and final numbers to `outputs/bench/grouping.json`.
"""

from __future__ import annotations

import argparse
import statistics

from blipvqa import Run, evaluate, fine_tune, load_config
from blipvqa.config import project_path
from blipvqa.runs import write_json

SMALL = {"data.synthetic.images": {"train": 600, "validation": 80, "test": 140}, "train.epochs": 14, "train.samples": 0}
QUICK = {"data.synthetic.images": {"train": 12, "validation": 4, "test": 4}, "train.epochs": 1, "train.samples": 0}
RAD = {"model.name": "scratch", "model.image_size": 128, "train.learning_rate": 4e-4, "train.samples": 0, "train.patience": None,
       "train.epochs": 12, "train.augment": "none"}  # fmt: skip


def trained(config_path: str, name: str, overrides: dict) -> dict:
    """Curve and test scores of one run."""
    config = load_config(config_path, overrides, name)
    run: Run = fine_tune(config)
    evaluate(config, grounding=False, start=False, progress=False)
    scores = run.metrics("test")["overall"]
    curve = [{"epoch": row["epoch"], "loss": row["loss"], "exact_match": row["exact_match"]} for row in run.history if row["type"] == "epoch"]
    return {"name": name, "curve": curve, **{key: scores[key]["value"] for key in ("exact_match", "yes_no_accuracy", "open_exact_match")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--vqa-rad", help="a folder with VQA-RAD's parquet files")
    given = parser.parse_args()
    rows = []
    for seed in range(1 if given.quick else 3):
        for together in (8, 1):
            settings = (QUICK if given.quick else SMALL) | {"seed": seed, "train.questions_per_image": together}
            rows.append({"data": "demo", "together": together, **trained("configs/demo.yaml", f"bench-grouping-{together}-{seed}", settings)})
            print({k: v for k, v in rows[-1].items() if k != "curve"}, flush=True)
    if given.vqa_rad:
        for together in (8, 1):
            settings = RAD | {"data.source": given.vqa_rad, "train.questions_per_image": together}
            rows.append({"data": "vqa-rad", "together": together, **trained("configs/vqa-rad.yaml", f"bench-rad-{together}", settings)})
            print({k: v for k, v in rows[-1].items() if k != "curve"}, flush=True)
    means = {str(t): statistics.mean(r["exact_match"] for r in rows if r["data"] == "demo" and r["together"] == t) for t in (8, 1)}
    write_json(project_path("outputs/bench/grouping.json"), {"runs": rows, "mean_exact_match": means})
    print("mean exact match on the demo:", means)


if __name__ == "__main__":
    main()
