"""`AnsweringTogether`: several models for questions that answer as one.

Notable:
- Tokens are written by the mean of the models' log-probabilities, and answers are scored by the mean of theirs
  (a product of experts, renormalized by nobody: an ensemble's score compares with another ensemble's only).
- The search is that of one model: what differs is where its log-probabilities come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blipvqa.models.decoding import Rules, Writer, write
from blipvqa.models.towers import Grid
from blipvqa.models.vqa import BlipForVQA, Questions


@dataclass
class QuestionsOfAll:
    """The same questions, as each model encodes them."""

    by_model: list[Questions]

    @property
    def grid(self) -> Grid:
        return self.by_model[0].grid

    def chosen(self, rows: list[int]) -> QuestionsOfAll:
        """These rows only, in rising order."""
        return QuestionsOfAll([each.chosen(rows) for each in self.by_model])


class WritersOfAll:
    """The models' decoders in the middle of the same texts, as `decoding.write` asks for them."""

    def __init__(self, writers: Sequence[Writer]):
        self.writers, self.device = writers, writers[0].device

    @property
    def memories(self) -> int:
        return self.writers[0].memories

    def logits(self, ids: Tensor) -> Tensor:
        """Mean log-probabilities `[R,V]` of what follows, after `ids [R,L]` more tokens."""
        return torch.stack([writer.logits(ids).log_softmax(1) for writer in self.writers]).mean(0)

    def follow(self, rows: Tensor) -> None:
        for writer in self.writers:
            writer.follow(rows)

    def leave(self, memories: Tensor) -> None:
        for writer in self.writers:
            writer.leave(memories)


class AnsweringTogether:
    """Models of one vocabulary and picture size, with what `vqa.predictions` asks of one model."""

    task, purpose = BlipForVQA.task, BlipForVQA.purpose
    shortlist = BlipForVQA.shortlist  # made of the two scores below
    candidate_scores = BlipForVQA.candidate_scores

    def __init__(self, models: Sequence[BlipForVQA]):
        self.models = list(models)

    @property
    def device(self) -> torch.device:
        return self.models[0].device

    def to(self, device) -> AnsweringTogether:
        for model in self.models:
            model.to(device)
        return self

    def eval(self) -> AnsweringTogether:
        for model in self.models:
            model.eval()
        return self

    def encode(self, *inputs, **named) -> QuestionsOfAll:
        """As `BlipForVQA.encode`, by each model."""
        return QuestionsOfAll([model.encode(*inputs, **named) for model in self.models])

    @torch.no_grad()
    def generate_answers(self, *, questions: QuestionsOfAll, num_beams: int = 1, max_new_tokens: int = 40) -> Tensor:
        """Answers `[Q, L]` that start with [DEC] and end with [SEP], padded."""
        first, length = self.models[0], 1 + max_new_tokens
        writers = [
            Writer(model.text_decoder, states, length, mask)
            for model, (states, mask) in zip(self.models, (q.padded() for q in questions.by_model), strict=True)
        ]
        rules = Rules(length, 1, 1.0, first.config.text_config.sep_token_id, first.decoder_pad_token_id)
        start = torch.tensor([first.decoder_start_token_id])
        return write(WritersOfAll(writers), start, rules, num_beams)

    def answer_log_probabilities(
        self, questions: QuestionsOfAll, question_index: Tensor, ids: Tensor, real: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """As `BlipForVQA.answer_log_probabilities`, the mean `[A]` of the models'."""
        return self._mean(questions, lambda m, q: m.answer_log_probabilities(q, question_index, ids, real, smoothing))

    def first_token_logits(self, questions: QuestionsOfAll) -> Tensor:
        """Mean log-probabilities `[Q,V]` of every answer's first token."""
        return self._mean(questions, lambda model, of_model: model.first_token_logits(of_model).log_softmax(1))

    def _mean(self, questions: QuestionsOfAll, score: Callable[[BlipForVQA, Questions], Tensor]) -> Tensor:
        scores = [score(model, of_model) for model, of_model in zip(self.models, questions.by_model, strict=True)]
        return torch.stack(scores).mean(0)
