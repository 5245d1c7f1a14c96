"""Questions and answers, as the loop sees them."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.config.knobs import ASKED_BY, TEXTS, Config
from blipvqa.models.vqa import BlipForVQA
from blipvqa.training.own_settings import tell_settings
from blipvqa.training.task import Batch, Losses, Place, Task, Views, nothing_remembered
from blipvqa.vqa.batches import training_collator
from blipvqa.vqa.card import write_card
from blipvqa.vqa.comparison import QUESTIONS
from blipvqa.vqa.evaluation import evaluate
from blipvqa.vqa.measures import MEASURES
from blipvqa.vqa.titles import SHOWN_FIRST
from blipvqa.vqa.token_limits import tell_limits
from blipvqa.vqa.validation import Validation


def losses(model: BlipForVQA, batch: Batch, _place: Place) -> Losses:
    """Each question's summed cross-entropy of its answer."""
    return Losses(model(**batch).loss_per_answer)


def units(config: Config, batch: Batch) -> int:
    """Questions, or under `train.loss: token_mean` the labelled tokens, each answer's first ([DEC]) left out."""
    if config.train.loss == "token_mean":
        return int((batch["labels"][:, 1:] != -100).sum())
    return len(batch["input_ids"])


def tell_model(model: BlipForVQA, config: Config, splits: Mapping) -> None:
    """How it is asked: with conversations or without, and the `generate` that `ask` goes by."""
    tell_limits(model, config, splits)
    tell_settings(model, config.generate, ASKED_BY)


def views() -> Views:
    """How it is looked at; the figures are loaded with it."""
    from blipvqa.vqa.views import VIEWS

    return VIEWS


VQA = Task(
    name="vqa",
    texts=TEXTS["vqa"],
    model=BlipForVQA,
    collator=training_collator,
    losses=losses,
    units=units,
    validate=Validation,
    measures={name: MEASURES.title(name) for name in MEASURES},
    alone=True,
    remembered=nothing_remembered,
    write_card=write_card,
    evaluate=evaluate,
    views=views,
    comparing=QUESTIONS,
    notebooks=("01_explore_data", "02_finetune", "03_evaluate", "04_inspect_predictions"),
    tell_model=tell_model,
    headline=SHOWN_FIRST,
)
