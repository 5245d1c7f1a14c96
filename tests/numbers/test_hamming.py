"""Close pairs of codes: exactly those that comparing each with each gives, by every number of bands."""

import numpy as np
import pytest

from blipvqa.numbers import hamming
from blipvqa.numbers.hamming import close_pairs


def codes_with_neighbours(count_a: int, count_b: int) -> tuple[np.ndarray, np.ndarray]:
    """Random codes; half of those of b are one of a with up to 70 bits turned."""
    draw = np.random.default_rng(0)
    a, b = (draw.integers(0, 256, (count, 32), dtype=np.uint8) for count in (count_a, count_b))
    for k in range(count_b // 2):
        bits = np.unpackbits(a[draw.integers(count_a)])
        bits[draw.choice(256, draw.integers(0, 71), replace=False)] ^= 1
        b[k] = np.packbits(bits)
    return a, b


def collected(pieces) -> list[tuple[int, int, int]]:
    return sorted(pair for piece in pieces for pair in zip(*(part.tolist() for part in piece), strict=True))


@pytest.mark.parametrize("most", [0, 1, 16, 33, 48])
def test_bands_miss_no_pair_and_repeat_none(most):
    a, b = codes_with_neighbours(300, 200)
    differing = np.bitwise_count(a[:, None] ^ b[None]).sum(2, dtype=int)
    expected = sorted((i, j, differing[i, j]) for i, j in zip(*np.nonzero(differing <= most), strict=True))
    assert len(expected) > 0
    assert collected(close_pairs(a, b, most)) == expected
    for count in (13, 16, 26):
        bands = hamming._bands(count, most)
        assert collected(hamming._by_bands(a, b, bands, most)) == expected


def test_many_codes_are_looked_up_and_codes_that_are_all_alike_compared():
    draw = np.random.default_rng(0)
    many = draw.integers(0, 256, (100_000, 32), dtype=np.uint8)
    bands = hamming._cheapest(many, many, 48)
    looked_up = sum(band.masks for band in bands) * len(many)
    assert looked_up < 0.2 * len(many) ** 2
    alike = np.packbits(np.unpackbits(many[0]) ^ (draw.random((1000, 256)) < 0.02), axis=1)
    assert hamming._cheapest(alike, alike, 48) is None
    assert sum(len(first) for first, _, _ in close_pairs(alike, alike, 48)) == 1_000_000
    assert collected(close_pairs(many[:0], many, 48)) == []
