"""A run that was stopped, killed or cut ends where it would have ended."""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import TINY
from same_run import assert_same_run, losses

import blipvqa.training.loop as training
from blipvqa import Run, fine_tune
from blipvqa.runs.files import read_lines
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError
from blipvqa.runs.seals import digest_of_file
from blipvqa.training import interrupts
from blipvqa.training.interrupts import Stopped


@pytest.mark.parametrize(
    "settings",
    [
        {"train__augment": "light", "model__text_dropout": 0.1},
        {"model__lora": {"rank": 4}},
        {"model__freeze": ["vision_model"]},
    ],
)
def test_a_run_stopped_by_a_signal_ends_as_if_it_had_not_been(tiny, monkeypatch, settings):
    whole = fine_tune(tiny("whole", **settings))
    step = training.FineTuning._step

    def and_stop(self, *arguments):
        if self.progress.step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)

    monkeypatch.setattr(training.FineTuning, "_step", and_stop)
    for stop_at in (3, 9):
        with pytest.raises(Stopped, match="start it again"):
            fine_tune(tiny("stopped", **settings))
        state = Run(tiny("stopped").folder).state
        assert (state["finished"], state["step"]) == (False, stop_at + 1)
    monkeypatch.setattr(training.FineTuning, "_step", step)
    assert_same_run(whole, fine_tune(tiny("stopped", **settings)))


def start(root, name: str, **overrides) -> subprocess.Popen:
    settings = TINY | {key.replace("__", "."): value for key, value in overrides.items()}
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "empty.yaml").write_text("{}\n")
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(
        [sys.executable, "-m", "blipvqa", "train", "configs/empty.yaml", "--name", name, "--set", *pairs],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed_runs_end_alike(root, tiny, kills: int, seed: int):
    settings = {"train__checkpoint_every": 2, "train__epochs": 4, "train__keep_checkpoints": 2}
    whole = fine_tune(tiny("whole", **settings))
    draw, killed = random.Random(seed), Run(tiny("killed").folder)
    done = 0
    while done < kills:
        process = start(root, "killed", **settings)
        begun = len(killed.history)
        while process.poll() is None and len(killed.history) <= begun:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.25))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        done += 1
    assert_same_run(whole, fine_tune(tiny("killed", **settings)))
    return done


def test_kill_9_at_random_moments_loses_nothing(root, tiny):
    assert killed_runs_end_alike(root, tiny, kills=1, seed=0) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_many_kills_lose_nothing(root, tiny, seed):
    assert killed_runs_end_alike(root, tiny, kills=4, seed=seed) >= 3


def test_a_torn_checkpoint_is_noticed_and_the_one_before_used(tiny, capsys):
    settings = {"train__checkpoint_every": 1, "train__keep_checkpoints": 3, "train__epochs": 1}
    whole = fine_tune(tiny("whole", **settings))
    config = tiny("torn", **settings)
    fine_tune(config)
    last = sorted((config.folder / "checkpoints").glob("*.safetensors"))[-1]
    last.write_bytes(last.read_bytes()[:-7])
    (config.folder / "state.json").write_text('{"finished": false, "why": ""}')
    assert_same_run(whole, fine_tune(config))
    assert "is not used" in capsys.readouterr().out


def test_two_runs_with_one_name_cannot_write_at_once(tiny):
    config = tiny()
    with lock(config.folder), pytest.raises(RunError, match="being written"):
        fine_tune(config)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib\nfrom blipvqa.runs.lock import lock\n"
            f"with lock(pathlib.Path({str(config.folder)!r})):\n    print('held', flush=True)\n    time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"process {holder.pid}"):
        fine_tune(config)
    holder.kill()
    holder.wait()
    assert fine_tune(config).finished  # a dead process's lock is taken over


def test_the_wall_clock_budget_stops_in_good_order(tiny, capsys):
    run = fine_tune(tiny(train__max_minutes=1e-6))
    assert not run.finished
    assert run.state["step"] == 1
    assert "Nothing is lost" in capsys.readouterr().out
    assert fine_tune(tiny()).finished


TWO = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def two_processes(root, *command: str, **settings) -> subprocess.CompletedProcess:
    """`command` in two CPU processes, as `accelerate launch` starts it on several GPUs."""
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "empty.yaml").write_text("{}\n")
    pairs = [f"{key}={json.dumps(value)}" for key, value in {**TINY, **settings}.items()]
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    arguments = ["train", "configs/empty.yaml", "--name", "two", "--set", *pairs]
    return subprocess.run([*TWO, *command, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def test_two_processes_train_as_one(root, tiny):
    """The same losses, metrics over every question once, one writer."""
    one = fine_tune(tiny("one"))
    launched = two_processes(root, "-m", "blipvqa")
    assert launched.returncode == 0, launched.stderr[-3000:]
    two = Run(tiny("two").folder)
    assert two.environment["processes"] == 2
    torch.testing.assert_close(losses(one), losses(two), rtol=1e-3, atol=1e-3)
    epochs = [[row for row in run.history if row["type"] == "epoch"] for run in (one, two)]
    assert [row["loss"] for row in epochs[0]] == pytest.approx([row["loss"] for row in epochs[1]], rel=1e-3)
    assert len(read_lines(two.folder / "samples.jsonl")) == len(one.samples)
    assert digest_of_file(two.model_folder / "model.safetensors")


@pytest.mark.slow
def test_two_processes_pause_together_when_the_clock_of_one_is_over(root, tiny):
    """Only the second process's minutes are over: both leave after the same step, write one checkpoint, and go on."""
    script = root / "one_clock.py"
    script.write_text(
        "import os, sys\n"
        "from blipvqa.__main__ import main\n"
        "from blipvqa.training.stopping import Stop, Stopping\n"
        "Stopping.mine = lambda self: Stop.MINUTES if os.environ['RANK'] == '1' else Stop.NO\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    launched = two_processes(root, str(script), **{"train.max_minutes": 60})
    assert launched.returncode == 0, launched.stderr[-3000:]
    two = Run(tiny("two").folder)
    assert (two.finished, two.state["step"]) == (False, 1)
    assert (two.model_folder / "model.safetensors").exists()
    assert "goes on from there" in launched.stdout
    assert two_processes(root, "-m", "blipvqa").returncode == 0
    assert two.finished


def test_what_windows_sends_to_stop_a_run_is_noted_too(monkeypatch):
    """Ctrl-Break, which a sweep passes on there: read anew with a signal of that name."""
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    with runpy.run_path(interrupts.__file__)["Interrupts"]() as noted:
        signal.raise_signal(signal.SIGUSR1)
    assert noted.received
