"""Near-duplicates: the same picture saved twice, scaled or compressed anew, which equal bytes do not show.

A difference hash (Krawetz 2013) of 16 x 16 bits: whether each of 17 x 16 cells is brighter than its right neighbour.
Of the 256 bits, pictures of one origin differ in few; unrelated ones in about half.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from PIL import Image

MOST_BITS = (
    16  # of 256: the same picture scaled and compressed anew differs in 0 to 11, other VQA-RAD pictures in 24 and more
)


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """32 bytes of a uint8 `[3, S, S]` picture."""
    grey = Image.fromarray(pixels.transpose(1, 2, 0)).convert("L").resize((17, 16), Image.Resampling.BOX)
    cells = np.asarray(grey).astype(np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


def near_duplicates(splits: Mapping) -> list[dict]:
    """Pairs of different images that look alike and stand in two splits, the likest first.

    Returns [{"splits": (a, b), "rows": (i, j), "bits": how many of 256 differ}], rows being positions in the splits.
    """
    images = {}
    for name, data in splits.items():
        first = {row["image_id"]: i for i, row in reversed(list(enumerate(data.rows)))}
        hashes = np.stack([perceptual_hash(data.pixels(i).numpy()) for i in first.values()])
        images[name] = list(first), list(first.values()), hashes
    pairs = []
    for a, b in combinations(images, 2):
        (ids_a, rows_a, hashes_a), (ids_b, rows_b, hashes_b) = images[a], images[b]
        for k, hashed in enumerate(hashes_b):
            bits = np.bitwise_count(hashes_a ^ hashed).sum(1)
            for j in np.flatnonzero(bits <= MOST_BITS):
                if ids_a[j] != ids_b[k]:
                    pairs.append({"splits": (a, b), "rows": (rows_a[j], rows_b[k]), "bits": int(bits[j])})
    return sorted(pairs, key=lambda pair: pair["bits"])


def duplicate_notes(pairs: list[dict]) -> list[str]:
    """One line for each pair of splits that near-duplicates connect."""
    counts: dict[tuple[str, str], set] = {}
    for pair in pairs:
        counts.setdefault(tuple(pair["splits"]), set()).add(pair["rows"][1])
    return [
        f"{len(rows)} {b} images look like another image of {a} (at most {MOST_BITS} of 256 bits differ): the same "
        "picture saved anew, or nearly so"
        for (a, b), rows in counts.items()
    ]
