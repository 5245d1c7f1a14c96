"""Which changed copies of a picture are seen as look-alikes, which different pictures are wrongly, and how long it takes.

Each picture of a data set is cropped, scaled, turned and so on, and compared with itself and with all others, by the
difference hash of 256 bits that was used before (at most 16 differ) and by `data.duplicates`. Times are of
random hashes, a tenth of them copies with up to 60 bits turned, against as many.

    .venv/bin/python benchmarks/look_alikes.py --vqa-rad ../shared/data/vqa-rad
    .venv/bin/python benchmarks/look_alikes.py --vqa-rad ../shared/data/vqa-rad --many 5000
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from blipvqa import load_config, load_splits
from blipvqa.data.duplicates import MOST_BITS, perceptual_hash
from blipvqa.data.images import resize_image
from blipvqa.numbers.hamming import close_pairs

SIZE = {"VQA-RAD": 384, "drawn tissue": 64}
BEFORE = 16  # bits


def crop(share: float) -> Callable:
    """`share` of each side's length, half of it at either end."""

    def cropped(image):
        left, top = (max(1, round(side * share / 2)) for side in image.size)
        return image.crop((left, top, image.width - left, image.height - top))

    return cropped


def corner(share: float) -> Callable:
    return lambda image: image.crop((round(image.width * share), round(image.height * share), *image.size))


def scale(factor: float) -> Callable:
    return lambda image: image.resize([round(side * factor) for side in image.size], Image.Resampling.BILINEAR)


def jpeg(quality: int) -> Callable:
    def saved(image):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return saved


def turn(degrees: float) -> Callable:
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC)


def enhance(kind: type, factor: float) -> Callable:
    return lambda image: kind(image).enhance(factor)


CHANGES: dict[str, Callable] = {
    **{f"cropped by {percent} %": crop(percent / 100) for percent in (1, 2, 3, 5)},
    "cropped by 2 %, at one corner": corner(0.02),
    **{f"scaled by {factor}": scale(factor) for factor in (0.5, 0.67, 2)},
    **{f"JPEG, quality {quality}": jpeg(quality) for quality in (30, 60, 95)},
    **{f"turned by {degrees}°": turn(degrees) for degrees in (1, 2, 3, 5)},
    **{f"brightness × {factor}": enhance(ImageEnhance.Brightness, factor) for factor in (0.7, 1.3)},
    **{f"contrast × {factor}": enhance(ImageEnhance.Contrast, factor) for factor in (0.7, 1.4)},
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def difference_hash(pixels: np.ndarray) -> np.ndarray:
    """Krawetz 2013: whether each of 17 x 16 cells is brighter than its right neighbour."""
    grey = Image.fromarray(pixels.transpose(1, 2, 0)).convert("L").resize((17, 16), Image.Resampling.BOX)
    cells = np.asarray(grey).astype(np.int16)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


def bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_count(a ^ b).sum(-1, dtype=int)


def pictures(overrides: dict) -> list[Image.Image]:
    """Every distinct picture of train and test."""
    splits = load_splits(load_config(None, overrides, "look-alikes"))
    first = {row["image_id"]: (name, i) for name in ("train", "test") for i, row in enumerate(splits[name].rows)}
    return [splits[name].image(i) for name, i in first.values()]


def seen(images: list[Image.Image], size: int) -> None:
    """Print a table: how many changed copies are seen, before and after, and the pairs of different pictures."""
    shown = [resize_image(image, size) for image in images]
    print("| change | difference hash, 16 | cosine transform, 32 | 48 | 64 | largest of 97 % |\n|" + " --- |" * 6)
    old, new = (np.stack([hashed(each) for each in shown]) for hashed in (difference_hash, perceptual_hash))
    for name, change in CHANGES.items():
        copies = [resize_image(change(image), size) for image in images]
        before = bits(old, np.stack([difference_hash(copy) for copy in copies]))
        after = bits(new, np.stack([perceptual_hash(copy) for copy in copies]))
        shares = [np.mean(before <= BEFORE), *(np.mean(after <= most) for most in (32, MOST_BITS, 64))]
        print(f"| {name} |", *(f"{share:.1%} |" for share in shares), f"{np.quantile(after, 0.97):.0f} |", flush=True)
    one, other = np.triu_indices(len(images), 1)
    before, after = bits(old[one], old[other]), bits(new[one], new[other])
    wrong = [np.sum(before <= BEFORE), *(np.sum(after <= most) for most in (32, MOST_BITS, 64))]
    print(f"| of {len(one):,} pairs of different pictures |", *(f"{count} |" for count in wrong))
    print(f"\nThe likest different pictures differ in {before.min()} bits before, {after.min()} now.")


def many(images: list[Image.Image], size: int) -> None:
    """How near the nearest of many different pictures lie: every pair is one that must not be called a copy."""
    start = time.process_time()
    hashes = np.stack([perceptual_hash(resize_image(image, size)) for image in images])
    hashed = time.process_time() - start
    nearest = np.zeros(257, int)  # pairs by the bits in which they differ
    for k in range(len(hashes)):
        nearest += np.bincount(bits(hashes[k], hashes[k + 1 :]), minlength=257)
    start = time.process_time()
    seen_pairs = sum(int((one < other).sum()) for one, other, _ in close_pairs(hashes, hashes, MOST_BITS))
    looked_up = time.process_time() - start
    below = ", ".join(f"{nearest[: most + 1].sum():,} at {most}" for most in (32, MOST_BITS, 64, 72, 80))
    print(f"{len(hashes):,} pictures, {nearest.sum():,} pairs, in so many bits or fewer differ: {below}")
    print(f"the nearest in {np.flatnonzero(nearest)[0]}; {seen_pairs} looked up at {MOST_BITS}")
    print(f"{1000 * hashed / len(hashes):.2f} ms a picture to hash, {looked_up:.2f} s to look up all pairs")


def timed(counts: list[int]) -> None:
    draw = np.random.default_rng(0)
    print("| pictures against as many | seconds of processor time | pairs | MiB more |\n| --- | --- | --- | --- |")
    for count in counts:
        a, b = (draw.integers(0, 256, (count, 32), dtype=np.uint8) for _ in range(2))
        for k in range(count // 10):
            turned = np.unpackbits(a[k])
            turned[draw.choice(256, draw.integers(0, 61), replace=False)] ^= 1
            b[k] = np.packbits(turned)
        memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        pairs = sum(len(first) for first, _, _ in close_pairs(a, b, MOST_BITS))
        seconds = time.process_time() - start
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
        print(f"| {count:,} | {seconds:.2f} | {pairs:,} | {more:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqa-rad", help="a folder in the Hub's layout")
    parser.add_argument("--drawn", type=int, default=300, help="drawn pictures")
    parser.add_argument("--hashes", type=int, nargs="*", default=[1_000, 10_000, 30_000, 100_000])
    parser.add_argument("--many", type=int, help="only the pairs of so many drawn pictures, and VQA-RAD's among them")
    arguments = parser.parse_args()
    if arguments.many:
        drawn = {"data.synthetic": {"images": {"train": arguments.many, "test": 10}, "size": 96}}
        images = pictures(drawn | {"model.name": "scratch", "model.image_size": 64})
        many(images, 64)
        if arguments.vqa_rad:
            radiographs = {"data.source": arguments.vqa_rad, "model.name": "scratch", "model.image_size": 384}
            many(images + pictures(radiographs), 64)
        return
    timed(arguments.hashes)
    sources = {"drawn tissue": {"data.synthetic": {"images": {"train": arguments.drawn, "test": 10}, "size": 96}}}
    if arguments.vqa_rad:
        sources["VQA-RAD"] = {"data.source": arguments.vqa_rad}
    for name, overrides in sources.items():
        overrides = overrides | {"model.name": "scratch", "model.image_size": SIZE[name]}
        images = pictures(overrides)
        print(f"\n{name}, {len(images)} pictures\n")
        seen(images, SIZE[name])


if __name__ == "__main__":
    main()
