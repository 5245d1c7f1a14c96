"""A tiny run on retrieval: it learns, goes on bit for bit after a kill, and does not depend on the processes."""

import pytest
import torch
from conftest import TINY
from same_run import losses, weights

from blipvqa import fine_tune, load_config, load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.runs.run import Run

RETRIEVAL = TINY | {"task": "retrieval", "retrieval.queue": 64, "train.questions_per_image": 2}


def small(name="tiny", **overrides):
    return load_config(None, RETRIEVAL | {key.replace("__", "."): v for key, v in overrides.items()}, name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose momentum follows fast: the drawn data is small."""
    folder = tmp_path_factory.mktemp("retrieval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        return fine_tune(small(train__epochs=8, retrieval__momentum=0.9, train__learning_rate=2e-3))


def test_training_learns_and_logs_both_losses(trained):
    epochs = [row for row in trained.history if row["type"] == "epoch"]
    steps = [row for row in trained.history if row["type"] == "step"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] and epochs[-1]["r_mean"] >= epochs[0]["r_mean"]
    assert all(row["loss"] == pytest.approx(row["loss_itc"] + row["loss_itm"], rel=1e-5) for row in steps)
    assert trained.finished and trained.config.train.metric == "r_mean"


def test_a_killed_run_goes_on_bit_for_bit_with_momentum_and_queue(root):
    whole = fine_tune(small("whole"))
    assert not fine_tune(small("parts", train__max_minutes=1e-9)).finished
    parts = fine_tune(small("parts"))
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)
