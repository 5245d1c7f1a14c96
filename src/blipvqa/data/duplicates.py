"""Near-duplicates: the same picture saved twice, scaled, cropped or turned a little, which equal bytes do not show.

Notable:
- A perceptual hash of 256 bits: the signs of the 256 lowest frequencies of the grey picture (discrete cosine transform;
  the constant left out). Pictures of one origin differ in few, others in about half (docs/measures.md).
- A picture of (almost) one colour has no frequencies to compare. It is compared with none, and counted.
- Close pairs are looked up by bands of the hash, not compared each with each (`numbers.hamming`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from PIL import Image

from blipvqa.numbers.hamming import close_pairs
from blipvqa.plural import how_many

MOST_BITS = 48  # of 256: different pictures of VQA-RAD differ in 68 and more, copies cropped by 2 % in 44 at most
MOST_PAIRS = 10_000  # pairs of two splits that are listed: where all pictures look alike, there are N x N
SIDE = 64  # pixels of the grey picture that is transformed
LEAST_CONTRAST = 1.0  # standard deviation of its grey values, of 255: below, their frequencies are noise

_COSINES = np.cos(np.pi * np.arange(SIDE)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))  # [frequency, place]
_FREQUENCIES = np.arange(SIDE)[:, None] ** 2 + np.arange(SIDE) ** 2
LOWEST = np.argsort(_FREQUENCIES.ravel(), kind="stable")[1:257]  # without the first, the mean


class NearDuplicates(list):
    """The likest pairs, each `{"splits": (a, b), "rows": (i, j), "bits": how many of 256 differ}`.

    `total` counts all pairs and `images`, by (a, b), the images of b that look like one of a, also where the list was
    cut off. `flat` counts, by split, the images that are almost one colour and therefore compared with none.
    """

    def __init__(self, pairs: list[dict], total: int, images: dict[tuple[str, str], int], flat: dict[str, int]):
        super().__init__(pairs)
        self.total, self.images, self.flat = total, images, flat

    @property
    def cut_off(self) -> bool:
        """Whether there are more pairs than listed."""
        return self.total > len(self)

    @property
    def counts(self) -> dict:
        """What `metrics-<split>.json` keeps: how many bits may differ, all pairs, images by "train/test", `flat`."""
        images = {f"{a}/{b}": count for (a, b), count in self.images.items()}
        return {"most_bits": MOST_BITS, "pairs": self.total, "images": images, "flat": self.flat}


def perceptual_hash(pixels: np.ndarray) -> np.ndarray | None:
    """32 bytes of a uint8 `[3, S, S]` picture; None where it is almost one colour."""
    picture = Image.fromarray(pixels.transpose(1, 2, 0)).convert("L")
    grey = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(float)
    if grey.std() < LEAST_CONTRAST:
        return None
    coefficients = (_COSINES @ (grey - grey.mean()) @ _COSINES.T).ravel()[LOWEST]
    # A picture that is the same from left to right has coefficients of 0, whose rounding has a random sign.
    return np.packbits(coefficients > 1e-6 * np.abs(coefficients).max())


def near_duplicates(splits: Mapping) -> NearDuplicates:
    """Pairs of different images that look alike and stand in two splits, the likest first; rows are positions.

    At most MOST_PAIRS of each two splits are listed; all are counted.
    """
    numbers: dict[str, int] = {}  # of each image, the same in all splits
    images, flat = {}, {}
    for name, data in splits.items():
        first = data.row_of_picture()
        hashes = {image_id: perceptual_hash(data.pixels(*place).numpy()) for image_id, place in first.items()}
        compared = [image_id for image_id, bits in hashes.items() if bits is not None]
        if len(compared) < len(hashes):
            flat[name] = len(hashes) - len(compared)
        ids = np.array([numbers.setdefault(image_id, len(numbers)) for image_id in compared], np.int64)
        rows = np.array([first[image_id][0] for image_id in compared], np.int64)
        images[name] = ids, rows, np.array([hashes[image_id] for image_id in compared], np.uint8).reshape(-1, 32)
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
    return NearDuplicates(sorted(pairs, key=lambda pair: pair["bits"]), total, counts, flat)


def _likest(
    hashes_a: np.ndarray, hashes_b: np.ndarray, ids_a: np.ndarray, ids_b: np.ndarray
) -> tuple[np.ndarray, int, int]:
    """At most MOST_PAIRS of (bits, position in b, position in a), the likest first and else in order; how many there
    are; and how many images of b are in one."""
    listed, pieces, waiting, total = np.empty((0, 3), np.int64), [], 0, 0
    in_a_pair = np.zeros(len(hashes_b), bool)
    for first, second, bits in close_pairs(hashes_a, hashes_b, MOST_BITS):
        different = ids_a[first] != ids_b[second]
        pieces.append(np.stack([bits, second, first], 1)[different])
        in_a_pair[second[different]] = True
        total, waiting = total + len(pieces[-1]), waiting + len(pieces[-1])
        if waiting > 4 * MOST_PAIRS:  # without this, the pairs themselves fill the memory
            listed, pieces, waiting = _first([listed, *pieces]), [], 0
    return _first([listed, *pieces]), total, int(in_a_pair.sum())


def _first(pieces: list[np.ndarray]) -> np.ndarray:
    pairs = np.concatenate(pieces)
    return pairs[np.lexsort(pairs.T[::-1])[:MOST_PAIRS]]


def look_alike_line(count: int, where: str, like: str) -> str:
    """That so many pictures of one place look like another picture of a second, as a sentence that may go on."""
    looks = how_many(count, f"picture of {where} looks", f"pictures of {where} look")
    bits = f"at most {MOST_BITS} of 256 bits differ"
    return f"{looks} like another of {like} ({bits}), the same one saved anew, or nearly so"


def duplicate_notes(pairs: NearDuplicates) -> list[str]:
    """One line for each pair of splits that near-duplicates connect, one where not all pairs are listed, and one for
    each split with pictures that could not be compared."""
    notes = [
        f"{how_many(count, f'{b} image looks', f'{b} images look')} like another image of {a} (at most {MOST_BITS} of "
        "256 bits differ): the same picture saved anew, or nearly so"
        for (a, b), count in pairs.images.items()
    ]
    if pairs.cut_off:
        notes.append(
            f"of {pairs.total:,} pairs of images that look alike the likest {len(pairs):,} are listed: "
            "the pictures may be nearly empty, or all of one kind"
        )
    for name, count in pairs.flat.items():
        of = how_many(count, "image is", "images are")
        notes.append(f"{name}: {of} almost one colour and compared with none: whether they look alike is unknown")
    return notes
