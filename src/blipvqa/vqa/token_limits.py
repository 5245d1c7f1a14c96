"""How much of a question and of an answer a model reads: what its export says, or its run.

`question_tokens` in an export's `config.json` says how long a question with its turns was at most: `ask` and the heat
maps read as much of it as training and evaluation do. `answer_tokens` says the same of answers: those that `ask` ranks
are cut as evaluation cuts them.
"""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.knobs import Config
from blipvqa.data.history import history_of
from blipvqa.training.own_settings import config_beside
from blipvqa.vqa.turns import reads_history


def question_tokens(model) -> int:
    """How many tokens of a question with its turns are read: as its run does; as many as there are positions of a model
    of no run that tells nothing."""
    told = getattr(model.config, "question_tokens", None) or _limit_of_run(model, "max_question_tokens")
    return told or min(model.config.text_config.max_position_embeddings, 512)


def answer_tokens(model) -> int:
    """How many tokens of an answer are read: as its run does; the default of `data.max_answer_tokens` of a model of no
    run that tells nothing."""
    told = getattr(model.config, "answer_tokens", None) or _limit_of_run(model, "max_answer_tokens")
    return told or DataConfig.model_fields["max_answer_tokens"].default


def _limit_of_run(model, knob: str) -> int | None:
    """What the run in whose folder a model lies reads: an older version's export does not tell it."""
    run = config_beside(model)
    return getattr(run.data, knob) if run else None


def tell_limits(model, config: Config, splits: Mapping) -> None:
    """Write into the model's config, and so into its export, how much of questions and answers it reads, and whether it
    is trained with conversations."""
    model.config.question_tokens = config.data.max_question_tokens
    model.config.answer_tokens = config.data.max_answer_tokens
    if any(history_of(row) for row in splits["train"].rows):
        model.config.conversations = True
    elif reads_history(model):  # of the weights that training began with
        del model.config.conversations
