"""Tiny runs of pre-training: three losses fall, a kill loses nothing, two processes are one, and other tasks begin there."""

import pytest
import torch
from conftest import TINY
from same_run import in_two_processes, weights

from blipvqa import Run, evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.tasks import write_report

PRETRAINING = {"task": "pretrain", "retrieval.queue": 64, "train.questions_per_image": 2}


def small(name="tiny", **overrides):
    tree = TINY | PRETRAINING | {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(None, tree, name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(root, run) of a run whose momentum follows fast: the drawn data is small."""
    folder = tmp_path_factory.mktemp("pretraining")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        return folder, fine_tune(small(train__epochs=4, retrieval__momentum=0.9, train__learning_rate=2e-3))


def test_the_three_losses_are_logged_and_writing_is_learnt(trained):
    steps = [row for row in trained[1].history if row["type"] == "step"]
    parts = ("loss_itc", "loss_itm", "loss_lm")
    assert all(row["loss"] == pytest.approx(sum(row[part] for part in parts), rel=1e-5) for row in steps)
    assert steps[-1]["loss_lm"] < 0.9 * steps[0]["loss_lm"]


def test_a_killed_run_goes_on_bit_for_bit(root):
    whole = fine_tune(small("whole"))
    assert not fine_tune(small("parts", train__max_minutes=1e-9)).finished
    one, other = weights(whole), weights(fine_tune(small("parts")))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow  # retrieval tries the same road
def test_two_processes_give_the_curve_of_one(root):
    tree = TINY | PRETRAINING | {"train.batch_size": 13, "train.questions_per_image": 3}
    one, two = fine_tune(load_config(None, tree, "one")), in_two_processes(root, tree)
    for key in ("loss", "loss_lm", "gradient_norm"):
        a, b = ([row[key] for row in run.history if row["type"] == "step"] for run in (one, two))
        assert a == pytest.approx(b, rel=1e-4)


def test_it_is_measured_as_retrieval_without_fine_tuning(trained, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(trained[0]))
    config = Run(trained[1].folder).config
    run = evaluate(config, progress=False, resamples=20)
    assert run.metrics("test")["overall"]["r_mean"]["value"] is not None
    assert "loss_lm" in str(run.history[1]) and write_report(run, load_splits(config)).is_file()


@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval"])
def test_every_task_begins_with_what_was_pre_trained(trained, monkeypatch, task):
    """Every tower that the task has comes from there; nothing is new."""
    monkeypatch.setenv("BLIPVQA_ROOT", str(trained[0]))
    folder = str(trained[1].model_folder)
    before, _ = load_model(folder)
    assert isinstance(before, BlipForPretraining)
    config = small(f"from-{task}", task=task, model__name=folder)
    model, _ = load_model(folder, config)
    expected = before.state_dict()
    if task == "vqa":  # whose towers share nothing
        assert model.text_decoder.bert.embeddings is not model.text_encoder.embeddings
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert fine_tune(config.model_copy(update={"train": config.train.model_copy(update={"epochs": 1})})).finished
