"""A tiny run on retrieval: it learns, goes on bit for bit after a kill, and does not depend on the processes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import TINY
from same_run import weights

from blipvqa import fine_tune, load_config
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


def two_processes(root, **settings) -> Run:
    """A run in two CPU processes, as `accelerate launch` starts it on several GPUs."""
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "empty.yaml").write_text("{}\n")
    tree = RETRIEVAL | {key.replace("__", "."): value for key, value in settings.items()}
    pairs = [f"{key}={json.dumps(value)}" for key, value in tree.items()]
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "blipvqa"]
    arguments = ["train", "configs/empty.yaml", "--name", "two", "--set", *pairs]
    launched = subprocess.run(
        [*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    return Run(small("two").folder)


def test_two_processes_give_the_curve_of_one(root):
    """Batches of 13 pairs: 6 and 7 a process, whose pictures and lengths of text differ."""
    settings = {"train__batch_size": 13, "train__questions_per_image": 3}
    one, two = fine_tune(small("one", **settings)), two_processes(root, **settings)
    assert two.environment["processes"] == 2
    for key in ("loss", "loss_itc", "loss_itm", "gradient_norm"):
        a, b = ([row[key] for row in run.history if row["type"] == "step"] for run in (one, two))
        assert a == pytest.approx(b, rel=1e-4)
    a, b = ([row["loss"] for row in run.history if row["type"] == "epoch"] for run in (one, two))
    assert a == pytest.approx(b, rel=1e-4)
