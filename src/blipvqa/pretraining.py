"""Pre-training, as the loop sees it: retrieval's task with a decoder that learns to write each text.

It stands a floor above the wings, because it is one of them with another model and another loss: the same pairs, the
same momentum and queue, and what is measured of it is retrieval without fine-tuning.
"""

from __future__ import annotations

from dataclasses import replace

from blipvqa.config.knobs import TEXTS
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.retrieval.task import RETRIEVAL
from blipvqa.training.task import Batch, Losses, Place

GROWING = 2  # epochs in which the momentum towers' part of the targets grows


def losses(model: BlipForPretraining, batch: Batch, place: Place) -> Losses:
    """What each pair adds to the losses of similarity, of matching and of writing."""
    out = model(**batch, grown=min(1.0, place.number / (GROWING * place.steps_an_epoch)), seed=place.seed)
    matching = out.loss_per_row - out.itc_per_row - out.lm_per_row
    return Losses(out.loss_per_row, {"loss_itc": out.itc_per_row, "loss_itm": matching, "loss_lm": out.lm_per_row})


PRETRAIN = replace(RETRIEVAL, name="pretrain", texts=TEXTS["pretrain"], model=BlipForPretraining, losses=losses)
