"""Near-duplicates: which changes of a picture are seen, and that all of them are counted in bounded memory."""

import io
import resource
import time

import numpy as np
import pytest
import torch
from conftest import VQA_RAD_SAMPLE
from PIL import Image, ImageEnhance

from blipvqa.data import duplicates
from blipvqa.data.duplicates import duplicate_notes, near_duplicates, perceptual_hash
from blipvqa.data.images import resize_image


class Split:
    """What `near_duplicates` needs of a data set: the row of each picture, and pixels uint8 `[3, 32, 32]`."""

    def __init__(self, name, pictures):
        self.pictures = pictures
        self.rows = [{"id": f"{name}/{i}", "image_id": f"{name}{i}"} for i in range(len(pictures))]

    def row_of_picture(self):
        return {row["image_id"]: (i, 0) for i, row in enumerate(self.rows)}

    def pixels(self, i, place):
        return torch.from_numpy(self.pictures[i])


def alike(count: int) -> list[np.ndarray]:
    """The same noise with a little noise more."""
    draw = np.random.default_rng(count)
    base = np.random.default_rng(0).integers(20, 230, (3, 32, 32))
    return [(base + draw.integers(-3, 4, base.shape)).astype(np.uint8) for _ in range(count)]


def test_a_million_pairs_are_counted_and_the_likest_listed():
    splits = {"train": Split("train", alike(1000)), "test": Split("test", alike(1000))}
    near_duplicates({name: Split(name, data.pictures[:9]) for name, data in splits.items()})
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    pairs = near_duplicates(splits)
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB
    assert (len(pairs), pairs.total, pairs.cut_off) == (duplicates.MOST_PAIRS, 1_000_000, True)
    notes = duplicate_notes(pairs)
    assert "1,000 test images look like another image of train" in notes[0]
    assert "of 1,000,000 pairs of images that look alike the likest 10,000 are listed" in notes[1]


def test_the_list_is_cut_off_at_the_least_like(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 3)
    draw = np.random.default_rng(0)
    base = draw.integers(0, 256, (3, 32, 32)).astype(np.uint8)
    noisy = [np.clip(base + draw.normal(0, 2 * i, base.shape), 0, 255).astype(np.uint8) for i in range(6)]
    splits = {"train": Split("train", noisy), "test": Split("test", noisy)}
    bits = sorted(
        int(np.bitwise_count(perceptual_hash(one) ^ perceptual_hash(other)).sum()) for one in noisy for other in noisy
    )
    pairs = near_duplicates(splits)
    assert [pair["bits"] for pair in pairs] == bits[:3]
    assert pairs.total == sum(b <= duplicates.MOST_BITS for b in bits)


def test_pictures_of_one_colour_are_compared_with_none_and_counted():
    draw = np.random.default_rng(0)
    flat = [np.full((3, 32, 32), value, np.uint8) for value in (30, 30, 200)]
    nearly = (flat[0] + draw.integers(0, 2, (3, 32, 32))).astype(np.uint8)
    other = draw.integers(0, 256, (3, 32, 32)).astype(np.uint8)
    pairs = near_duplicates({"train": Split("train", flat), "test": Split("test", [*flat, nearly, other])})
    assert (list(pairs), pairs.total, pairs.flat) == ([], 0, {"train": 3, "test": 4})
    assert pairs.counts == {"most_bits": 48, "pairs": 0, "images": {}, "flat": {"train": 3, "test": 4}}
    assert "train: 3 images are almost one colour and compared with none" in duplicate_notes(pairs)[0]


def changed(picture: Image.Image, how: str) -> Image.Image:
    width, height = picture.size
    if how == "cropped by 2 %":
        return picture.crop((width // 100, height // 100, width - width // 100, height - height // 100))
    if how == "turned by 1 degree":
        return picture.rotate(1, Image.Resampling.BICUBIC)
    if how == "half the size":
        return picture.resize((width // 2, height // 2), Image.Resampling.BILINEAR)
    if how == "darker, without colour":
        return ImageEnhance.Brightness(picture).enhance(0.7).convert("L").convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
    "how", ["cropped by 2 %", "turned by 1 degree", "half the size", "darker, without colour", "JPEG, quality 30"]
)
def test_a_real_picture_that_was_changed_a_little_is_a_look_alike_and_no_other_is(how):
    pictures = [Image.open(file).convert("RGB") for file in sorted(VQA_RAD_SAMPLE.rglob("*.jpg"))]
    assert len(pictures) > 5
    train = Split("train", [resize_image(picture, 128) for picture in pictures])
    test = Split("test", [resize_image(changed(picture, how), 128) for picture in pictures])
    pairs = near_duplicates({"train": train, "test": test})
    assert sorted(pair["rows"] for pair in pairs) == [(i, i) for i in range(len(pictures))]


@pytest.mark.parametrize("count", [0, 1])
def test_few_pairs_are_all_listed(count):
    draw = np.random.default_rng(1)
    pictures = [draw.integers(0, 256, (3, 32, 32)).astype(np.uint8) for _ in range(4)]
    splits = {"train": Split("train", pictures[:2]), "test": Split("test", pictures[2:] + pictures[:count])}
    pairs = near_duplicates(splits)
    assert (len(pairs), pairs.total, pairs.cut_off) == (count, count, False)
    assert len(duplicate_notes(pairs)) == count
