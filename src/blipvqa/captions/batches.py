"""Captions to batches: what a caption looks like to the model, and the collator."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from blipvqa.config.knobs import CaptionConfig, Config
from blipvqa.data.batches import distinct_images
from blipvqa.errors import InputError
from blipvqa.models.packing import Layout, Written
from blipvqa.models.tokenizer import ANSWER_START, captions_cut, encode, prepare_caption
from blipvqa.text import encodable


def prompt_ids(tokenizer, settings: CaptionConfig, knob: Literal["max_tokens", "max_length"]) -> list[int]:
    """A prompt's tokens, without special ones. Raises InputError where `knob` leaves no room for a caption."""
    ids = tokenizer(encodable(settings.prompt.lower()), add_special_tokens=False)["input_ids"]
    limit = getattr(settings, knob)
    # a text that is read ends with [SEP]: with room for that alone every caption would be learnt as none
    if 1 + len(ids) + (knob == "max_tokens") >= limit:
        raise InputError(
            f"caption.{knob} {limit} leaves no room after [DEC] and the {len(ids)} tokens of the prompt "
            f"{settings.prompt[:80]!r}: raise it, or give a shorter prompt"
        )
    return ids


class CaptionCollator:
    """Items to one batch (the dict in `docs/design.md`): `[DEC] prompt caption [SEP]`, true lengths, distinct images.

    `labels` are -100 on padding, [DEC] and the prompt: only the caption is scored (docs/facts.md 7.1).
    """

    def __init__(self, processor, settings: CaptionConfig):
        self.tokenizer, self.settings = processor.tokenizer, settings
        self.context = 1 + len(prompt_ids(self.tokenizer, settings, "max_tokens"))  # tokens before a caption

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        tokens = encode(self.tokenizer, self._texts(items), ANSWER_START, self.settings.max_tokens)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]  # [Q, L]
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, : self.context] = -100
        images = distinct_images(items)
        written = Written.of(mask, images["image_index"], len(images["pixel_values"]), labels != -100)
        batch = {"input_ids": ids, "attention_mask": mask, **images, "labels": labels}
        return batch | {"layout": Layout(written=written)}

    def _texts(self, rows: list[dict]) -> list[str]:
        settings = self.settings
        # a space between: else the prompt's last word and the caption's first would be one
        return [
            f"{settings.prompt.lower().strip()} {prepare_caption(row['caption'], settings.max_words)}".strip()
            for row in rows
        ]

    def count_cut(self, rows: list[dict]) -> dict[str, int]:
        """How many captions exceed the limits of words or tokens and are cut."""
        limits, prompt = (self.settings.max_words, self.settings.max_tokens), self.settings.prompt.lower().strip()
        return {"caption": sum(captions_cut(self.tokenizer, [row["caption"] for row in rows], *limits, before=prompt))}


def collator_for(processor, config: Config) -> CaptionCollator:
    """The collator with a config's prompt and limits."""
    return CaptionCollator(processor, config.caption)
