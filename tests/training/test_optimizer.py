"""Rates, decay and adapters."""

import itertools

import pytest
import torch
from same_run import assert_same_run

import blipvqa.training.loop as training
from blipvqa import fine_tune, load_model
from blipvqa.models.adapters import add_lora, merged
from blipvqa.training.optimizer import learning_rate, make_optimizer
from blipvqa.vqa.task import VQA


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


def test_adapters_on_published_weights_are_drawn_from_the_seed(tiny):
    start = fine_tune(tiny("start", train__epochs=0)).model_folder
    settings = {"model__name": str(start), "model__lora": {"rank": 2}, "train__epochs": 1}
    one = fine_tune(tiny("one", **settings))
    torch.rand(7)  # what else a process drew before must not matter
    assert_same_run(one, fine_tune(tiny("two", **settings)))
