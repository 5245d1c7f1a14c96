"""All pairs of two lists of 256-bit codes that differ in few bits, without looking at every pair.

Notable:
- Multi-index hashing (Norouzi, Punjani and Fleet 2012): the bits are cut into bands. Where two codes differ in at
  most T bits, at least one of m bands differs in at most T / m (the pigeonhole principle), so codes are looked up by
  band, with every mask of so few bits. Nothing is missed, and each pair comes once, from the first band that has it.
- How many bands is chosen by what it would cost. For few codes, or where most codes are alike, comparing each with
  each is cheaper and gives the same pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

BITS = 256
WIDTHS = range(10, 23)  # bits of a band: a table of 2 ** 22 entries takes 20 MiB
AT_ONCE = 2**18  # candidates compared at a time: 8 MiB of codes on either side
LOOKED_UP, COMPARED, EACH = 1.5, 20.0, 8.0  # nanoseconds: a look-up, a candidate, a pair of each with each
OVERHEAD = 20_000  # look-ups that the calls of one mask take as long as
SAMPLE = 20_000  # pairs that tell how alike the codes are

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # positions in a and in b, and in how many bits they differ


@dataclass(frozen=True)
class Band:
    """Bits `start` to `stop` of a code, and in how many of them two may differ to be compared."""

    start: int
    stop: int
    radius: int

    @property
    def width(self) -> int:
        return self.stop - self.start

    @property
    def masks(self) -> int:
        return sum(math.comb(self.width, k) for k in range(self.radius + 1))


def close_pairs(a: np.ndarray, b: np.ndarray, most: int) -> Iterator[Pairs]:
    """Every pair of codes `a [N,32]`, `b [M,32]` (uint8) that differ in at most `most` bits, in pieces, in no order."""
    if len(a) and len(b):
        bands = _cheapest(a, b, most)
        yield from _each_with_each(a, b, most) if bands is None else _by_bands(a, b, bands, most)


def _cheapest(a: np.ndarray, b: np.ndarray, most: int) -> list[Band] | None:
    """The bands to look up by; None where comparing each code with each is cheaper."""
    draw = np.random.default_rng(0)
    first, second = draw.integers(len(a), size=SAMPLE), draw.integers(len(b), size=SAMPLE)
    differing = np.unpackbits(a[first] ^ b[second], axis=1)
    pairs, cheapest, least = len(a) * len(b), None, len(a) * len(b) * EACH
    for width in WIDTHS:
        bands = _bands(math.ceil(BITS / width), most)
        cost = (len(b) + OVERHEAD) * LOOKED_UP * sum(band.masks for band in bands)
        for band in bands if cost < least else ():
            alike = np.mean(differing[:, band.start : band.stop].sum(1) <= band.radius)
            cost += pairs * COMPARED * max(alike, band.masks / 2**band.width)
        if cost < least:
            cheapest, least = bands, cost
    return cheapest


def _bands(count: int, most: int) -> list[Band]:
    """`count` bands, and the smallest radii that miss nothing: if all were exceeded, more than `most` bits would
    differ."""
    edges = [BITS * k // count for k in range(count + 1)]
    radius, larger = divmod(most + 1 - count, count)  # of the first `larger` bands it is one more
    radii = [radius + (k < larger) for k in range(count)]
    spans = zip(edges[:-1], edges[1:], radii, strict=True)
    return [Band(start, stop, radius) for start, stop, radius in spans if radius >= 0]


def _each_with_each(a: np.ndarray, b: np.ndarray, most: int) -> Iterator[Pairs]:
    rows = max(1, AT_ONCE // len(a))
    every, words = np.arange(len(a)), (_words(a), _words(b))
    for start in range(0, len(b), rows):
        of_b = np.arange(start, min(start + rows, len(b)))
        yield from _compared(*words, np.tile(every, len(of_b)), np.repeat(of_b, len(a)), most)


def _by_bands(a: np.ndarray, b: np.ndarray, bands: list[Band], most: int) -> Iterator[Pairs]:
    words, earlier = (_words(a), _words(b)), []
    for band in bands:
        keys_a, keys_b = _keys(a, band), _keys(b, band)
        for candidates in _candidates(keys_a, keys_b, band):
            for first, second, bits in _compared(*words, *candidates, most):
                new = np.ones(len(first), bool)
                for of_a, of_b, radius in earlier:
                    new &= np.bitwise_count(of_a[first] ^ of_b[second]) > radius
                yield first[new], second[new], bits[new]
        earlier.append((keys_a, keys_b, band.radius))


def _words(codes: np.ndarray) -> np.ndarray:
    """`[4,N]`, each row one after the other in memory."""
    return np.ascontiguousarray(codes.view(np.uint64).T)


def _compared(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray, most: int) -> Iterator[Pairs]:
    """Those of the pairs of positions `first`, `second` of words `[4,N]` that differ in at most `most` bits, word by
    word: two codes of different origin differ in more after the second word, mostly, and need not be read on."""
    bits = np.zeros(len(first), np.int64)
    for word_a, word_b in zip(a, b, strict=True):
        bits = bits + np.bitwise_count(word_a[first] ^ word_b[second])
        close = bits <= most
        first, second, bits = first[close], second[close], bits[close]
    if len(first):
        yield first, second, bits


def _keys(codes: np.ndarray, band: Band) -> np.ndarray:
    """A band's bits as a number, `[N]`."""
    keys = np.zeros(len(codes), np.uint32)
    for bit in range(band.start, band.stop):
        keys = keys << 1 | (codes[:, bit // 8] >> (7 - bit % 8) & 1)
    return keys


def _candidates(keys_a: np.ndarray, keys_b: np.ndarray, band: Band) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of all pairs whose keys differ in at most `band.radius` bits, each pair once."""
    order_a, order_b = np.argsort(keys_a, kind="stable"), np.argsort(keys_b, kind="stable")
    sorted_b = keys_b[order_b]  # neighbours in the table are looked up after one another
    counts = np.bincount(keys_a, minlength=2**band.width)
    ends = np.cumsum(counts)
    occupied = counts > 0
    first, second, waiting = [], [], 0
    for mask in _masks(band):
        wanted = sorted_b ^ mask
        hits = np.flatnonzero(occupied[wanted])
        while len(hits):
            many = counts[wanted[hits]]
            part = max(1, int(np.searchsorted(np.cumsum(many), AT_ONCE, side="right")))
            chosen, many = hits[:part], many[:part]
            starts = ends[wanted[chosen]] - many
            places = np.repeat(starts - np.cumsum(many) + many, many) + np.arange(many.sum())
            first.append(order_a[places])
            second.append(np.repeat(order_b[chosen], many))
            hits, waiting = hits[part:], waiting + len(places)
            if waiting >= AT_ONCE:
                yield np.concatenate(first), np.concatenate(second)
                first, second, waiting = [], [], 0
    if waiting:
        yield np.concatenate(first), np.concatenate(second)


def _masks(band: Band) -> Iterator[np.uint32]:
    for bits in range(band.radius + 1):
        for places in combinations(range(band.width), bits):
            yield np.uint32(sum(1 << place for place in places))
