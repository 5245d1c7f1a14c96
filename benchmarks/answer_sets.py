"""How often answer sets cover on real pictures: a run's answered test questions, cut in two by image again and again.

One half calibrates, the other is tested. Both are real and neither chose anything, so what the level promises for a new
picture has to come out on average, whatever the model is worth.

    .venv/bin/python benchmarks/answer_sets.py --name vqa-rad-closed
"""

from __future__ import annotations

import argparse

import numpy as np

from blipvqa import Run
from blipvqa.config.paths import project_path
from blipvqa.numbers.bootstrap import BY_IMAGE
from blipvqa.numbers.conformal import conformal_threshold
from blipvqa.runs.files import read_lines
from blipvqa.vqa.conformal import LEVELS, answer_set, misfit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="an evaluated run with generate.method: rank")
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    rows = read_lines(Run(project_path("outputs") / options.name).folder / "answers" / "test.jsonl")
    groups, scores = BY_IMAGE.groups_of(rows), np.array([misfit(row) for row in rows])
    images, draw = groups.max() + 1, np.random.default_rng(0)
    print(
        f"{len(rows)} questions on {images} images; {np.isinf(scores).mean():.1%} of right answers are no candidate\n"
    )
    print("| level | covered, mean over images | between draws | answers in a set |\n| --- | --- | --- | --- |")
    for level in LEVELS:
        covered, sizes = [], []
        for _ in range(options.draws):
            calibrates = np.isin(groups, draw.permutation(images)[: images // 2])
            threshold = conformal_threshold(scores[calibrates], groups[calibrates], level)
            tested = np.flatnonzero(~calibrates)
            weights = 1 / np.bincount(groups[tested])[groups[tested]]  # each image weighs the same
            best = np.array([1 - row["ranked"][0][1] for row in (rows[i] for i in tested)])
            holds = scores[tested] <= np.maximum(threshold, best)  # a set always holds the best
            covered.append(np.average(holds, weights=weights))
            if np.isfinite(threshold):
                sizes.append(np.mean([len(answer_set(rows[i]["ranked"], threshold)) for i in tested[:50]]))
        low, high = np.quantile(covered, (0.025, 0.975))
        cells = f"{np.mean(covered):.3f} | {low:.3f} to {high:.3f} | {np.mean(sizes):.2f}" if sizes else "no set | |"
        print(f"| {level:.0%} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
