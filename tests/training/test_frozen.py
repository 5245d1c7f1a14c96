"""Frozen towers: they stay as they were, and a frozen vision tower sees each picture once."""

import shutil

import pytest
import torch
from same_run import losses, weights

from blipvqa import fine_tune, load_model
from blipvqa.config.knobs import ConfigError
from blipvqa.models import pictures
from blipvqa.models.pictures import SeesPictures
from blipvqa.runs.run import RunError


@pytest.mark.parametrize("settings", [{"model__freeze": ["vision_model"]}, {"model__lora": {"rank": 4}}])
def test_a_frozen_vision_tower_sees_each_picture_once_and_learning_is_the_same(tiny, monkeypatch, settings):
    seen, usual = [], SeesPictures.encode_pixels

    def counted(tower, pixels):
        seen.append(len(pixels))
        return usual(tower, pixels)

    monkeypatch.setattr(SeesPictures, "encode_pixels", staticmethod(counted))
    kept = fine_tune(tiny("kept", **settings))
    once = sum(seen)
    assert set(seen) == {1}  # each by itself
    seen.clear()
    monkeypatch.setattr(SeesPictures, "sees_the_same", lambda self: False)
    anew = fine_tune(tiny("anew", **settings))
    assert sum(seen) > 2 * once
    assert losses(kept) == pytest.approx(losses(anew), rel=1e-4)
    start = weights(fine_tune(tiny("start", train__epochs=0)))
    for run in (kept, anew):
        ended = weights(run)
        frozen = [name for name in start if name.startswith("vision_model.")]
        assert frozen and all(torch.equal(start[name], ended[name]) for name in frozen)
        assert not all(torch.equal(start[name], ended[name]) for name in start if "crossattention" in name)


def test_pictures_that_change_from_epoch_to_epoch_are_not_kept(tiny, monkeypatch):
    monkeypatch.setattr(pictures, "KeptStates", None)  # making one would fail
    fine_tune(tiny("augmented", model__freeze=["vision_model"], train__augment="light"))
    fine_tune(tiny("trained"))


def test_what_cannot_be_frozen_is_refused_and_can_be_corrected(tiny):
    with pytest.raises(ConfigError, match=r"with lora\.rank every tower is frozen already"):
        tiny(model__freeze=["vision_model"], model__lora__rank=4)
    with pytest.raises(ConfigError, match="nothing is left to train"):
        fine_tune(tiny("all", model__freeze=["vision_model", "text_encoder", "text_decoder"]))
    assert fine_tune(tiny("all", model__freeze=["text_encoder"], train__epochs=0)).finished


@pytest.mark.parametrize("settings", [{"model__freeze": ["vision_model"]}, {"model__lora": {"rank": 2}}])
def test_a_base_folder_of_other_weights_is_refused_when_a_run_goes_on(tiny, root, settings):
    """No checkpoint holds frozen weights: trained ones would go on beside those of another model, and be exported."""
    base, other = (
        fine_tune(tiny(name, seed=seed, train__epochs=0)).model_folder for name, seed in (("a", 1), ("b", 2))
    )
    shutil.copytree(base, root / "base")
    config = tiny("run", model__name="base", train__max_minutes=1e-6, **settings)
    fine_tune(config)
    shutil.copy(other / "model.safetensors", root / "base")
    with pytest.raises(RunError, match=r"begun on other weights than model\.name \(base\) holds now"):
        fine_tune(config)
    shutil.copy(base / "model.safetensors", root / "base")
    assert fine_tune(config).state["step"] == 2


def test_a_file_overwritten_in_its_place_changes_no_loaded_weight(tiny):
    folder = fine_tune(tiny(train__epochs=0)).model_folder
    model, _ = load_model(str(folder))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with open(folder / "model.safetensors", "r+b") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        file.write(b"\x7f" * 100_000)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
