"""Retrieval, as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from blipvqa.config.knobs import TEXTS, Config
from blipvqa.config.task_knobs import SEARCHED_BY
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.retrieval.batches import collator_for
from blipvqa.retrieval.card import write_card
from blipvqa.retrieval.evaluation import evaluate
from blipvqa.retrieval.measures import MEASURES, check_predictions, counts
from blipvqa.retrieval.validation import Validation
from blipvqa.training.comparison import Comparing
from blipvqa.training.own_settings import tell_settings
from blipvqa.training.task import Batch, Losses, Place, Task, Views


def _counts(predictions, _config: Config | None) -> np.ndarray:
    check_predictions(predictions)
    return counts(predictions)


SEARCHES = Comparing(
    measures=MEASURES,
    counts=_counts,
    names=lambda _predictions, _config: MEASURES,
    headline="r_mean",
    by_row="img_r1",
    same=("image_id", "caption"),
    unit="texts",
)


def losses(model: BlipForRetrieval, batch: Batch, place: Place) -> Losses:
    """What each pair adds to ITC's and to ITM's loss; the momentum towers' part of the targets grows in epoch 1."""
    out = model(**batch, grown=min(1.0, place.number / place.steps_an_epoch), seed=place.seed)
    return Losses(out.loss_per_row, {"loss_itc": out.itc_per_row, "loss_itm": out.loss_per_row - out.itc_per_row})


def units(_config: Config, batch: Batch) -> int:
    """Pairs."""
    return len(batch["input_ids"])


def remembered(model: BlipForRetrieval, config: Config) -> dict[str, Tensor]:
    """Momentum towers and queue."""
    settings = config.retrieval
    return model.start_contrast(settings.queue, settings.momentum, settings.alpha, config.seed).tensors()


def tell_model(model: BlipForRetrieval, config: Config, _splits: Mapping) -> None:
    """How much of a text it reads, and how its searches are ranked."""
    tell_settings(model, config.retrieval, SEARCHED_BY)


def views() -> Views:
    """How it is looked at; the figures are loaded with it."""
    from blipvqa.retrieval.views import VIEWS

    return VIEWS


RETRIEVAL = Task(
    name="retrieval",
    texts=TEXTS["retrieval"],
    model=BlipForRetrieval,
    collator=collator_for,
    losses=losses,
    units=units,
    validate=Validation,
    measures={name: MEASURES.title(name) for name in MEASURES},
    headline=("r_mean", "img_r1", "img_r10", "txt_r1", "txt_r10"),
    alone=False,
    remembered=remembered,
    write_card=write_card,
    evaluate=evaluate,
    tell_model=tell_model,
    views=views,
    comparing=SEARCHES,
    notebooks=("01_explore_data", "02_finetune", "07_retrieval"),
)
