"""Captions, as the loop sees them."""

from __future__ import annotations

from pathlib import Path

from blipvqa.captions.batches import collator_for
from blipvqa.captions.card import write_card
from blipvqa.captions.evaluation import evaluate
from blipvqa.captions.measures import MEASURES
from blipvqa.captions.validation import Validation
from blipvqa.config.knobs import TEXTS, Config
from blipvqa.data.dataset import Splits
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.runs.run import Run
from blipvqa.training.task import Batch, Losses, Task, nothing_remembered


def losses(model: BlipForCaptioning, batch: Batch) -> Losses:
    """Each caption's summed cross-entropy, the prompt left out."""
    return Losses(model(**batch).loss_per_caption)


def units(config: Config, batch: Batch) -> int:
    """Scored tokens, as the authors; or captions, under `train.loss: answer_sum`."""
    if config.train.loss == "token_mean":
        return int((batch["labels"] != -100).sum())
    return len(batch["labels"])


def write_report(run: Run, splits: Splits) -> Path:
    """The report, whose figures are loaded only when it is written."""
    from blipvqa.captions import report

    return report.write_report(run, splits)


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
    write_report=write_report,
    notebooks=("06_captions",),
)
