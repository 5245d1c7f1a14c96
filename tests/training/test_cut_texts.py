"""Texts that are longer than a run reads are told when it begins, and beside its numbers."""

import json

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


@pytest.mark.parametrize("task", ["vqa", "retrieval", "pairs"])
def test_what_is_cut_of_new_data_is_counted_anew(task, tiny, folder):
    """Of data that is not the training's nothing was said: `--on` told it, and `--new-data` did not."""
    column = {"vqa": "question", "retrieval": "caption", "pairs": "sentence"}[task]
    limit = {"vqa": {"data__max_question_tokens": 6}}.get(task, {f"{task}__max_words": 3})
    config = tiny(task, task=task, data__source="mine", train__epochs=0, **limit)

    def write(split, numbers, text):
        images = [[f"images/{i}.png", f"images/{i + 1}.png"] if task == "pairs" else f"images/{i}.png" for i in numbers]
        rows = [{"image": image, column: text, "answer": "yes", "label": i % 2} for i, image in enumerate(images)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    for split, numbers in (("train", range(8)), ("validation", (9, 10, 11)), ("test", (13, 14, 15))):
        write(split, numbers, "is it")
    fine_tune(config)
    write("test", (13, 14, 15), "is it one of the many")
    warnings = evaluate(config, progress=False, resamples=5, start=False, new_data=True).metrics("test")["warnings"]
    told = [line for line in warnings if "longer than is read" in line]
    assert len(told) == 1 and told[0].startswith(f"test: 3 texts of column {column} are longer than is read")


def test_every_task_and_every_number_of_texts_has_a_line():
    assert cut_notes("vqa", {"train": {"question": 1, "answer": 0, "history": 2}}) == [
        "train: 1 text of column question is longer than is read (data.max_question_tokens): the rest is cut off",
        "train: of 2 questions the oldest turns are left out: no room",
    ]
    assert {"caption", "retrieval", "pretrain", "pairs", "vqa"} == LIMITS.keys()
