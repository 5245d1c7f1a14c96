"""The loop: a step is the same however it is cut up, and a run that was stopped ends where it would have ended."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import TINY
from safetensors.torch import load_file

import blipvqa.training.loop as training
from blipvqa import Run, fine_tune, load_model
from blipvqa.config.knobs import ConfigError
from blipvqa.models.adapters import add_lora, merged
from blipvqa.runs.files import read_lines
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError
from blipvqa.training.checkpoints import digest, load_checkpoint
from blipvqa.training.interrupts import Stopped
from blipvqa.training.optimizer import learning_rate, make_optimizer
from blipvqa.training.step import SKIPS_IN_A_ROW, Stepper, StepTaken
from blipvqa.training.stopping import Stop
from blipvqa.vqa.task import VQA


def weights(run: Run) -> dict:
    return load_file(run.model_folder / "model.safetensors")


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.history if row["type"] == "step"]


def assert_same_run(a: Run, b: Run):
    torch.testing.assert_close(weights(a), weights(b), rtol=0, atol=0)
    timed = ("seconds", "questions_per_second", "peak_memory_gib")
    plain = [[{k: v for k, v in row.items() if k not in timed} for row in run.history] for run in (a, b)]
    assert plain[0] == plain[1]
    assert a.samples == b.samples


def test_a_run_leaves_what_it_promises(done):
    run = Run(done.folder)
    assert run.finished
    for name in (
        "config.yaml",
        "environment.json",
        "history.jsonl",
        "samples.jsonl",
        "state.json",
        "predictions-test.jsonl",
        "metrics-test.json",
    ):
        assert (run.folder / name).exists(), name
    assert yaml.safe_load((run.folder / "config.yaml").read_text()) == done.as_dict()
    epochs = [row for row in run.history if row["type"] == "epoch"]
    assert [row["epoch"] for row in epochs] == list(range(done.train.epochs + 1))
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert {"loss", "learning_rate", "gradient_norm", "questions_per_second"} <= {k for r in run.history for k in r}
    assert len({row["id"] for row in run.samples}) == 4
    assert len(run.samples) == 4 * (done.train.epochs + 1)
    environment = run.environment
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0] or environment["versions"]["torch"]
    assert os.uname().nodename not in json.dumps(environment)
    assert not list(run.folder.glob(".*"))


def test_the_best_weights_are_kept(done):
    run = Run(done.folder)
    epochs = [row for row in run.history if row["type"] == "epoch" and row["epoch"]]
    best = max(epochs, key=lambda row: (row["exact_match"], -row["epoch"]))
    assert run.state["best"] == {"epoch": best["epoch"], "metric": "exact_match", "value": best["exact_match"]}


def test_a_finished_run_is_not_trained_again(tiny, capsys):
    config = tiny(train__epochs=1)
    before = weights(fine_tune(config))
    modified = (config.folder / "model" / "model.safetensors").stat().st_mtime
    fine_tune(config)
    assert "finished earlier" in capsys.readouterr().out
    assert (config.folder / "model" / "model.safetensors").stat().st_mtime == modified
    assert before.keys() == weights(Run(config.folder)).keys()


def test_changed_settings_are_refused_with_the_difference_or_moved_aside(tiny, root):
    fine_tune(tiny(train__epochs=1))
    with pytest.raises(ConfigError, match=r"train.learning_rate: 0.001 -> 0.01"):
        fine_tune(tiny(train__epochs=1, train__learning_rate=0.01))
    fine_tune(tiny(train__epochs=1, train__learning_rate=0.01, fresh=True))
    assert len([p for p in (root / "outputs").iterdir() if p.name.startswith("tiny")]) == 2


@pytest.mark.parametrize(
    "settings", [{"train__micro_batch_size": 6}, {"train__micro_batch_size": 8, "train__loss": "token_mean"}]
)
def test_accumulation_changes_no_step(tiny, settings):
    loss = {k: v for k, v in settings.items() if k == "train__loss"}
    whole, cut = fine_tune(tiny("whole", **loss)), fine_tune(tiny("cut", **settings))
    torch.testing.assert_close(losses(whole), losses(cut), rtol=1e-3, atol=1e-3)
    norms = [[row["gradient_norm"] for row in run.history if row["type"] == "step"] for run in (whole, cut)]
    torch.testing.assert_close(norms[0][0], norms[1][0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings", [{"train__augment": "light", "model__text_dropout": 0.1}, {"model__lora": {"rank": 4}}]
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
        process.wait()
        done += 1
    last = start(root, "killed", **settings)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors[-2000:]
    assert_same_run(whole, killed)
    return done


def test_kill_9_at_random_moments_loses_nothing(root, tiny):
    assert killed_runs_end_alike(root, tiny, kills=3, seed=0) >= 2


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


def test_checkpoints_hold_no_pickle_and_are_pruned(done):
    names = sorted(path.name for path in (done.folder / "checkpoints").iterdir())
    assert [name.rpartition(".")[2] for name in names] == ["json", "safetensors"]
    tensors, state, notes = load_checkpoint(done.folder / "checkpoints")
    assert tensors
    assert not notes
    assert state["step"] == Run(done.folder).state["step"]


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


def test_a_loss_that_is_no_number_stops_or_is_skipped(tiny, monkeypatch):
    step = training.FineTuning._step

    def poisoned(self, batches, *rest):
        if self.progress.step == 2:
            for batch in batches:
                batch["pixel_values"] = torch.full(batch["pixel_values"].shape, float("nan"))
        return step(self, batches, *rest)

    monkeypatch.setattr(training.FineTuning, "_step", poisoned)
    with pytest.raises(FloatingPointError, match=r"step 3: loss nan.*train/"):
        fine_tune(tiny("raise"))
    run = fine_tune(tiny("skip", train__nonfinite="skip"))
    assert run.finished
    assert [row["skipped_steps"] for row in run.history if row["type"] == "epoch"] == [0, 1, 1]
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())


def test_gradients_that_explode_stop_or_are_skipped(tiny, monkeypatch):
    """A finite loss whose gradients are infinite leaves the weights alone."""
    step = training.FineTuning._step

    def exploding(self, *arguments):
        parameter = next(iter(self.model.text_decoder.parameters()))
        hook = parameter.register_hook(lambda gradient: gradient * (1e30 if self.progress.step == 2 else 1.0) ** 2)
        try:
            return step(self, *arguments)
        finally:
            hook.remove()

    monkeypatch.setattr(training.FineTuning, "_step", exploding)
    with pytest.raises(FloatingPointError, match=r"step 3: loss \d.*gradient norm (inf|nan)"):
        fine_tune(tiny("raise"))
    run = fine_tune(tiny("skip", train__nonfinite="skip"))
    assert [row["skipped_steps"] for row in run.history if row["type"] == "epoch"] == [0, 1, 1]
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())


def test_out_of_memory_halves_the_batch_and_changes_no_step(tiny, monkeypatch, capsys):
    forward = training.FineTuning._step
    whole = fine_tune(tiny("whole"))

    def short_of_memory(self, batches, *rest):
        if len(batches[0]["input_ids"]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, batches, *rest)

    monkeypatch.setattr(training.FineTuning, "_step", short_of_memory)
    halved = fine_tune(tiny("halved"))
    torch.testing.assert_close(losses(whole), losses(halved), rtol=1e-3, atol=1e-3)
    assert "going on with 6" in capsys.readouterr().out


def test_the_wall_clock_budget_stops_in_good_order(tiny, capsys):
    run = fine_tune(tiny(train__max_minutes=1e-6))
    assert not run.finished
    assert run.state["step"] == 1
    assert "Nothing is lost" in capsys.readouterr().out
    assert fine_tune(tiny()).finished


def test_patience_stops_early(tiny):
    run = fine_tune(tiny(train__learning_rate=1e-9, train__epochs=8, train__patience=2))
    assert run.state["why"] == "patience"
    assert run.state["epoch"] < 8


@pytest.mark.parametrize(
    "settings",
    [
        {"train__gradient_checkpointing": True},
        {"train__precision": "bf16"},
        {"train__loss": "token_mean"},
        {"train__schedule": "constant", "train__shuffle": False},
        {"generate__method": "rank"},
        {"train__metric": "loss", "train__evaluate_questions": 10},
        {"train__epochs": 0},
    ],
)
def test_every_option_trains_and_exports(tiny, settings):
    run = fine_tune(tiny(**settings))
    assert run.finished
    assert all(torch.isfinite(t).all() for t in weights(run).values())
    load_model(str(run.model_folder))


def test_trackers_and_metrics_that_cannot_be_are_refused_at_once(tiny):
    with pytest.raises(ConfigError, match="none of loss"):
        fine_tune(tiny(train__metric="accuracy"))
    with pytest.raises(ConfigError, match="pip install"):
        fine_tune(tiny(train__tracker="mlflow"))


def test_the_rate_warms_up_and_comes_down(tiny):
    train = tiny(train__warmup=0.1, train__learning_rate=1e-3).train
    rates = [learning_rate(step, 100, train) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3 / 11)
    assert max(rates) == rates[10] == 1e-3
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 1e-6


def test_biases_and_norms_do_not_decay(tiny):
    config = tiny()
    model, _ = load_model("scratch", config)
    decayed, kept = make_optimizer(model, config.train).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in kept["params"]} == {1}
    assert sum(len(g["params"]) for g in (decayed, kept)) == len(list(model.parameters()))


def test_adapters_start_as_nothing_and_merge_into_the_weights(tiny):
    config = tiny(model__lora={"rank": 4, "dropout": 0.0})
    model, processor = load_model("scratch", config)
    data = training.load_splits(config)["train"]
    batch = VQA.collator(processor, config)(data.__getitems__(list(range(12))))
    before = model(**batch).loss
    add_lora(model, config.model.lora)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    torch.testing.assert_close(model(**batch).loss, before)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.5)
    adapted = model(**batch).loss
    assert not torch.isclose(adapted, before)
    whole = merged(model)
    assert not any("lora" in name for name in whole.state_dict())
    torch.testing.assert_close(whole(**batch).loss, adapted, rtol=1e-4, atol=1e-4)


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
    assert digest(two.model_folder / "model.safetensors")


def test_two_processes_pause_together_when_the_clock_of_one_is_over(root, tiny):
    """Only the second process's minutes are over: both leave after the same step, write one checkpoint, and go on."""
    script = root / "one_clock.py"
    script.write_text(
        "import os, sys\n"
        "from blipvqa.__main__ import main\n"
        "from blipvqa.training.stopping import Stop, Stopping\n"
        "Stopping._mine = lambda self: Stop.MINUTES if os.environ['RANK'] == '1' else Stop.NO\n"
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


def test_a_metric_that_validation_cannot_count_is_refused_before_the_first_step(tiny):
    with pytest.raises(ConfigError, match=r"train.metric: 'yes_no_accuracy' counts no row.*exact_match"):
        fine_tune(
            tiny(
                train__metric="yes_no_accuracy",
                data__where={"answer": ["three", "fat", "dense", "gland", "lower left"]},
            )
        )


def test_a_loss_scale_that_mends_nothing_ends_the_run(tiny):
    """fp16's scaler leaves out what overflows; a run whose every step is left out must not call itself finished."""
    config = tiny(train__nonfinite="skip")
    task = SimpleNamespace(losses=None)
    accelerator = SimpleNamespace(scaler=object())
    optimizer = SimpleNamespace(step=lambda: None)
    stepper = Stepper(config, task, accelerator, None, None, optimizer)
    overflow = StepTaken(loss_sum=3.0, norm=float("inf"), stop=Stop.NO)
    for _ in range(SKIPS_IN_A_ROW - 1):
        stepper._update(overflow, 1)
    with pytest.raises(FloatingPointError, match="such steps in a row"):
        stepper._update(overflow, 1)
