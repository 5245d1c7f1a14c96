"""Captions, as the loop sees them."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.captions.batches import collator_for
from blipvqa.captions.card import write_card
from blipvqa.captions.evaluation import evaluate
from blipvqa.captions.measures import MEASURES, counts, measure_names
from blipvqa.captions.terms import load_terms
from blipvqa.captions.validation import Validation
from blipvqa.config.knobs import TEXTS, Config
from blipvqa.config.task_knobs import DESCRIBED_BY
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.training.comparison import Comparing
from blipvqa.training.own_settings import tell_settings
from blipvqa.training.task import Batch, Losses, Place, Task, Views, nothing_remembered

CAPTIONS = Comparing(
    measures=MEASURES,
    counts=lambda predictions, config: counts(predictions, load_terms(config)),
    names=lambda _predictions, config: measure_names(load_terms(config)),
    headline="cider_d",
    by_row="cider_d",
    same=("image_id", "references"),
    unit="pictures",
)


def losses(model: BlipForCaptioning, batch: Batch, _place: Place) -> Losses:
    """Each caption's summed cross-entropy, the prompt left out."""
    return Losses(model(**batch).loss_per_caption)


def units(config: Config, batch: Batch) -> int:
    """Scored tokens, as the authors; or captions, under `train.loss: answer_sum`."""
    if config.train.loss == "token_mean":
        return int((batch["labels"] != -100).sum())
    return len(batch["labels"])


def tell_model(model: BlipForCaptioning, config: Config, _splits: Mapping) -> None:
    """The prompt it is trained behind, and how `describe` writes."""
    tell_settings(model, config.caption, DESCRIBED_BY)


def views() -> Views:
    """How it is looked at; the figures are loaded with it."""
    from blipvqa.captions.views import VIEWS

    return VIEWS


CAPTION = Task(
    name="caption",
    texts=TEXTS["caption"],
    model=BlipForCaptioning,
    collator=collator_for,
    losses=losses,
    units=units,
    validate=Validation,
    measures={name: MEASURES.title(name) for name in MEASURES},
    alone=True,
    remembered=nothing_remembered,
    write_card=write_card,
    evaluate=evaluate,
    views=views,
    comparing=CAPTIONS,
    tell_model=tell_model,
    notebooks=("01_explore_data", "02_finetune", "06_captions"),
    headline=("cider_d", "bleu_4", "rouge_l", "terms_recalled", "terms_invented"),
)
