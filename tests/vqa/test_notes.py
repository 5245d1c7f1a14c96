"""What is known to be wrong with a data set is said, with counts."""

import pytest
from PIL import Image

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.vqa.notes import all_notes, answer_notes


def write(root, split, rows):
    folder = root / "mine"
    folder.mkdir(exist_ok=True)
    lines = []
    for number, (seed, question, answer) in enumerate(rows):
        name = f"{split}{number}.png"
        Image.linear_gradient("L").rotate(37 * seed).resize((40, 40)).save(folder / name)
        lines.append(f'{{"image": "{name}", "question": "{question}", "answer": "{answer}"}}\n')
    (folder / f"{split}.jsonl").write_text("".join(lines))


def test_imbalance_laterality_and_shared_pictures(tiny, root):
    closed = [(i, "is it on the left side?", "yes") for i in range(1, 4)] + [(4, "is there fat?", "no")]
    write(root, "train", [*closed, (5, "what is it?", "fat"), (6, "what is it?", "Fat."), (7, "where is it?", "brain")])
    write(root, "test", [(5, "what is it?", "fat")])
    notes = all_notes(load_splits(tiny(data__source="mine")))
    text = "\n".join(notes["answers"])
    train = load_splits(tiny(data__source="mine"))["train"]
    closed = sum(row["answer"] in ("yes", "no") for row in train.rows)
    assert f"imbalance: {closed / len(train):.0%} of train's answers are yes or no" in text
    sided = sum("left" in row["question"] for row in train.rows)
    assert f"laterality: {sided} of {len(train)} training rows name left or right" in text
    assert any("test images stand in train too" in note for note in notes["leaks"])
    assert set(notes["look_alikes"]) == {"most_bits", "pairs", "images", "flat"}


def test_the_commonest_other_answer(tiny, root):
    write(root, "train", [(i, "what is it?", ("fat", "Fat.", "brain")[i % 3]) for i in range(9)])
    write(root, "validation", [(20, "what is it?", "fat")])
    found = answer_notes(load_splits(tiny(data__source="mine"))["train"])
    assert found == [
        'imbalance: of 2 different other answers the commonest, "fat", is 66.7%, and 0 answers stand there once only'
    ]


def test_near_duplicates_are_looked_for_when_every_answer_is_saved(tiny, monkeypatch):
    config = tiny(**{"train__epochs": 1})
    run = fine_tune(config)
    complete = []

    def stopped(_):
        complete.extend(sorted(file.stem for file in (run.folder / "answers").glob("*.jsonl")))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blipvqa.vqa.notes.near_duplicates", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(config, progress=False, resamples=20)
    assert {"test", "validation", "test-start", "test-blank", "test-shuffled"} <= set(complete)
    monkeypatch.setattr("blipvqa.vqa.stored_answers.predict", lambda *_, **__: pytest.fail("asked again"))
    assert evaluate(config, progress=False, resamples=20).metrics("test")["data"]["leaks"] is not None


def test_questions_that_are_answered_in_two_ways_are_counted(tiny, root):
    rows = [
        (1, "what is it?", "fat"),
        (1, "What is it?", "Fat."),
        (1, "where is it?", "here"),
        (2, "what is it?", "pus"),
    ]
    write(root, "train", [*rows, (3, "what is it?", "fat")])
    write(root, "validation", [(4, "what is it?", "fat"), (4, "what is it ?", "pus"), (5, "what is it?", "fat")])
    notes = all_notes(load_splits(tiny(data__source="mine")))["answers"]
    contradicted = [note for note in notes if note.startswith("contradicted")]
    first = "rows validation/0 and validation/1"
    assert contradicted == [f"contradicted: 1 question of validation has two answers or more (first: {first})"]
