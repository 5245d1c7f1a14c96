"""The candidates that a row brings itself, scored as the `rank` method scores the training answers, all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config
from blipvqa.data.batches import batch_loader, loader_deaths_explained, whole_image_batches, workers_for
from blipvqa.data.candidates import candidates_of
from blipvqa.data.dataset import VQADataset
from blipvqa.models.devices import autocast, pick_device, pick_precision, pin_number_formats
from blipvqa.models.vqa import BlipForVQA
from blipvqa.vqa.batches import VQACollator, collator_for


def with_candidates(rows: Sequence[Mapping]) -> list[int]:
    """The rows that bring candidates."""
    return [i for i, row in enumerate(rows) if candidates_of(row)]


@torch.no_grad()
def rank_own_candidates(
    model: BlipForVQA, processor, dataset: VQADataset, config: Config, progress: bool = True
) -> list[dict]:
    """Each row of `dataset`, all of which bring candidates, with their `scores`, in the candidates' order."""
    device = pick_device()
    model.to(device).eval()
    pin_number_formats(device)
    collator = collator_for(processor, config)
    batches = whole_image_batches([row["image_id"] for row in dataset.rows], config.generate.batch_size)
    scored: dict[int, list[float]] = {}
    with autocast(pick_precision(config.train.precision, device), device), loader_deaths_explained():
        loader = batch_loader(dataset, collator, batches, workers_for(config, device))
        for rows, batch in progress_bar(
            zip(batches, loader, strict=True),
            total=len(batches),
            desc=f"rank candidates of {dataset.split}",
            unit="batch",
            disable=not progress,
            leave=False,
        ):
            scored |= dict(zip(rows, _scores(model, collator, batch, [dataset.rows[i] for i in rows]), strict=True))
    return [{**row, "scores": scored[i]} for i, row in enumerate(dataset.rows)]


def _scores(model: BlipForVQA, collator: VQACollator, batch: dict, rows: Sequence[Mapping]) -> list[list[float]]:
    device, answers = model.device, ("decoder_input_ids", "labels")
    questions = model.encode(**{key: value.to(device) for key, value in batch.items() if key not in answers})
    scores = []
    for place, row in enumerate(rows):
        texts = collator.tokenize(candidates_of(row), "answer").to(device)
        ids, mask = texts["input_ids"], texts["attention_mask"]  # [C, La]
        order, ranked = model.rank_candidates(questions.chosen([place]), ids, mask, len(ids))  # [1, C]
        scores.append(
            [round(score, 6) for score in torch.empty_like(ranked[0]).scatter(0, order[0], ranked[0]).tolist()]
        )
    return scores
