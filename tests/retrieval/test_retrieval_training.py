"""A tiny run on retrieval: it learns, goes on bit for bit after a kill, and does not depend on the processes."""

import json

import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file
from same_run import in_two_processes, weights
from transformers import BlipConfig, BlipForImageTextRetrieval

from blipvqa import fine_tune, load_config, load_model
from blipvqa.config.knobs import ConfigError
from blipvqa.models.contrast import EMPTY
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.retrieval.batches import RetrievalCollator
from blipvqa.runs.run import RunError

RETRIEVAL = TINY | {"task": "retrieval", "retrieval.queue": 64, "train.questions_per_image": 2}


def small(name="tiny", **overrides):
    return load_config(None, RETRIEVAL | {key.replace("__", "."): v for key, v in overrides.items()}, name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose momentum follows fast: the drawn data is small."""
    folder = tmp_path_factory.mktemp("retrieval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        return fine_tune(small(train__epochs=6, retrieval__momentum=0.9, train__learning_rate=2e-3))


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


def test_two_processes_give_the_curve_of_one(root):
    """Batches of 13 pairs: 6 and 7 a process, whose pictures and lengths of text differ."""
    settings = {"train.batch_size": 13, "train.questions_per_image": 3}
    one, two = fine_tune(load_config(None, RETRIEVAL | settings, "one")), in_two_processes(root, RETRIEVAL | settings)
    assert two.environment["processes"] == 2
    for key in ("loss", "loss_itc", "loss_itm", "gradient_norm"):
        a, b = ([row[key] for row in run.history if row["type"] == "step"] for run in (one, two))
        assert a == pytest.approx(b, rel=1e-4)
    a, b = ([row["loss"] for row in run.history if row["type"] == "epoch"] for run in (one, two))
    assert a == pytest.approx(b, rel=1e-4)


def steps(run):
    return [row["loss"] for row in run.history if row["type"] == "step"]


def test_a_contrastive_batch_is_never_cut(root, monkeypatch):
    """Neither by a setting, before the data is read, nor by memory that runs out."""
    monkeypatch.setattr("blipvqa.training.loop.load_splits", lambda _: pytest.fail("the data was read"))
    with pytest.raises(ConfigError, match=r"train\.micro_batch_size: a row's loss in retrieval depends on the other"):
        fine_tune(small(train__micro_batch_size=8))
    monkeypatch.undo()
    monkeypatch.setenv("BLIPVQA_ROOT", str(root))

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(BlipForRetrieval, "_pair_logits", full)
    with pytest.raises(RunError, match="out of memory with 24 rows: a row's loss in retrieval depends on"):
        fine_tune(small(retrieval__rerank=0))


def test_a_checkpoint_keeps_momentum_queue_and_temperature(trained):
    (path,) = (trained.folder / "checkpoints").glob("*.safetensors")
    tensors = load_file(path)
    queue = tensors["remembered.queue.ids"]
    assert queue.shape == (64, 2) and (queue != EMPTY).all() and tensors["remembered.queue.pictures"].dim() == 2
    assert not torch.equal(tensors["remembered.momentum.vision_proj.weight"], tensors["model.vision_proj.weight"])
    assert tensors["model.temp"].item() != pytest.approx(0.07, abs=1e-6)
    exported = json.loads((trained.model_folder / "config.json").read_text())
    assert exported["architectures"] == ["BlipForImageTextRetrieval"]
    assert set(weights(trained)) == set(BlipForImageTextRetrieval(BlipConfig(**exported)).state_dict())


def test_recomputed_activations_and_adapters_train_too(root):
    plain = fine_tune(small("plain", train__epochs=1))
    recomputed = fine_tune(small("recomputed", train__epochs=1, train__gradient_checkpointing=True))
    assert steps(recomputed) == pytest.approx(steps(plain), rel=1e-5)
    adapted = fine_tune(small("adapted", train__epochs=1, model__lora={"rank": 2, "towers": ["text_encoder"]}))
    tensors = load_file(next((adapted.folder / "checkpoints").glob("*.safetensors")))
    momentum = [name for name in tensors if name.startswith("remembered.momentum")]
    assert momentum and all("lora" in name for name in momentum)  # what is frozen is no copy's to follow
    assert type(load_model(str(adapted.model_folder))[0]) is BlipForRetrieval


def test_batches_of_one_picture_or_of_one_pair_train(root):
    for name, size, rows in (("pairs", 1, 4), ("picture", 24, 2)):
        limit = {"train": rows, "validation": 4}
        run = fine_tune(small(name, train__epochs=1, train__batch_size=size, data__limit=limit))
        rows = [row for row in run.history if row["type"] == "step"]
        assert all(row["loss_itm"] == 0 and row["loss_itc"] > 0 for row in rows)


def test_texts_are_cleaned_cut_and_counted_and_ids_tell_pictures_apart(trained):
    _, processor = load_model(str(trained.model_folder))
    collator = RetrievalCollator(processor, trained.config.retrieval.model_copy(update={"max_words": 4}))
    rows = [
        {"caption": text, "image_id": image, "pixels": torch.zeros(3, 8, 8)}
        for text, image in (("Dense.", "a"), ("tissue in silver stain with pigment", "b"), ("Dense!", "a"))
    ]
    batch = collator(rows)
    tokenizer = processor.tokenizer
    assert tokenizer.batch_decode(batch["input_ids"], skip_special_tokens=True) == [
        "dense",
        "tissue in silver stain",
        "dense",
    ]
    assert (batch["input_ids"][:, 0] == tokenizer.convert_tokens_to_ids("[CLS]")).all()
    a, b, again = batch["image_ids"].tolist()
    assert a == again != b and min(a, b) >= 0 and batch["pixel_values"].shape[0] == 2
    dense, other, dense_too = batch["text_ids"].tolist()
    assert dense == dense_too != other and min(dense, other) >= 0
    assert collator.count_cut(rows) == {"caption": 1}
