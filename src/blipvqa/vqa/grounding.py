"""How much of a score needs the picture: the same questions under a blank picture and under another one."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from blipvqa.data.dataset import VQADataset
from blipvqa.models.vqa import IMAGE_MEAN
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.text import question_type, same_answer
from blipvqa.vqa.answers import Prediction
from blipvqa.vqa.comparison import compare_runs
from blipvqa.vqa.scores import score

GREY = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # what the model sees as zeros


def blanked(pixels: Tensor, _image_id: str) -> Tensor:
    """Every picture the same grey, which normalization makes zeros: `[3,S,S]` uint8."""
    return torch.tensor(GREY, dtype=torch.uint8).view(3, 1, 1).expand_as(pixels).clone()


def shuffled(dataset: VQADataset, seed: int) -> Callable[[Tensor, str], Tensor]:
    """For `dataset.altered`: every image gives way to another one of the split, each used once."""
    row_of = {row["image_id"]: i for i, row in reversed(list(enumerate(dataset.rows)))}
    images = sorted(row_of)
    random.Random(f"{seed}/exchange").shuffle(images)
    other = dict(zip(images, images[1:] + images[:1], strict=True))
    return lambda _pixels, image_id: dataset.pixels(row_of[other[image_id]])


def grounding(seen: list[Prediction], blank: list[Prediction], other: list[Prediction], bootstrap: Bootstrap) -> dict:
    """The scores without the right picture, what that costs (paired, over images), and how often answers change."""
    scores_without: dict = {"gap": {}, "changed": {}, "changed_by": {}}
    for name, predictions in (("blank", blank), ("shuffled", other)):
        scores = score(predictions, bootstrap=bootstrap)
        scores_without[name] = {key: scores[key] for key in ("overall", "by")}
        compared = compare_runs(predictions, seen, bootstrap=bootstrap)
        scores_without["gap"][name] = compared["overall"]["exact_match"]
        kinds: dict[str, list[bool]] = {}
        for one, another in zip(seen, predictions, strict=True):
            differs = not same_answer(one["prediction"], another["prediction"])
            kinds.setdefault(question_type(one["question"]), []).append(differs)
        scores_without["changed"][name] = sum(map(sum, kinds.values())) / max(1, len(seen))
        scores_without["changed_by"][name] = {kind: sum(d) / len(d) for kind, d in sorted(kinds.items())}
    return scores_without
