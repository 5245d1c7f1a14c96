"""States of pictures that no training changes are computed once, and are those that would be computed again."""

import copy
import errno

import pytest
import torch
from conftest import REFERENCE

from blipvqa.models import pictures
from blipvqa.models.pictures import KeptStates
from blipvqa.models.vqa import BlipForVQA


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def model():
    return BlipForVQA.from_pretrained(REFERENCE / "blip-tiny").eval()


def test_kept_states_are_those_of_the_tower_whatever_the_batch(model, pixels, tmp_path):
    usual = model.picture_states(pixels)
    model.requires_grad_(False).keep_states(KeptStates(tmp_path, 10**9))
    together = model.picture_states(pixels)
    torch.testing.assert_close(together, usual, rtol=1e-5, atol=1e-5)
    model.vision_model = None  # nothing is encoded any more
    for batch in ([3], [4, 0, 0], [2, 1]):
        assert torch.equal(model.picture_states(pixels[batch]), together[batch])
    assert list(tmp_path.iterdir()) == []  # no name on the disk, so nothing stays after a kill


def test_another_number_format_has_states_of_its_own(model, pixels, tmp_path):
    model.requires_grad_(False).keep_states(KeptStates(tmp_path, 10**9))
    exact = model.picture_states(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.picture_states(pixels)
    assert not torch.equal(exact, rough) and torch.equal(exact, model.picture_states(pixels))


def test_beyond_the_limit_or_on_a_full_disk_pictures_are_encoded_as_ever(model, pixels, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    usual = model.picture_states(pixels)
    states, encode = KeptStates(tmp_path, 1000), model.requires_grad_(False).picture_states
    assert torch.allclose(states.of(pixels, encode), usual, atol=1e-5)
    assert states.bytes == 0
    assert str(states) == (
        "states of 0 pictures are kept, 0.0 GB on the disk; data.cache_gigabytes is reached, so the others are encoded "
        "every time"
    )
    monkeypatch.setattr(pictures, "_allocate", full)
    states = KeptStates(tmp_path, 10**9)
    for _ in range(2):
        assert torch.allclose(states.of(pixels, encode), usual, atol=1e-5)
    assert states.note == "No space left on device" and states.places == {}


def test_more_pictures_than_a_file_holds(model, tmp_path):
    many = torch.arange(70, dtype=torch.uint8).view(70, 1, 1, 1).expand(70, 3, 32, 32).contiguous()
    model.requires_grad_(False).keep_states(KeptStates(tmp_path, 10**9))
    first = model.picture_states(many)
    assert len(model.kept.shards) == 2
    assert torch.equal(model.picture_states(many.flip(0)), first.flip(0))


def test_only_a_frozen_tower_sees_the_same_and_a_copy_shares_what_it_kept(model, tmp_path):
    assert not model.sees_the_same()
    model.vision_model.requires_grad_(False)
    assert model.sees_the_same()
    model.keep_states(KeptStates(tmp_path, 10**9))
    assert copy.deepcopy(model).kept is model.kept
    model.config.vision_config.attention_dropout = 0.1
    assert not model.sees_the_same()


def test_towers_are_told_apart_and_what_comes_once_is_not_kept(model, pixels, tmp_path):
    other = BlipForVQA.from_pretrained(REFERENCE / "blip-tiny").eval()
    torch.nn.init.zeros_(other.vision_model.post_layernorm.weight)
    kept = KeptStates(tmp_path, 10**9)
    for each, tower in ((model, "one"), (other, "other")):
        each.requires_grad_(False).keep_states(kept, tower)
        usual = each.encode_pixels(each.vision_model, pictures.normalized(pixels))
        torch.testing.assert_close(each.picture_states(pixels[:2]), usual[:2], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(each.picture_states(pixels, once=True), usual, rtol=1e-5, atol=1e-5)
    assert len(kept.places) == 4
