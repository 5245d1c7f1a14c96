"""Where an answer comes from: heat maps over the picture, and a test of them where the truth is known.

Notable:
- Gradient-weighted cross-attention, as BLIP's and ALBEF's authors draw it: the question's attention to each patch,
  times the gradient of the answer's log-probability, where that is positive (Selvaraju et al. 2017 for attention:
  Chefer et al. 2021, "Generic Attention-model Explainability").
- Attention rollout (Abnar and Zuidema 2020) needs no gradient: attention to patches, traced back through the vision
  tower.
- A map shows what moved the answer, not that the answer is right. The pointing game says how often its peak lies on the
  object that was asked about; that must be well above chance, and above the controls that `pointing_game` puts beside.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blipvqa.config.knobs import GenerateConfig
from blipvqa.data.dataset import VQADataset
from blipvqa.data.history import Turn, history_of
from blipvqa.errors import InputError
from blipvqa.models.vqa import BlipForVQA
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, estimate_mean
from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize
from blipvqa.training.own_settings import own_settings
from blipvqa.vqa.answers import question_type
from blipvqa.vqa.batches import asking_collator

METHODS = ("gradient", "rollout")
INITIAL_SPREAD = 0.02  # of the weights that BERT, and so BLIP's decoder, starts from
LARGEST_BOX = 0.3  # of the picture: a larger box is hit by chance too often to tell anything


@dataclass
class Explanation:
    """`map [g, g]` from 0 to 1, a value a patch, of several pictures `[P, g, g]`; for `question` and the `answer` it
    explains."""

    map: Tensor
    question: str
    answer: str


def explain(
    model: BlipForVQA,
    processor,
    pixels: Tensor | Sequence[Tensor],
    question: str,
    answer: str | None = None,
    method: str = "gradient",
    history: list[Turn] | None = None,
) -> Explanation:
    """What of the picture, uint8 `[3,S,S]`, or of several, speaks for `answer` (None: what the model says), after a
    conversation.

    Raises InputError for a method that there is not.
    """
    if method not in METHODS:
        raise InputError(f"method: '{method}' is none of {', '.join(METHODS)}")
    pictures = list(pixels) if isinstance(pixels, list | tuple) else [pixels]
    item = {"image_ids": list(map(str, range(len(pictures)))), "question": question, "answer": answer or ""}
    item |= {"pixels": pictures if len(pictures) > 1 else pictures[0], "history": history}
    collate = asking_collator(processor, model)
    batch = {key: value.to(model.device) for key, value in collate([item]).items()}
    question_batch = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values", "image_index")}
    model.eval()
    if answer is None:
        settings = own_settings(model, GenerateConfig)
        lengths = {"num_beams": settings.num_beams, "max_new_tokens": settings.max_new_tokens}
        ids = model.generate_answers(**question_batch, **lengths)
        answer = processor.batch_decode(ids, skip_special_tokens=True)[0].strip()
        batch = collate([item | {"answer": answer}])
    pixel_values = question_batch.pop("pixel_values")
    layers: list[Tensor] | None = [] if method == "rollout" else None  # of each vision layer [P,H,N,N]
    looks: list[Tensor] = []  # of each text layer to the pictures [1,H,L,P·N]
    with torch.no_grad():
        images = model.picture_states(pixel_values, layers)
    with torch.enable_grad():
        questions = model.encode_questions(**question_batch, images=images, maps=looks)
        if method == "gradient":
            labels = batch["labels"].to(model.device)
            likely = -model.answer_losses(questions, None, labels).sum()
            gradients = torch.autograd.grad(likely, looks)
            looks = [(a * g).clamp(min=0) for a, g in zip(looks, gradients, strict=True)]
    relevance = (
        torch.stack([look[0].mean((0, 1)) for look in looks]).mean(0).detach()
    )  # [P·N], over layers, heads, tokens
    relevance = relevance.view(len(pictures), -1)
    if method == "rollout":
        relevance = torch.stack([of_one @ _rollout([a[p] for a in layers]) for p, of_one in enumerate(relevance)])
    patches = relevance[:, 1:]  # without the class tokens
    side = round(patches.shape[1] ** 0.5)
    patches = patches.view(-1, side, side) - patches.min()
    patches = (patches / patches.max().clamp(min=1e-12)).cpu()
    return Explanation(patches if len(pictures) > 1 else patches[0], question, answer)


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
    with a `box` of less than 0.3 of the picture; of several pictures no box says in which it lies."""
    rows = []
    for i, row in enumerate(dataset.rows):
        box = row.get("box")
        if not box or row.get("image_ids") or (box[2] - box[0]) * (box[3] - box[1]) > LARGEST_BOX:
            continue
        if question_type(row["question"]) == "where" or (
            normalize(row["answer"]) == "yes" and row.get("topic") != "location"
        ):
            rows.append(i)
    random.Random(seed).shuffle(rows)
    return sorted(rows[:most])


def pointing_game(
    model: BlipForVQA,
    processor,
    dataset: VQADataset,
    rows: Sequence[int],
    method: str = "gradient",
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """How often a map's peak lies in the box of what was asked about, for the reference answer (Zhang et al. 2018).

    Returns {"hits", "n", "groups", "rate", "low", "high", "chance", and Estimates of titles.CONTROLS}. Chance is the
    boxes' mean area, which is too kind: things lie where things lie. So beside it stand, for the same boxes, the peaks
    of another row's map, of the same picture under another question, and of the model with a random decoder (the sanity
    check of Adebayo et al. 2018). A control is null where there is none: of a single picture, or of one question each.
    """
    groups = bootstrap.groups_of([dataset.rows[i] for i in rows])
    untrained = with_random_decoder(model) if len(rows) else model
    of_picture = rows_by(row["image_id"] for row in dataset.rows)
    own, asked, others, random_ones = [], [], [], []

    def peak_of(explained: BlipForVQA, pixels: Tensor, row: Mapping) -> tuple[float, float]:
        about = row["question"], row["answer"]
        return peak(explain(explained, processor, pixels, *about, method, history_of(row)).map)

    for place, i in enumerate(rows):
        row, pixels = dataset.rows[i], dataset.pixels(i)
        own.append(peak_of(model, pixels, row))
        random_ones.append(peak_of(untrained, pixels, row))
        other = _another_question(row, [dataset.rows[j] for j in of_picture[row["image_id"]]])
        if other is not None:
            asked.append(place)
            others.append(peak_of(model, pixels, other))
    boxes = [dataset.rows[i]["box"] for i in rows]
    partners = _of_another_picture([dataset.rows[i]["image_id"] for i in rows])
    hits = {
        "another_row": _hits(boxes, [own[k] for k in partners]) if partners else [],
        "another_question": _hits([boxes[k] for k in asked], others),
        "random_decoder": _hits(boxes, random_ones),
    }
    of_control = {"another_question": groups[asked]}
    controls = {
        name: estimate_mean(hit, of_control.get(name, groups)[: len(hit)], bootstrap) for name, hit in hits.items()
    }
    inside, areas = _hits(boxes, own), [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes]
    entry = estimate_mean(inside, groups, bootstrap)
    return {
        "hits": sum(inside),
        "rate": entry.pop("value"),
        **entry,
        "chance": sum(areas) / len(areas) if areas else None,
        **controls,
    }


def _hits(boxes: Sequence[Sequence[float]], peaks: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each peak lies in its box: left, top, right and bottom as fractions of the picture."""
    return [box[0] <= x <= box[2] and box[1] <= y <= box[3] for box, (x, y) in zip(boxes, peaks, strict=True)]


def _of_another_picture(image_ids: Sequence[str]) -> list[int]:
    """For each place the next one, in a circle, with another picture; empty where all have one picture."""
    count = len(image_ids)
    if len(set(image_ids)) < 2:
        return []
    return [
        next((i + step) % count for step in range(1, count) if image_ids[(i + step) % count] != image_ids[i])
        for i in range(count)
    ]


def _another_question(own: Mapping, of_picture: Sequence[Mapping]) -> Mapping | None:
    """A row with another question about the same picture, and not about the same box; None where there is none."""
    others = [
        row
        for row in of_picture
        if normalize(row["question"]) != normalize(own["question"]) and row.get("box") != own["box"]
    ]
    return random.Random(f"another question/{own['id']}").choice(others) if others else None


def with_random_decoder(model: BlipForVQA, seed: int = 0) -> BlipForVQA:
    """A copy of the model whose answer decoder is as before any training; the same for the same seed."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in other.text_decoder.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * INITIAL_SPREAD)
            elif isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1)
            if getattr(module, "bias", None) is not None and isinstance(module.bias, torch.Tensor):
                module.bias.zero_()
    return other
