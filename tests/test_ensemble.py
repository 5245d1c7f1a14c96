"""Runs as one: answers together are those of the mean of log-probabilities, a soup is the mean of weights."""

import shutil

import numpy as np
import pytest
import torch
from conftest import TINY

from blipvqa import Run, evaluate, fine_tune, load_config, load_model, load_splits, predict
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.ensemble import _greedy, ensemble, soup
from blipvqa.models.ensemble import AnsweringTogether
from blipvqa.runs.run import RunError
from blipvqa.vqa.predictions import load_candidates
from blipvqa.vqa.set_aside import rows_aside


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A root with two seeds of one recipe, `a` and `b`, and `c` on other rows. Read only."""
    root = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        others = {**TINY["data.synthetic"], "seed": 5}
        for name, own in (("a", {"seed": 0}), ("b", {"seed": 1}), ("c", {"data.synthetic": others})):
            config = load_config(None, TINY | {"train.epochs": 6} | own, name)
            fine_tune(config)
            if name != "c":
                evaluate(config, grounding=False, start=False, resamples=20, progress=False)
    return root


@pytest.fixture
def runs(seeds, root):
    """Their copy, in a root of its own."""
    shutil.copytree(seeds, root, dirs_exist_ok=True)
    return {name: Run(root / "outputs" / name) for name in "abc"}


def models_of(*runs):
    return [load_model(str(run.model_folder), run.config) for run in runs]


@pytest.mark.parametrize("method", ["generate", "rank"])
def test_a_model_beside_itself_answers_as_it_does_alone(runs, method):
    (model, processor), (again, _) = models_of(runs["a"], runs["a"])
    config = load_config(None, {"generate.method": method, "generate.num_beams": 2, "generate.max_new_tokens": 6}, "x")
    splits = load_splits(runs["a"].config)
    candidates = load_candidates(config, splits, processor)
    alone = predict(model, processor, splits["test"], config, candidates, progress=False)
    together = predict(AnsweringTogether([model, again]), processor, splits["test"], config, candidates, progress=False)
    assert [row["prediction"] for row in together] == [row["prediction"] for row in alone]
    for key in ("score", "yes_probability"):
        np.testing.assert_allclose([row[key] for row in together], [row[key] for row in alone], atol=2e-6)


def test_answers_together_are_scored_by_the_mean_of_log_probabilities(runs):
    (a, processor), (b, _) = models_of(runs["a"], runs["b"])
    splits = load_splits(runs["a"].config)
    rows = predict(AnsweringTogether([a, b]), processor, splits["test"], runs["a"].config, progress=False)
    batch = processor(
        images=[splits["test"].image(0)], text=[rows[0]["question"]], return_tensors="pt", add_special_tokens=True
    )
    ids = processor.tokenizer(rows[0]["prediction"], return_tensors="pt").input_ids
    ids[:, 0] = a.decoder_start_token_id
    expected = []
    for model in (a, b):
        inputs = batch["input_ids"].clone()
        inputs[:, 0] = model.config.text_config.vocab_size - 1
        questions = model.encode(inputs, batch["attention_mask"], batch["pixel_values"])
        real = torch.ones_like(ids, dtype=torch.bool)
        expected.append(model.answer_log_probabilities(questions, torch.tensor([0]), ids, real).item())
    assert rows[0]["score"] == pytest.approx(np.mean(expected), abs=2e-3)


def test_an_ensemble_is_a_run_with_a_page_that_compares_it_with_the_best_single_one(runs):
    run = ensemble(["a", "b"], "both", resamples=50, progress=False)
    scores = run.metrics("test")
    together = scores["ensemble"]
    assert (
        together["best_single"] in ("a", "b") and together["exact_match"]["n"] == scores["overall"]["exact_match"]["n"]
    )
    assert together["exact_match"]["b"] == pytest.approx(scores["overall"]["exact_match"]["value"])
    best = runs[together["best_single"]].metrics("test")["overall"]["exact_match"]["value"]
    assert together["exact_match"]["a"] == pytest.approx(best)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Together" in page and "2 times the time and memory of one" in page
    before = {name: (runs[name].folder / "metrics-test.json").read_bytes() for name in "ab"}
    assert ensemble(["a", "b"], "both", resamples=50, progress=False).metrics("test")["ensemble"] == together  # again
    assert before == {name: (runs[name].folder / "metrics-test.json").read_bytes() for name in "ab"}


def test_what_the_start_of_a_member_had_learnt_is_told(runs, monkeypatch):
    said = {"a": ["one"], "b": ["one", "other"]}
    monkeypatch.setattr("blipvqa.ensemble.learnt_before", lambda config, _splits, split: said[config.name])
    run = ensemble(["a", "b"], "both", resamples=10, progress=False)
    assert run.metrics("test")["warnings"][1:3] == ["one", "other"]


def test_a_soup_is_the_mean_of_the_weights_and_is_evaluated_like_any_run(runs):
    run = soup(["a", "b"], "mean")
    mixed, a, b = (
        load_model(str(each.model_folder), runs["a"].config)[0].state_dict() for each in (run, *list(runs.values())[:2])
    )
    for key, weight in mixed.items():
        if weight.is_floating_point():
            torch.testing.assert_close(weight, (a[key] + b[key]) / 2)
    evaluate(run.config, grounding=False, resamples=20, progress=False)
    assert run.metrics("test")["overall"]["exact_match"]["n"] > 0
    assert main(["report", "--name", "mean"]) == 0


def test_a_greedy_soup_is_no_worse_on_validation_than_its_best_member(runs):
    run = soup(["b", "a"], "greedy", greedy=True)
    tried = run.state["tried"]
    alone = [each["loss"] for each in tried if len(each["members"]) == 1] if "loss" in tried[0] else None
    metric = next(key for key in tried[0] if key != "members")
    best = max(each[metric] for each in tried if len(each["members"]) == 1) if alone is None else min(alone)
    chosen = [["b", "a"].index(name) for name in run.state["soup"]]
    value = next(each[metric] for each in tried if each["members"] == chosen)
    assert value >= best if alone is None else value <= best


def test_no_soup_is_chosen_by_a_measure_of_which_more_is_not_better(tiny):
    """Runs of an older version may have one: the worst member was begun with."""
    with pytest.raises(ConfigError, match="no measure of which more is better"):
        _greedy(tiny(train__metric="yes_no_predicted_yes"), {}, None, None, [])


def test_a_soup_is_chosen_by_all_of_validation_and_sets_none_of_it_aside(root):
    """Of another seed's run other questions chose the epoch: none is free to calibrate answer sets on."""
    few = TINY | {"train.epochs": 1, "train.evaluate_questions": 1}
    configs = [load_config(None, few | {"seed": seed}, name) for name, seed in (("a", 0), ("b", 1))]
    validation = load_splits(configs[0])["validation"]
    for config in configs:
        fine_tune(config)
    assert rows_aside(validation, Run(root / "outputs" / "a"))
    run = soup(["a", "b"], "greedy", greedy=True)
    assert run.config.train.evaluate_questions is None
    assert rows_aside(validation, run) == []


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a"], ConfigError, "two different ones or more"),
        (["a", "a"], ConfigError, "two different ones or more"),
        (["a", "c"], RunError, "made of other rows"),
        (["a", "nobody"], RunError, "there is no run 'nobody'"),
    ],
)
def test_runs_that_cannot_be_one_are_refused(runs, names, error, message):
    for join in (ensemble, soup):
        with pytest.raises(error, match=message):
            join(names, "both")
    assert not Run(runs["a"].folder.with_name("both")).exists


def test_models_of_other_sizes_have_no_mean_and_runs_that_read_other_lengths_are_not_one(root):
    """The mean of one layer and two was made of the first alone, without a word, and the other way round a KeyError."""
    sizes = TINY["model.scratch"]
    changes = {
        "a": {},
        "deep": {"model.scratch": sizes | {"layers": 2}},
        "wide": {"model.scratch": sizes | {"hidden_size": 16}},
        "heads": {"model.scratch": sizes | {"heads": 1}},  # the same shapes, read as other products
        "short": {"data.max_question_tokens": 6},
    }
    for name, changed in changes.items():
        fine_tune(load_config(None, TINY | {"train.epochs": 1} | changed, name))
    for names in (["a", "deep"], ["deep", "a"], ["a", "wide"], ["a", "heads"]):
        with pytest.raises(ConfigError, match=f"'{names[0]}' and '{names[1]}' are models of other sizes"):
            soup(names, "both")
    for join in (ensemble, soup):
        with pytest.raises(ConfigError, match="'a' and 'short' differ in the lengths that are read"):
            join(["a", "short"], "both")
    assert not (root / "outputs" / "both").exists()


def test_another_run_is_not_overwritten(runs, capsys):
    before = runs["c"].config
    assert main(["ensemble", "a", "b", "--name", "c"]) == 2
    assert main(["ensemble", "a", "b", "--name", "c", "--soup", "uniform"]) == 2
    assert "is a run with a model" in (said := capsys.readouterr().err) and "is another run" in said
    assert runs["c"].config == before
