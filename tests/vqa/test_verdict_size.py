"""How many images the verdict needs: drawn models of known reliance, judged on test splits of any size.

`pytest -s -m slow tests/vqa/test_verdict_size.py` prints the table of `docs/measures.md`.
"""

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import Bootstrap, estimate_mean
from blipvqa.numbers.comparison import compare_counts
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.vqa.grounding import CANNOT_TELL, DOES_NOT_LOOK, LOOKS, verdict

MEASURES = Measures({"exact_match": ratio("right", "all", "share of questions answered right")})
QUESTIONS = 4  # on each image
# how often a right answer is lost with another picture; how often right and wrong change places for no reason
MODELS = {"0, the same answers": (0.0, 0.0), "0, fickle answers": (0.0, 0.4), "0.05": (0.1, 0.1)}
MODELS |= {"0.1": (0.2, 0.1), "0.2": (0.4, 0.1), "0.4": (0.8, 0.1)}
IMAGES, SETS = (30, 100, 200, 400, 858), 300


def judged(images: int, model: str, seed: int) -> dict:
    """The verdict on one drawn model, half of whose answers are right, more of them on some pictures."""
    lost, fickle = MODELS[model]
    generator, rows = np.random.default_rng([seed, images]), images * QUESTIONS
    ease = np.repeat(generator.beta(2, 2, size=images), QUESTIONS)
    own = generator.random(rows) < ease
    anew = generator.random(rows) < fickle
    other = np.where(anew, generator.random(rows) < ease, own) & (generator.random(rows) >= lost)
    groups, bootstrap = np.repeat(np.arange(images), QUESTIONS), Bootstrap(resamples=200, seed=seed)
    counts = [MEASURES.matrix({"all": 1, "right": each} for each in right) for right in (other, own)]
    (compared,) = compare_counts(*counts, groups, [np.arange(rows)], MEASURES, ["exact_match"], bootstrap)
    return verdict(compared["exact_match"], estimate_mean(anew | (own != other), groups, bootstrap), images)


def test_a_verdict_that_cannot_tell_says_how_many_images_would():
    undecided = [judged(40, "0.05", seed) for seed in range(12)]
    undecided = [each["why"] for each in undecided if each["verdict"] == CANNOT_TELL]
    assert undecided and all(" images like these would tell" in why for why in undecided)
    assert "would tell" not in judged(200, "0.4", 0)["why"]


def test_no_blind_model_is_said_to_look_and_no_seeing_one_not_to():
    assert [judged(400, "0.2", seed)["verdict"] for seed in range(15)] == [LOOKS] * 15
    blind = [judged(400, "0, fickle answers", seed)["verdict"] for seed in range(30)]
    assert blind.count(LOOKS) <= 4 and blind.count(DOES_NOT_LOOK) >= 20


@pytest.mark.slow
def test_how_many_images_a_verdict_needs():
    print("\n| visual reliance | images | looks | cannot tell | does not look |")
    wrong = {}
    for model in MODELS:
        for images in IMAGES:
            verdicts = [judged(images, model, seed)["verdict"] for seed in range(SETS)]
            shares = {word: verdicts.count(word) / SETS for word in (LOOKS, CANNOT_TELL, DOES_NOT_LOOK)}
            cells = " | ".join(f"{100 * share:.0f} %" for share in shares.values())
            print(f"| {model} | {images} | {cells} |", flush=True)
            # a reliance of 0.05 is the limit itself, of which either may be said
            false = shares[LOOKS] if model.startswith("0,") else shares[DOES_NOT_LOOK] * (model != "0.05")
            if false > 0.05 + 3 * (0.05 * 0.95 / SETS) ** 0.5:
                wrong[model, images] = false
    assert wrong == {}
