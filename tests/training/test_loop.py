"""The loop: a step is the same however it is cut up, and what cannot be is refused."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
import yaml
from same_run import losses, weights

import blipvqa.training.loop as training
from blipvqa import Run, evaluate, fine_tune, load_model
from blipvqa.captions.task import CAPTION
from blipvqa.config.knobs import ConfigError
from blipvqa.training import settings as checks
from blipvqa.training.checkpoints import load_checkpoint
from blipvqa.training.progress import check_metric
from blipvqa.training.readings import SKIPS_IN_A_ROW, Readings, StepTaken
from blipvqa.training.stopping import Stop
from blipvqa.training.trained import epoch_notes
from blipvqa.vqa.validation import Validation


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
    assert {"loss", "learning_rate", "gradient_norm", "rows_per_second"} <= {k for r in run.history for k in r}
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


def test_checkpoints_hold_no_pickle_and_are_pruned(done):
    names = sorted(path.name for path in (done.folder / "checkpoints").iterdir())
    assert [name.rpartition(".")[2] for name in names] == ["json", "safetensors"]
    tensors, state, notes = load_checkpoint(done.folder / "checkpoints")
    assert tensors
    assert not notes
    assert state["step"] == Run(done.folder).state["step"]


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
    for task, metric in (
        ("retrieval", "img_mean_rank"),
        ("caption", "terms_invented"),
        ("vqa", "yes_no_predicted_yes"),
    ):
        with pytest.raises(ConfigError, match="no measure of which more is better"):  # the worst epoch was kept
            fine_tune(tiny(task=task, train__metric=metric))
    with pytest.raises(ConfigError, match="pip install"):
        fine_tune(tiny(train__tracker="mlflow"))


def test_a_finished_run_of_an_older_version_goes_on_whatever_chose_its_epoch(tiny, capsys, monkeypatch):
    """Of a measure of which less is better: it was refused, though nothing would be trained."""
    falling = {"task": "retrieval", "train__metric": "img_mean_rank", "train__schedule": "constant"}
    with monkeypatch.context() as older:
        older.setattr(checks, "check_choice", lambda *_: None)
        fine_tune(tiny(**falling))
    assert fine_tune(tiny(**falling)).finished and "finished earlier" in capsys.readouterr().out
    assert evaluate(tiny(**falling), progress=False, resamples=5).has_predictions("test")
    for new in ({"train__epochs": 3}, {"name": "new"}, {"train__learning_rate": 1e-4, "fresh": True}):
        with pytest.raises(ConfigError, match="no measure of which more is better"):
            fine_tune(tiny(**falling, **new))


def test_a_metric_that_validation_cannot_count_is_refused_before_the_first_step(tiny):
    with pytest.raises(ConfigError, match=r"train.metric: 'yes_no_accuracy' counts no row.*exact_match"):
        fine_tune(
            tiny(
                train__metric="yes_no_accuracy",
                data__where={"answer": ["three", "fat", "dense", "gland", "lower left"]},
            )
        )


def test_a_metric_that_never_changed_is_told(tiny, capsys):
    """The first epoch was kept, of however many, and nothing said that none had been chosen."""
    config = tiny(train__epochs=3, train__learning_rate=1e-12)
    run = fine_tune(config)
    assert run.state["best"]["epoch"] == 1
    line = "train.metric: 'exact_match' was 0 after each of 3 epochs, so it chose none of them: the first was kept."
    assert f"tiny: {line}" in capsys.readouterr().out
    scored = evaluate(config, progress=False, resamples=5, grounding=False)
    assert any(told.startswith(line) for told in scored.metrics("test")["warnings"])
    assert epoch_notes(fine_tune(tiny("falling", train__metric="loss"))) == []
    captions = fine_tune(tiny("said", task="caption", train__learning_rate=1e-12))
    warnings = evaluate(captions.config, progress=False, resamples=5).metrics("test")["warnings"]
    assert any("train.metric: 'cider_d' was" in told for told in warnings)


def test_an_epoch_after_which_the_metric_counts_nothing_is_not_the_best(tiny, monkeypatch):
    """A share of what was written is none where nothing was written: after the first epoch that ended the run."""
    config, real, seen = tiny(train__epochs=3), Validation.__call__, []

    def undefined_from_the_second(self, model):
        numbers, samples = real(self, model)
        seen.append(numbers)
        return numbers | ({"exact_match": None} if len(seen) > 2 else {}), samples

    monkeypatch.setattr(Validation, "__call__", undefined_from_the_second)
    run = fine_tune(config)
    assert run.finished and run.state["best"]["epoch"] == 1 and len(seen) == 4


def test_only_what_may_choose_an_epoch_is_proposed():
    numbers = {"loss": 2.0, "cider_d": None, "words": 3.0, "token_loss": 1.0}
    with pytest.raises(ConfigError, match=r"Defined there: loss\. Set"):
        check_metric("cider_d", numbers, CAPTION.metrics)


def test_a_loss_scale_that_mends_nothing_ends_the_run(tiny):
    """fp16's scaler leaves out what overflows; a run whose every step is left out must not call itself finished."""
    config = tiny(train__nonfinite="skip")
    readings = Readings(config.train, SimpleNamespace(scaler=object()))
    overflow = StepTaken(loss_sum=3.0, norm=float("inf"), stop=Stop.NO)
    for _ in range(SKIPS_IN_A_ROW - 1):
        readings.judge(overflow)
    with pytest.raises(FloatingPointError, match="such steps in a row"):
        readings.judge(overflow)
