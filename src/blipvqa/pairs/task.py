"""Statements about two pictures, as the loop sees them."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.config.knobs import TEXTS, Config, PairsConfig
from blipvqa.models.pairs import BlipForPairs
from blipvqa.pairs.batches import collator_for
from blipvqa.pairs.card import write_card
from blipvqa.pairs.evaluation import evaluate
from blipvqa.pairs.measures import MEASURES, counts
from blipvqa.pairs.validation import Validation
from blipvqa.training.comparison import Comparing
from blipvqa.training.own_settings import tell_settings
from blipvqa.training.task import Batch, Losses, Place, Task, Views, nothing_remembered

STATEMENTS = Comparing(
    measures=MEASURES,
    counts=lambda predictions, _config: counts(predictions),
    names=lambda _predictions, _config: MEASURES,
    headline="accuracy",
    by_row="accuracy",
    same=("image_id", "sentence", "label"),
    unit="statements",
)


def losses(model: BlipForPairs, batch: Batch, _place: Place) -> Losses:
    """Each statement's cross-entropy."""
    return Losses(model(**batch).loss_per_row)


def units(_config: Config, batch: Batch) -> int:
    """Statements."""
    return len(batch["labels"])


def tell_model(model: BlipForPairs, config: Config, _splits: Mapping) -> None:
    """How much of a statement it reads."""
    tell_settings(model, config.pairs, PairsConfig.model_fields)


def views() -> Views:
    """How it is looked at; the figures are loaded with it."""
    from blipvqa.pairs.views import VIEWS

    return VIEWS


PAIRS = Task(
    name="pairs",
    texts=TEXTS["pairs"],
    model=BlipForPairs,
    collator=collator_for,
    losses=losses,
    units=units,
    validate=Validation,
    measures={name: MEASURES.title(name) for name in MEASURES},
    alone=True,
    remembered=nothing_remembered,
    write_card=write_card,
    evaluate=evaluate,
    tell_model=tell_model,
    views=views,
    comparing=STATEMENTS,
    notebooks=("01_explore_data", "02_finetune", "10_pairs"),
    headline=("accuracy", "accuracy_swapped", "consistent", "follows_order"),
)
