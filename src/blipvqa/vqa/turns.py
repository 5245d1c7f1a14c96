"""What is said before a question: its conversation as text, as much of it as the token limit has room for.

Notable:
- The form is `[q1] [a1]; [q2] [a2]; [question]`, each text prepared as a question is. That takes every semicolon out of
  them, so one stands after an answer and nowhere else.
- Whole turns are left out, the oldest first. The question is never cut to make room for them.
- `config.json` of an export says with `conversations` that the model was trained with them (`token_limits`). A model
  without it is not asked with a history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from blipvqa.data.history import TURN_END, Turn, history_of
from blipvqa.errors import InputError

AROUND = 2  # tokens beside a question's own: [ENC] and [SEP]


def turn_text(turn: Turn, prepare: Callable[[str], str] = str) -> str:
    """A turn as it stands before a question."""
    return f"{prepare(turn['question'])} {prepare(turn['answer'])}{TURN_END}"


def conversation(row: Mapping) -> str:
    """All turns before a row's question, as people read them; "" without any."""
    return " ".join(map(turn_text, history_of(row)))


def with_history(
    items: Sequence[Mapping], prepare: Callable[[str], str], lengths: Callable[[list[str]], list[int]], limit: int
) -> tuple[list[str], list[int]]:
    """Each item's question, prepared, behind those of its turns that fit into `limit` tokens; and how many do not.

    `lengths` counts the tokens of texts, without [ENC] and [SEP].
    """
    questions = [prepare(item["question"]) for item in items]
    turns = [[turn_text(turn, prepare) for turn in history_of(item)] for item in items]
    asked_with = [question for question, before in zip(questions, turns, strict=True) if before]
    parts = list(dict.fromkeys([*asked_with, *(turn for before in turns for turn in before)]))
    tokens = dict(zip(parts, lengths(parts), strict=True)) if parts else {}
    texts, left_out = [], []
    for question, before in zip(questions, turns, strict=True):
        room = limit - AROUND - tokens[question] if before else 0
        fitting: list[str] = []
        for turn in reversed(before):
            room -= tokens[turn]
            if room < 0:
                break
            fitting.insert(0, turn)
        texts.append(" ".join([*fitting, question]))
        left_out.append(len(before) - len(fitting))
    return texts, left_out


def reads_history(model) -> bool:
    """Whether a model was trained with the turns before its questions."""
    return getattr(model.config, "conversations", False)


def refuse_history(model) -> None:
    """Raises InputError where a model is asked with a conversation and was trained without."""
    if not reads_history(model):
        raise InputError(
            "history: this model was trained without conversations and would take all turns for one question: ask each "
            "question by itself, or train a run whose rows have a column history"
        )
