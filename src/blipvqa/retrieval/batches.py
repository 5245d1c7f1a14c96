"""Pairs of picture and text to batches: what a text looks like to the model, and the collator."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import compress

import torch
from torch import Tensor

from blipvqa.config.knobs import Config, RetrievalConfig
from blipvqa.data.batches import distinct_images
from blipvqa.models.packing import Layout, Packed, Written
from blipvqa.models.tokenizer import TEXT_START, captions_cut, encode, prepare_caption, unknown_texts
from blipvqa.plural import of_all
from blipvqa.text import encodable, normalize
from blipvqa.training.cut_texts import LIMITS

NAMED = 5  # texts that a note names


def text_tokens(tokenizer, texts: list[str], settings: RetrievalConfig) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask` `[T,L]` of texts, `[CLS] text [SEP]`, true lengths, cleaned and cut as the authors'
    captions."""
    prepared = [prepare_caption(text, settings.max_words) for text in texts]
    return encode(tokenizer, prepared, TEXT_START, settings.max_tokens)


def text_notes(where: str, tokenizer, texts: Sequence[str], settings: RetrievalConfig) -> list[str]:
    """A line on texts of a person's own that are cut, and one on those with words that the model does not know."""
    cut = captions_cut(tokenizer, texts, settings.max_words, settings.max_tokens)
    read = [encodable(prepare_caption(text, settings.max_words)) for text in texts]
    unknown = unknown_texts(tokenizer, read)
    told = {
        f"longer than is read ({LIMITS['retrieval']['caption']}), and the rest is cut off": list(compress(texts, cut)),
        "read in part, with words that the model's vocabulary lacks": [
            text for text, prepared in zip(texts, read, strict=True) if prepared in unknown
        ],
    }
    return [
        f"{where}: {of_all(len(such), len(texts), 'text', 'is', 'are')} {what}: "
        + ", ".join(f"“{encodable(text):.60}”" for text in such[:NAMED])
        + ", …" * (len(such) > NAMED)
        for what, such in told.items()
        if such
    ]


def whole_number(text: str) -> int:
    """An image id or a text as a number of 63 bits that is never negative, the same in every process and run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class RetrievalCollator:
    """Items to one batch (the dict in `docs/design.md`): texts, distinct images, and `image_ids`, `text_ids` `[Q]`:
    which rows, of this batch or of another, show one picture, or say the same as far as they are not cut."""

    def __init__(self, processor, settings: RetrievalConfig):
        self.tokenizer, self.settings = processor.tokenizer, settings

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        tokens = text_tokens(self.tokenizer, [item["caption"] for item in items], self.settings)
        texts = [normalize(prepare_caption(item["caption"], self.settings.max_words)) for item in items]
        mask, images = tokens["attention_mask"], distinct_images(items)
        index = images["image_index"]
        return {
            "input_ids": tokens["input_ids"],
            "attention_mask": mask,
            **images,
            "image_ids": torch.tensor([whole_number(item["image_id"]) for item in items]),
            "text_ids": torch.tensor([whole_number(text) for text in texts]),
            "layout": Layout(
                Packed.of(mask),
                Written.of(mask, index, len(images["pixel_values"])),
                mask.bool().numpy(),
                index.numpy(),
            ),
        }

    def count_cut(self, rows: list[dict]) -> dict[str, int]:
        """How many captions exceed the limits of words or tokens and are cut."""
        limits = self.settings.max_words, self.settings.max_tokens
        return {"caption": sum(captions_cut(self.tokenizer, [row["caption"] for row in rows], *limits))}


def collator_for(processor, config: Config) -> RetrievalCollator:
    """The collator with a config's limits."""
    return RetrievalCollator(processor, config.retrieval)
