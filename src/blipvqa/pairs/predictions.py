"""From a model and a split to a probability for each statement; and `judge`, for one's own two pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config, PairsConfig
from blipvqa.data.batches import batch_loader, loader_deaths_explained, whole_image_batches, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import open_picture, resize_image
from blipvqa.data.labels import LABELS
from blipvqa.data.texts import check_own_text
from blipvqa.errors import InputError
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.folders import check_task
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.models.pairs import BlipForPairs
from blipvqa.models.tokenizer import reading_notes
from blipvqa.pages.wording import share
from blipvqa.pairs.batches import PairsCollator, collator_for
from blipvqa.training.own_settings import own_settings
from blipvqa.training.shares import cost_of, is_first, shared

Picture = str | Path | bytes | np.ndarray | Image.Image


class Prediction(TypedDict, total=False):
    """A judged statement: one line of `predictions-<split>.jsonl`, with the further columns of its row."""

    id: str
    image_id: str  # of the pair
    image_ids: list[str]
    sentence: str
    label: str  # what is right, one of LABELS
    prediction: str  # one of LABELS
    probability: float | None  # that it is true
    confidence: float | None  # of the prediction
    order: str  # "named" where the statement is about the order of its pictures, else "not named"
    swapped: float | None  # the probability with the pictures in the other order, the statement told so (`changes`)
    turned: float | None  # with the pictures alone in the other order, of statements about the order


def predict(
    model: BlipForPairs, processor, dataset: VQADataset, config: Config, doing: str = "judge", progress: bool = True
) -> list[Prediction]:
    """One prediction a row of `dataset`, in its order. Uses the GPU if there is one; the model is moved there and left
    in `eval()` mode."""
    device = pick_device()
    reuse_memory(device)
    pin_number_formats(device)
    model.to(device).eval()
    batches = whole_image_batches([row["image_id"] for row in dataset.rows], config.generate.batch_size)
    costs = [cost_of([dataset.rows[i] for i in batch], "sentence") for batch in batches]

    def work(mine: Sequence[list[int]]) -> Iterator[list[float]]:
        loader = batch_loader(dataset, collator_for(processor, config), mine, workers_for(config, device))
        bar = progress_bar(
            loader,
            total=len(mine),
            desc=f"{doing} {dataset.split}",
            unit="batch",
            disable=not (progress and is_first()),
            leave=False,
        )
        yield from in_turns(probabilities(model, batch) for batch in bar)

    with torch.no_grad(), autocast(prediction_precision(config, device), device), loader_deaths_explained():
        judged = [value for of_batch in shared(batches, costs, work) for value in of_batch]
    of_row = dict(zip((i for batch in batches for i in batch), judged, strict=True))
    return [Prediction(**row, **said(of_row[i])) for i, row in enumerate(dataset.rows)]


def probabilities(model: BlipForPairs, batch: dict) -> Work[list[float]]:
    """How likely each statement of a batch is true, as a work (`looks.in_turns`)."""
    sent = {key: value.to(model.device, non_blocking=True) for key, value in batch.items() if key != "labels"}
    (logits,) = yield Look(model(**sent).logits.float())
    return logits.softmax(-1)[:, 1].tolist()


def said(probability: float) -> dict:
    """`prediction`, `probability` and `confidence` of a statement that is true with this probability."""
    if not math.isfinite(probability):  # NaN is no JSON
        return {"prediction": LABELS[0], "probability": None, "confidence": None}
    probability = round(probability, 6)
    likelier = max(probability, round(1 - probability, 6))
    return {"prediction": LABELS[probability >= 0.5], "probability": probability, "confidence": likelier}


@dataclass
class Judgement:
    """What `judge` returns: whether the statement is true, how likely that is (0 to 1), and the two pictures."""

    statement: str
    is_true: bool
    probability: float
    images: tuple[Image.Image, Image.Image]
    notes: list[str]  # of a statement that was read in part

    def __str__(self) -> str:
        return f"{LABELS[self.is_true]} ({share(self.probability)} that it is true)"


def judge(
    model: BlipForPairs,
    processor,
    images: Sequence[Picture],
    statement: str | Sequence[str],
    settings: PairsConfig | None = None,
) -> Judgement | list[Judgement]:
    """Whether a statement about one's own two pictures is true: files (from the project's root), their bytes, arrays or
    Pillow pictures, as `ask` takes them; a list of judgements of a list of statements. The order of the pictures
    counts.

    `settings` are a config's `pairs`, by default that of the model's run. Raises ModelError for a model of another
    task, InputError for other than two pictures or an empty statement, ImageError for a file that is no picture, and
    FileNotFoundError.
    """
    check_task(model, BlipForPairs, "judge")
    if not isinstance(images, list | tuple) or len(images) != 2:
        found = f"{len(images)} of them" if isinstance(images, list | tuple) else f"a {type(images).__name__}"
        raise InputError(f"judge takes a list of two pictures, the first and the second one, found {found}")
    statements = [statement] if isinstance(statement, str) else list(statement)
    for one in statements:
        check_own_text("statement", one, "judge")
    pictures = [open_picture(image) for image in images]
    size = processor.image_processor.size["height"]
    pixels = [torch.from_numpy(resize_image(picture, size)) for picture in pictures]
    row = {"image_id": "own", "image_ids": ["first", "second"], "pixels": pixels, "label": LABELS[0]}
    pin_number_formats(model.device)
    model.eval()
    judged, settings = [], settings or own_settings(model, PairsConfig)
    if statements:
        collate = PairsCollator(processor, settings)
        batch = collate([{**row, "sentence": one} for one in statements])
        with torch.no_grad():
            (judged,) = in_turns([probabilities(model, batch)])
    judgements = [
        Judgement(
            one,
            probability >= 0.5,
            probability,
            tuple(pictures),
            reading_notes(processor.tokenizer, one, settings.max_words, settings.max_tokens),
        )
        for one, probability in zip(statements, judged, strict=True)
    ]
    return judgements[0] if isinstance(statement, str) else judgements
