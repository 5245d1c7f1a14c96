"""Near-duplicates: the same picture saved twice, scaled or compressed anew, which equal bytes do not show.

A difference hash (Krawetz 2013) of 16 x 16 bits: whether each of 17 x 16 cells is brighter than its right neighbour.
Of the 256 bits, pictures of one origin differ in few; unrelated ones in about half.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from PIL import Image

from blipvqa.numbers.grouping import rows_by

MOST_BITS = 16  # of 256: a picture saved anew differs in 0 to 11, two pictures of VQA-RAD in 24 and more
MOST_PAIRS = 10_000  # pairs of two splits that are listed: where all pictures look alike, there are N x N


class NearDuplicates(list):
    """The likest pairs, each `{"splits": (a, b), "rows": (i, j), "bits": how many of 256 differ}`.

    `total` counts all pairs and `images`, by (a, b), the images of b that look like one of a, also where the list was
    cut off.
    """

    def __init__(self, pairs: list[dict], total: int, images: dict[tuple[str, str], int]):
        super().__init__(pairs)
        self.total, self.images = total, images

    @property
    def cut_off(self) -> bool:
        """Whether there are more pairs than listed."""
        return self.total > len(self)


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """32 bytes of a uint8 `[3, S, S]` picture."""
    grey = Image.fromarray(pixels.transpose(1, 2, 0)).convert("L").resize((17, 16), Image.Resampling.BOX)
    cells = np.asarray(grey).astype(np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


def near_duplicates(splits: Mapping) -> NearDuplicates:
    """Pairs of different images that look alike and stand in two splits, the likest first; rows are positions.

    At most MOST_PAIRS of each two splits are listed; all are counted.
    """
    images = {}
    for name, data in splits.items():
        first = {image_id: rows[0] for image_id, rows in rows_by(row["image_id"] for row in data.rows).items()}
        hashes = np.stack([perceptual_hash(data.pixels(i).numpy()) for i in first.values()])
        images[name] = np.array(list(first)), np.array(list(first.values())), hashes.view(np.uint64)
    pairs, total, counts = [], 0, {}
    for a, b in combinations(images, 2):
        (ids_a, rows_a, hashes_a), (ids_b, rows_b, hashes_b) = images[a], images[b]
        likest, count, alike = _likest(hashes_a, hashes_b, ids_a, ids_b)
        total += count
        if alike:
            counts[a, b] = alike
        pairs += [
            {"splits": (a, b), "rows": (int(rows_a[j]), int(rows_b[k])), "bits": int(bits)} for bits, k, j in likest
        ]
    return NearDuplicates(sorted(pairs, key=lambda pair: pair["bits"]), total, counts)


def _likest(
    hashes_a: np.ndarray, hashes_b: np.ndarray, ids_a: np.ndarray, ids_b: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """At most MOST_PAIRS of (bits, position in b, position in a), the likest first and else in order; how many there
    are; and how many images of b are in one. Hashes are `[N, 4]` words of 64 bits."""
    listed = np.empty((0, 3), np.int64)
    pieces, waiting, total, alike = [], 0, 0, 0
    for k, hashed in enumerate(hashes_b):
        bits = np.bitwise_count(hashes_a ^ hashed).sum(1, dtype=np.int64)
        partners = np.flatnonzero((bits <= MOST_BITS) & (ids_a != ids_b[k]))
        if not len(partners):
            continue
        total, alike = total + len(partners), alike + 1
        partners = partners[np.argsort(bits[partners], kind="stable")[:MOST_PAIRS]]
        pieces.append(np.stack([bits[partners], np.full(len(partners), k), partners], 1))
        waiting += len(partners)
        if waiting > 4 * MOST_PAIRS:  # without this, the pairs themselves fill the memory
            listed, pieces, waiting = _first([listed, *pieces]), [], 0
    return _first([listed, *pieces]), total, alike


def _first(pieces: list[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate(pieces)
    return pairs[np.argsort(pairs[:, 0], kind="stable")[:MOST_PAIRS]]


def duplicate_notes(pairs: NearDuplicates) -> list[str]:
    """One line for each pair of splits that near-duplicates connect, and one where not all pairs are listed."""
    notes = [
        f"{count:,} {b} images look like another image of {a} (at most {MOST_BITS} of 256 bits differ): the same "
        "picture saved anew, or nearly so"
        for (a, b), count in pairs.images.items()
    ]
    if pairs.cut_off:
        notes.append(
            f"of {pairs.total:,} pairs of images that look alike the likest {len(pairs):,} are listed: "
            "the pictures may be nearly empty, or all of one kind"
        )
    return notes
