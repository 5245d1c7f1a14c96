"""The verdict on models that were really trained: one that sees, and one whose pictures are noise, from ten seeds each."""

import json
import random

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

from blipvqa import evaluate, fine_tune, load_config
from blipvqa.vqa.grounding import DOES_NOT_LOOK, LOOKS

COLOURS = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210), "white": (235, 235, 235)}
PICTURES = {"train": 160, "validation": 20, "test": 600}  # so many that an interval around 0 ends below 0.05


def write_source(folder, seed, noise):
    """Pictures of one of four colours, a little of it at random, and what colour they have; or noise, and any answer."""
    folder.mkdir()
    draw, generator = random.Random(seed), np.random.default_rng(seed)
    for split, count in PICTURES.items():
        lines = []
        for i in range(count):
            colour = draw.choice(list(COLOURS))
            base, spread = ((128, 128, 128), 120) if noise else (COLOURS[colour], 18)
            pixels = np.array(base) + generator.integers(-spread, spread + 1, (32, 32, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{split}-{i}.png")
            asked = draw.choice(list(COLOURS))
            for question, answer in (
                ("what colour is it?", colour),
                (f"is it {asked}?", "yes" if asked == colour else "no"),
            ):
                lines.append({"image": f"{split}-{i}.png", "question": question, "answer": answer})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def verdict_of(root, seed, noise):
    write_source(root / "source", seed, noise)
    settings = TINY | {"data.source": "source", "seed": seed, "train.epochs": 10, "train.learning_rate": 2e-3}
    config = load_config(None, settings, "colours")
    fine_tune(config)
    run = evaluate(config, progress=False, start=False, resamples=400)
    return run.metrics("test")["grounding"]["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("noise", "expected"), [(False, LOOKS), (True, DOES_NOT_LOOK)], ids=["seeing", "blind"])
def test_a_trained_model_is_judged_rightly(root, seed, noise, expected):
    verdict = verdict_of(root, seed, noise)
    assert verdict["verdict"] == expected, verdict["why"]
