"""How much of a score needs the picture: the same questions under a blank picture and under another one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from blipvqa.data.dataset import VQADataset
from blipvqa.models.towers import IMAGE_MEAN
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.grouping import rows_by
from blipvqa.text import same_text
from blipvqa.vqa.answers import Prediction, question_type
from blipvqa.vqa.comparison import compare_runs
from blipvqa.vqa.scores import score

GREY = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # what the model sees as zeros


def blanked(pixels: Tensor, _image_id: str) -> Tensor:
    """Every picture the same grey, which normalization makes zeros: `[3,S,S]` uint8."""
    return torch.tensor(GREY, dtype=torch.uint8).view(3, 1, 1).expand_as(pixels).clone()


def shuffled(dataset: VQADataset, seed: int) -> Callable[[Tensor, str], Tensor]:
    """For `dataset.altered`: every image gives way to another one of the split, each used once."""
    rows_of = rows_by(row["image_id"] for row in dataset.rows)
    images = sorted(rows_of)
    random.Random(f"{seed}/exchange").shuffle(images)
    other = dict(zip(images, images[1:] + images[:1], strict=True))
    return lambda _pixels, image_id: dataset.pixels(rows_of[other[image_id]][0])


def exchangeable(rows: Sequence[Mapping]) -> bool:
    """Whether there is another image to exchange each one for."""
    return len({row["image_id"] for row in rows}) > 1


def grounding(
    own: list[Prediction], blank: list[Prediction], exchanged: list[Prediction] | None, bootstrap: Bootstrap
) -> dict:
    """The scores without the right picture, what that costs (paired, over images), and how often answers change.

    `exchanged` is None where the split has a single image: then its numbers are None, and nothing is counted.
    Returns {"blank", "shuffled": {"overall", "by"} as of `score`, "gap": {"blank", "shuffled": Difference},
    "changed": {…: share of answers}, "changed_by": {…: {question type: share}}}.
    """
    scores_without: dict = {"gap": {}, "changed": {}, "changed_by": {}}
    for name, predictions in (("blank", blank), ("shuffled", exchanged)):
        before, after = (own, predictions) if predictions is not None else ([], [])
        scores = score(after, bootstrap=bootstrap)
        scores_without[name] = {key: scores[key] for key in ("overall", "by")}
        compared = compare_runs(after, before, bootstrap=bootstrap)
        scores_without["gap"][name] = compared["overall"]["exact_match"]
        pairs = zip(before, after, strict=True)
        changed = [not same_text(one["prediction"], other["prediction"]) for one, other in pairs]
        scores_without["changed"][name] = sum(changed) / len(changed) if changed else None
        kinds = rows_by(question_type(row["question"]) for row in before)
        scores_without["changed_by"][name] = {
            kind: sum(changed[i] for i in rows) / len(rows) for kind, rows in sorted(kinds.items())
        }
    return scores_without
