"""How long a search of a whole gallery takes, beside encoding every pair anew, and how it grows.

    pairs    1,000 pictures x 1,000 texts: `search_both_ways` with the best 128 of each search matched, beside plain
             transformers that encodes picture and text anew for every pair. Both are extrapolated at full size from the
             measured seconds of their parts, `--size small` measures ours whole and extrapolates plain transformers
    growth   features of N pictures against N texts, both ways by cosine alone: seconds and memory, to 100,000

Seconds are of processor time on one thread, which a busy machine stretches least.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import BlipConfig, BlipForImageTextRetrieval

from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.numbers.nearest import nearest
from blipvqa.retrieval.encoding import EncodedPictures, encode_texts, match
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import search_both_ways

SIZES = {  # picture's side, words of a text, and the sizes of Salesforce/blip-itm-base-coco and of the demo
    "full": (384, 12, {}, {}),
    "small": (
        64,
        22,
        {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512},
        {"patch_size": 16},
    ),
}
BEST = 128


def make(size: str) -> tuple[BlipForRetrieval, BlipForImageTextRetrieval, int, int]:
    """Both models of one size with equal weights, the picture's side and the length of a text."""
    side, length, both, vision = SIZES[size]
    hidden = both.get("hidden_size", 768)
    text = both | {"encoder_hidden_size": hidden, "vocab_size": 30524, "is_decoder": True}
    config = BlipConfig(
        text_config=text | {"num_attention_heads": both.get("num_attention_heads", 12)},
        vision_config=both | vision | {"image_size": side},
        image_text_hidden_size=256 if size == "full" else hidden,
    )
    torch.manual_seed(0)
    ours = BlipForRetrieval(config).eval()
    plain = BlipForImageTextRetrieval(config).eval()
    plain.load_state_dict({name: value for name, value in ours.state_dict().items() if name != "temp"})
    return ours, plain, side, length


def pairs(size: str, gallery: int) -> None:
    """Seconds of a whole evaluation."""
    ours, plain, side, length = make(size)
    pixels = torch.randn(32, 3, side, side)
    ids = torch.randint(1000, 30_000, (gallery, length + 2))
    tokens = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if size == "small":
        rows = [{"image_id": str(i), "caption": str(i)} for i in range(gallery)]
        of_rows = Gallery.of_rows(rows)

        def whole() -> None:
            pictures = EncodedPictures(ours, lambda numbers: pixels[[n % 32 for n in numbers]], gallery, 32)
            texts = encode_texts(ours, tokens, 32)
            other = of_rows.other_pictures(0)
            search_both_ways(
                pictures.features, texts, of_rows, other, BEST, lambda chosen: match(ours, pictures, tokens, chosen)
            )

        evaluation = seconds(whole)
        print(f"ours, measured whole: {evaluation:,.0f} s")
    else:
        count = 4
        pictures = EncodedPictures(ours, lambda numbers: pixels[numbers], count, count)
        encoding = seconds(lambda: EncodedPictures(ours, lambda numbers: pixels[numbers], count, count)) / count
        texts = seconds(lambda: encode_texts(ours, {k: v[:64] for k, v in tokens.items()}, 32)) / 64
        chosen = np.stack([np.repeat(np.arange(2), BEST), np.tile(np.arange(BEST), 2)], axis=1)
        matching = seconds(lambda: match(ours, pictures, tokens, chosen)) / len(chosen)
        asked = 2 * gallery * BEST  # at most: what both directions ask for is matched once
        evaluation = gallery * (encoding + texts) + asked * matching
        print(
            f"ours, extrapolated: {evaluation:,.0f} s ({gallery:,} pictures at {encoding:.3f} s, {gallery:,} texts at "
            f"{texts:.4f} s, {asked:,} pairs at {matching:.4f} s)"
        )

    def anew(count: int) -> None:
        for i in range(count):
            inputs = {"input_ids": ids[i : i + 1], "pixel_values": pixels[i : i + 1]}
            plain(**inputs, attention_mask=torch.ones_like(ids[i : i + 1]))
            plain(**inputs, attention_mask=torch.ones_like(ids[i : i + 1]), use_itm_head=False)

    count = 3 if size == "full" else 20
    pair = seconds(lambda: anew(count)) / count
    print(
        f"every pair anew, extrapolated from {count} pairs at {pair:.3f} s: {pair * gallery**2:,.0f} s, "
        f"{pair * gallery**2 / evaluation:,.0f} times as long"
    )


def growth(sizes: list[int], width: int = 256) -> None:
    """Seconds and memory of both directions by cosine alone, with the ranks of the right ones."""
    for count in sizes:
        features = [torch.nn.functional.normalize(torch.randn(count, width), dim=1) for _ in range(2)]
        right = {"rank": [np.array([i]) for i in range(count)]}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def both_ways(features=features, right=right) -> None:
            nearest(features[0], features[1], BEST, right)
            nearest(features[1], features[0], BEST, right)

        took = seconds(both_ways)
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
        print(f"{count:,} x {count:,}: {took:,.2f} s both ways, {more:.2f} GiB more than the features", flush=True)


@torch.no_grad()
def seconds(work: Callable) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("pairs", "growth"))
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--gallery", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "pairs":
        pairs(options.size, options.gallery)
    else:
        growth(options.sizes)


if __name__ == "__main__":
    main()
