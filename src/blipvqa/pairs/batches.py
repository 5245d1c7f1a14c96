"""Statements about two pictures to batches: what a statement looks like to the model, and the collator."""

from __future__ import annotations

import torch
from torch import Tensor

from blipvqa.config.knobs import Config, PairsConfig
from blipvqa.data.batches import distinct_images
from blipvqa.data.labels import LABELS
from blipvqa.models.pairs import layout_of
from blipvqa.models.tokenizer import QUESTION_START, captions_cut, encode, prepare_caption


class PairsCollator:
    """Items to one batch (the dict in `docs/design.md`): `[ENC] statement [SEP]`, true lengths, distinct images,
    `image_index [Q,2]`, and `labels [Q]`, 1 where the statement is true."""

    def __init__(self, processor, settings: PairsConfig):
        self.tokenizer, self.settings = processor.tokenizer, settings

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        settings = self.settings
        texts = [prepare_caption(item["sentence"], settings.max_words) for item in items]
        tokens = encode(self.tokenizer, texts, QUESTION_START, settings.max_tokens)
        images = distinct_images(items)
        return {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            **images,
            "labels": torch.tensor([LABELS.index(item["label"]) for item in items]),
            "layout": layout_of(tokens["attention_mask"].bool(), images["image_index"]),
        }

    def count_cut(self, rows: list[dict]) -> dict[str, int]:
        """How many statements exceed the limits of words or tokens and are cut."""
        limits = self.settings.max_words, self.settings.max_tokens
        return {"sentence": sum(captions_cut(self.tokenizer, [row["sentence"] for row in rows], *limits))}


def collator_for(processor, config: Config) -> PairsCollator:
    """The collator with a config's limits."""
    return PairsCollator(processor, config.pairs)
