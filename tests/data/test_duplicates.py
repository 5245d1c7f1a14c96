"""Near-duplicates stay bounded where every picture looks like every other, and all of them are counted."""

import resource
import time

import numpy as np
import pytest
import torch

from blipvqa.data import duplicates
from blipvqa.data.duplicates import duplicate_notes, near_duplicates, perceptual_hash


class Split:
    """What `near_duplicates` needs of a data set: rows with an `image_id`, and pixels uint8 `[3, 32, 32]`."""

    def __init__(self, name, pictures):
        self.pictures = pictures
        self.rows = [{"id": f"{name}/{i}", "image_id": f"{name}{i}"} for i in range(len(pictures))]

    def pixels(self, i):
        return torch.from_numpy(self.pictures[i])


def grey(value) -> np.ndarray:
    return np.full((3, 32, 32), value % 256, np.uint8)


def test_a_million_pairs_are_counted_and_the_likest_listed():
    splits = {
        "train": Split("train", [grey(i) for i in range(1000)]),
        "test": Split("test", [grey(i) for i in range(1000)]),
    }
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


@pytest.mark.parametrize("count", [0, 1])
def test_few_pairs_are_all_listed(count):
    draw = np.random.default_rng(1)
    pictures = [draw.integers(0, 256, (3, 32, 32)).astype(np.uint8) for _ in range(4)]
    splits = {"train": Split("train", pictures[:2]), "test": Split("test", pictures[2:] + pictures[:count])}
    pairs = near_duplicates(splits)
    assert (len(pairs), pairs.total, pairs.cut_off) == (count, count, False)
    assert len(duplicate_notes(pairs)) == count
