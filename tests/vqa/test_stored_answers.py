"""Stored answers are used again only as long as everything that they depend on has the same content."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from blipvqa import Run, fine_tune, load_model, load_splits, save_model
from blipvqa.vqa import stored_answers
from blipvqa.vqa.stored_answers import StoredAnswers


@pytest.fixture
def ranking(tiny, root):
    """The config of a run that began with a local folder and ranks the answers of a file."""
    config = tiny()
    save_model(*load_model("scratch", config, texts=load_splits(config)["train"].texts), root / "start")
    (root / "candidates.txt").write_text("yes\nno\nround\n")
    config = tiny(model__name="start", train__epochs=1, generate__method="rank", generate__candidates="candidates.txt")
    fine_tune(config)
    return config


@pytest.fixture
def asked(monkeypatch):
    """How often a model was asked, as a list that grows."""
    calls = []
    predict = stored_answers.predict
    monkeypatch.setattr(stored_answers, "predict", lambda *arguments: calls.append(1) or predict(*arguments))
    return calls


def answer(config, variant, splits=None):
    return StoredAnswers(config, Run(config.folder), splits or load_splits(config), False).answers("test", variant)


def change_weights(folder):
    """New values under the old name."""
    tensors = load_file(folder / "model.safetensors")
    tensors["text_decoder.cls.predictions.bias"] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_the_same_content_is_asked_once(ranking, root, asked):
    for variant in ("", "start"):
        first = answer(ranking, variant)
        assert answer(ranking, variant) == first
    assert len(asked) == 2
    shutil.move(root / "candidates.txt", root / "renamed.txt")
    generate = ranking.generate.model_copy(update={"candidates": "renamed.txt"})
    answer(ranking.model_copy(update={"generate": generate}), "")
    assert len(asked) == 2


def test_an_edited_file_of_candidates_is_asked_again(ranking, root, asked):
    answer(ranking, "")
    (root / "candidates.txt").write_text("maybe\nnever\n")
    assert {row["prediction"] for row in answer(ranking, "")} <= {"maybe", "never"}
    assert len(asked) == 2


def test_relabelled_train_answers_are_other_candidates(ranking, asked):
    generate = ranking.generate.model_copy(update={"candidates": "train"})
    config, splits = ranking.model_copy(update={"generate": generate}), load_splits(ranking)
    answer(config, "", splits)
    splits["train"].rows = [{**row, "answer": "relabelled"} for row in splits["train"].rows]
    assert {row["prediction"] for row in answer(config, "", splits)} == {"relabelled"}
    assert len(asked) == 2


@pytest.mark.parametrize(("variant", "other"), [("start", ""), ("", "start")])
def test_new_weights_in_the_same_folder_are_asked_again(ranking, root, asked, variant, other):
    answer(ranking, variant)
    answer(ranking, other)
    change_weights(root / "start" if variant == "start" else Run(ranking.folder).model_folder)
    answer(ranking, variant)
    assert len(asked) == 3
    answer(ranking, other)
    assert len(asked) == 3
