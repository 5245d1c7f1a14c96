"""Learning without forgetting: a stage's loss also asks what the last model would have said.

Notable:
- Beside each answer's cross-entropy stands how far the distribution of every answer token is from that of the model
  that the stage began with, both softened by a temperature (Li and Hoiem 2016; Hinton et al. 2015).
- No row of an earlier stage is kept: the last model is asked about the new stage's rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.models.devices import autocast, pick_precision
from blipvqa.models.loading import load_model
from blipvqa.models.vqa import BlipForVQA
from blipvqa.training.task import Batch, Losses, Place


class Distilled:
    """`Task.losses` of a stage that begins with the model of `config.model.name`, its teacher."""

    def __init__(self, config: Config):
        self.weight, self.temperature = config.continual.distil, config.continual.temperature
        self.precision = config.train.precision
        self.teacher, _ = load_model(config.model.name, config)
        self.teacher.eval().requires_grad_(False)

    def __call__(self, model: BlipForVQA, batch: Batch, _place: Place) -> Losses:
        out = model(**batch)
        precision = pick_precision(self.precision, out.logits.device)
        with torch.no_grad(), autocast(precision, out.logits.device):
            taught = self.teacher.to(out.logits.device)(**batch).logits  # [K, V]
        losses = out.loss_per_answer
        apart = self.weight * divergence(out.logits, taught, self.temperature)  # [K]
        of_answers = apart.new_zeros(len(batch["labels"])).index_add(0, batch["layout"].written.row, apart)
        if "answer_index" in batch:  # several right answers to a question, by their weights
            of_answers = apart.new_zeros(len(losses)).index_add(
                0, batch["answer_index"], of_answers * batch["answer_weights"]
            )
        return Losses(losses + of_answers, {"distilled": of_answers})


def divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Each token's Kullback-Leibler divergence `[K]` from the teacher's distribution, of logits `[K,V]`.

    Times the square of the temperature, so that its gradient has the size of a cross-entropy's (Hinton et al. 2015).
    """
    student, teacher = (each.div(temperature).log_softmax(1) for each in (logits, taught))
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) * temperature**2
