"""Texts that are longer than a run reads are told when it begins, and beside its numbers."""

import pytest

from blipvqa import evaluate, fine_tune
from blipvqa.training.cut_texts import LIMITS, cut_notes


@pytest.mark.parametrize("task", ["caption", "retrieval", "pairs"])
def test_what_is_cut_is_printed_and_warned_of(task, tiny, capsys):
    """It stood in environment.json alone: searches of beginnings of texts looked as any others."""
    config = tiny(task, task=task, train__epochs=0, **{f"{task}__max_words": 2})
    fine_tune(config)
    said = capsys.readouterr().out
    assert f"longer than is read ({task}.max_words, {task}.max_tokens): the rest is cut off" in said
    warnings = evaluate(config, progress=False, resamples=5, start=False).metrics("test")["warnings"]
    told = [line.split(":")[0] for line in warnings if "longer than is read" in line]
    assert told == (["train"] if task == "caption" else ["train", "test"])  # references are scored whole


def test_every_task_and_every_number_of_texts_has_a_line():
    assert cut_notes("vqa", {"train": {"question": 1, "answer": 0, "history": 2}}) == [
        "train: 1 text of column question is longer than is read (data.max_question_tokens): the rest is cut off",
        "train: of 2 questions the oldest turns are left out: no room",
    ]
    assert {"caption", "retrieval", "pretrain", "pairs", "vqa"} == LIMITS.keys()
