"""Where an answer comes from: heat maps over the picture, and a test of them where the truth is known.

Notable:
- Gradient-weighted cross-attention, as BLIP's and ALBEF's authors draw it: the question's attention to each patch,
  times the gradient of the answer's log-probability, where that is positive (Selvaraju et al. 2017 for attention:
  Chefer et al. 2021, "Generic Attention-model Explainability").
- Attention rollout (Abnar and Zuidema 2020) needs no gradient: attention to patches, traced back through the vision
  tower.
- A map shows what moved the answer, not that the answer is right. The pointing game says how often its peak lies on the
  object that was asked about; that must be well above chance, and above the same map of an untrained model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blipvqa.data.dataset import VQADataset
from blipvqa.errors import InputError
from blipvqa.models.vqa import BlipForVQA
from blipvqa.text import normalize
from blipvqa.vqa.answers import question_type
from blipvqa.vqa.batches import VQACollator

METHODS = ("gradient", "rollout")
LARGEST_BOX = 0.3  # of the picture: a larger box is hit by chance too often to tell anything


@dataclass
class Explanation:
    """`map [g, g]` from 0 to 1, a value a patch; for `question` and the `answer` it explains."""

    map: Tensor
    question: str
    answer: str


def explain(
    model: BlipForVQA, processor, pixels: Tensor, question: str, answer: str | None = None, method: str = "gradient"
) -> Explanation:
    """What of the picture, uint8 `[3,S,S]`, speaks for `answer` (None: what the model says).

    Raises InputError for a method that there is not.
    """
    if method not in METHODS:
        raise InputError(f"method: '{method}' is none of {', '.join(METHODS)}")
    item = {"image_id": "", "question": question, "answer": answer or "", "pixels": pixels}
    batch = {key: value.to(model.device) for key, value in VQACollator(processor)([item]).items()}
    question_batch = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values", "image_index")}
    model.eval()
    if answer is None:
        ids = model.generate_answers(**question_batch, max_new_tokens=40)
        answer = processor.batch_decode(ids, skip_special_tokens=True)[0].strip()
        batch = VQACollator(processor)([item | {"answer": answer}])
    attention: list[Tensor] = []  # of each vision layer [1,H,N,N], then of each text layer to the picture [1,H,L,N]
    with torch.enable_grad():
        questions = model.encode(**question_batch, maps=attention)
        looks = attention[len(model.vision_model.encoder.layers) :]
        if method == "gradient":
            labels = batch["labels"].to(model.device)
            likely = -model.answer_losses(questions, None, labels).sum()
            gradients = torch.autograd.grad(likely, looks)
            looks = [(a * g).clamp(min=0) for a, g in zip(looks, gradients, strict=True)]
    relevance = (
        torch.stack([look[0].mean((0, 1)) for look in looks]).mean(0).detach()
    )  # [N], over layers, heads, tokens
    if method == "rollout":
        relevance = relevance @ _rollout([a.detach()[0] for a in attention[: len(model.vision_model.encoder.layers)]])
    patches = relevance[1:]  # without the class token
    side = round(len(patches) ** 0.5)
    patches = patches.view(side, side) - patches.min()
    return Explanation((patches / patches.max().clamp(min=1e-12)).cpu(), question, answer)


def _rollout(layers: Sequence[Tensor]) -> Tensor:
    """`[N, N]`: how much of each patch is in each state after all layers, `[H,N,N]` each, half of it carried over."""
    size = layers[0].shape[-1]
    eye = torch.eye(size, device=layers[0].device)
    traced = eye
    for attention in layers:
        mixed = 0.5 * attention.mean(0) + 0.5 * eye
        traced = mixed / mixed.sum(-1, keepdim=True) @ traced
    return traced


def peak(patches: Tensor) -> tuple[float, float]:
    """(x, y) of the middle of a map's highest patch, as fractions of width and height."""
    row, column = divmod(int(patches.argmax()), patches.shape[1])
    return (column + 0.5) / patches.shape[1], (row + 0.5) / patches.shape[0]


def pointing_rows(dataset: VQADataset, most: int = 120, seed: int = 0) -> list[int]:
    """Rows whose answer lies at one place that the data tells: "where …" questions and "is … present" with answer yes,
    with a `box` of less than 0.3 of the picture."""
    rows = []
    for i, row in enumerate(dataset.rows):
        box = row.get("box")
        if not box or (box[2] - box[0]) * (box[3] - box[1]) > LARGEST_BOX:
            continue
        if question_type(row["question"]) == "where" or (
            normalize(row["answer"]) == "yes" and row.get("topic") != "location"
        ):
            rows.append(i)
    random.Random(seed).shuffle(rows)
    return sorted(rows[:most])


def pointing_game(
    model: BlipForVQA, processor, dataset: VQADataset, rows: Sequence[int], method: str = "gradient"
) -> dict:
    """How often a map's peak lies in the box of what was asked about, for the reference answer (Zhang et al. 2018).

    Returns {"hits", "n", "rate", "chance"}; chance is the boxes' mean area.
    """
    hits, areas = 0, []
    for i in rows:
        row = dataset.rows[i]
        left, top, right, bottom = row["box"]
        x, y = peak(explain(model, processor, dataset.pixels(i), row["question"], row["answer"], method).map)
        hits += left <= x <= right and top <= y <= bottom
        areas.append((right - left) * (bottom - top))
    count = len(areas)
    return {
        "hits": hits,
        "n": count,
        "rate": hits / count if count else None,
        "chance": sum(areas) / count if count else None,
    }
