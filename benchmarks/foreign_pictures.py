"""How well the gate tells foreign pictures: AUROC of `unlike` for a run's test pictures against others.

Foreigners are the pictures of another data set, the run's own in negative, and its own corrupted. Beside the gate
(Mahalanobis' distance of the patches' mean) stands the cosine distance to the five nearest of train's, which was tried.
The gate was chosen by the test pictures; `--held-out SEED` takes newly drawn ones in their place (a run on drawn data).

    .venv/bin/python benchmarks/foreign_pictures.py --name demo --foreign ../shared/data/vqa-rad
    .venv/bin/python benchmarks/foreign_pictures.py --name demo --foreign ../shared/data/vqa-rad --held-out 77
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from blipvqa import load_config, load_model, load_splits, run_config
from blipvqa.config.reading import with_overrides
from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.models.towers import picture_features
from blipvqa.numbers.grouping import rows_by
from blipvqa.vqa.foreign import fit_gate


def pictures(splits, split: str) -> dict[str, torch.Tensor]:
    """The distinct pictures of a split, by image id."""
    data = splits[split]
    return {image: data.pixels(rows[0]) for image, rows in rows_by(row["image_id"] for row in data.rows).items()}


def nearest(train: np.ndarray, other: np.ndarray) -> np.ndarray:
    train, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, other))
    return np.sort(1 - other @ train.T, axis=1)[:, :5].mean(1)


def auroc(usual: np.ndarray, foreign: np.ndarray) -> float:
    return float(np.mean((foreign[:, None] > usual) + 0.5 * (foreign[:, None] == usual)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="demo", help="a trained run")
    parser.add_argument("--foreign", default="synthetic", help="the other data's source")
    parser.add_argument("--held-out", type=int, metavar="SEED", help="test pictures drawn from another seed")
    options = parser.parse_args()
    config = run_config(options.name)
    model, _ = load_model(str(config.folder / "model"), config)
    splits = load_splits(config)
    usual_splits = splits
    if options.held_out is not None:
        if config.data.source != "synthetic":
            parser.error("--held-out: this run's data is not drawn, so no further pictures of its kind can be")
        usual_splits = load_splits(with_overrides(config.as_dict(), {"data.synthetic.seed": options.held_out}))
    drawn = {"images": {"train": 50, "validation": 10, "test": 140}, "size": 96, "seed": 5}
    size = {"model.name": "scratch", "model.image_size": config.model.image_size, "model.scratch.patch_size": 4}
    other = load_splits(load_config(None, size | {"data.source": options.foreign, "data.synthetic": drawn}, "foreign"))
    test = pictures(usual_splits, "test")
    foreigners = {f"{options.foreign} ": list(pictures(other, "test").values())}
    foreigners["in negative"] = [255 - pixels for pixels in test.values()]
    for kind in CORRUPTIONS:
        for strength in (3, 5):
            foreigners[f"{kind}, {strength}"] = [corrupt(p, image, kind, strength) for image, p in test.items()]
    usual = picture_features(model, list(test.values()))
    train = picture_features(model, list(pictures(splits, "train").values()))
    gate = fit_gate(train, picture_features(model, list(pictures(splits, "validation").values())))
    print(f"{options.name}: {np.mean(gate.unlike(usual) <= 1):.1%} of {len(usual)} test pictures pass\n")
    print("| foreigners | AUROC | stopped | AUROC, five nearest |\n| --- | --- | --- | --- |")
    for name, pixels in foreigners.items():
        features = picture_features(model, pixels)
        unlike = gate.unlike(features)
        cosine = auroc(nearest(train, usual), nearest(train, features))
        print(f"| {name} | {auroc(gate.unlike(usual), unlike):.3f} | {np.mean(unlike > 1):.1%} | {cosine:.3f} |")


if __name__ == "__main__":
    main()
