"""From a model and a split to a caption a picture; and `describe`, for one's own picture.

Notable:
- A picture is described once, whatever the number of its rows: these are its references.
- Every prediction carries `score`, the unsmoothed log-probability of its tokens after the prompt, and `confidence`, the
  geometric mean of their probabilities.
- A caption depends on its picture and the settings alone: sampling draws from (seed, picture), not from the batch.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blipvqa.bars import progress_bar
from blipvqa.captions.batches import collator_for, prompt_ids
from blipvqa.config.knobs import CaptionConfig, Config
from blipvqa.data.batches import batch_loader, loader_deaths_explained, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import open_picture, resize_image
from blipvqa.data.one_colour import own_picture_notes
from blipvqa.models.attention import by_word
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.folders import check_task
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.models.packing import Layout, Written, sent
from blipvqa.models.tokenizer import unknown_word_notes
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.wording import share
from blipvqa.training.own_settings import own_settings
from blipvqa.training.shares import is_first, shared

Picture = str | Path | bytes | np.ndarray | Image.Image
SAMPLING_PENALTY = 1.1  # the authors draw with it, whatever they are told (docs/facts.md 7.6)


class Prediction(TypedDict, total=False):
    """A described picture: one line of `predictions-<split>.jsonl`, with the further columns of its first row."""

    id: str  # of the picture's first row
    image_id: str
    references: list[str]  # the captions of all of its rows
    origins: list[str | None]  # of the references, where column `origin` says which a model wrote
    prediction: str
    score: float | None  # log-probability of the caption's tokens
    confidence: float | None
    unfinished: bool  # it stops at `caption.max_length`, before the model ended it


class Describer:
    """Picture states to captions: `describer(images, image_ids)` is a list of dicts: prediction, score, confidence,
    unfinished.

    `describing` is the same as a work (`looks.in_turns`), so that batches take turns on a GPU.
    """

    def __init__(self, model: BlipForCaptioning, processor, settings: CaptionConfig, seed: int = 0):
        self.model, self.tokenizer, self.settings, self.seed = model, processor.tokenizer, settings, seed
        self.prompt = prompt_ids(self.tokenizer, settings, "max_length")
        pin_number_formats(model.device)

    def write(self, images: Tensor, image_ids: Sequence[str]) -> Tensor:
        """Token ids `[I,L]` of captions for picture states `[I,N,D]`."""
        settings = self.settings
        drawn = {}
        if settings.sample:
            seeds = [zlib.crc32(f"{self.seed}/{image_id}".encode()) for image_id in image_ids]
            drawn = {"seeds": seeds, "top_p": settings.top_p, "top_k": settings.top_k}
        penalty = settings.repetition_penalty
        return self.model.generate_captions(
            images=images,
            prompt=self.prompt,
            num_beams=settings.num_beams,
            max_length=settings.max_length,
            min_length=settings.min_length,
            repetition_penalty=SAMPLING_PENALTY if settings.sample and penalty == 1.0 else penalty,
            rule=settings.beams_by,
            **drawn,
        )

    def __call__(self, images: Tensor, image_ids: Sequence[str]) -> list[dict]:
        (captions,) = in_turns([self.describing(images, image_ids)])
        return captions

    @torch.no_grad()
    def describing(self, images: Tensor, image_ids: Sequence[str]) -> Work[list[dict]]:
        written = self.write(images, image_ids)
        (ids,) = yield Look(written)
        real = ids != self.model.decoder_pad_token_id
        scored = real.clone()
        scored[:, : 1 + len(self.prompt)] = False
        layout = Layout(written=Written.of(real, torch.arange(len(ids)), len(images), scored))
        mask, layout = (sent(x, images.device) for x in (real, layout))
        losses, _ = self.model.caption_losses(images, written, mask, None, smoothing=0.0, layout=layout)
        (losses,) = yield Look(losses)
        written = ids[:, 1 + len(self.prompt) :]
        ended = (written == self.tokenizer.sep_token_id).any(1)
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return [
            {
                "prediction": text.strip(),
                "score": _rounded(-loss),
                "confidence": _rounded(math.exp(-loss / tokens)) if tokens else None,
                "unfinished": not is_ended,
            }
            for text, loss, tokens, is_ended in zip(
                texts, losses.tolist(), scored.sum(1).tolist(), ended.tolist(), strict=True
            )
        ]


def predict(
    model: BlipForCaptioning, processor, dataset: VQADataset, config: Config, progress: bool = True
) -> list[Prediction]:
    """One prediction a picture of `dataset`, in its order. Uses the GPU if there is one; the model is moved there and
    left in `eval()` mode."""
    device = pick_device()
    reuse_memory(device)
    model.to(device).eval()
    pictures = list(rows_by(row["image_id"] for row in dataset.rows).values())
    size = config.generate.batch_size
    batches = [[rows[0] for rows in pictures[start : start + size]] for start in range(0, len(pictures), size)]
    describer = Describer(model, processor, config.caption, config.seed)

    def work(mine: Sequence[list[int]]) -> Iterator[list[dict]]:
        loader = batch_loader(dataset, collator_for(processor, config), mine, workers_for(config, device))
        yield from in_turns(
            describer.describing(
                model.picture_states(batch["pixel_values"].to(device, non_blocking=True)),
                [dataset.rows[i]["image_id"] for i in firsts],
            )
            for firsts, batch in progress_bar(
                zip(mine, loader, strict=True),
                total=len(mine),
                desc=f"describe {dataset.split}",
                unit="batch",
                disable=not (progress and is_first()),
                leave=False,
            )
        )

    with torch.no_grad(), autocast(prediction_precision(config, device), device), loader_deaths_explained():
        written = [caption for of_batch in shared(batches, list(map(len, batches)), work) for caption in of_batch]
    return [described(dataset.rows, rows, caption) for rows, caption in zip(pictures, written, strict=True)]


def described(all_rows: Sequence[Mapping], rows: Sequence[int], caption: Mapping) -> Prediction:
    """The prediction on the picture of `rows`, with their captions as references."""
    first = {key: value for key, value in all_rows[rows[0]].items() if key != "caption"}
    if "origin" in first:
        first["origins"] = [all_rows[i]["origin"] for i in rows]
    return Prediction(**first, references=[all_rows[i]["caption"] for i in rows], **caption)


def _rounded(value: float) -> float | None:
    """Six digits; None for what is no number: NaN is no JSON."""
    return round(value, 6) if math.isfinite(value) else None


@dataclass
class Caption:
    """What `describe` returns: the caption, how sure the model is of its words (0 to 1), the picture, and for each word
    where the model looked when it wrote it: `[g,g]` over the picture's patches, 1 where most."""

    caption: str
    confidence: float | None
    image: Image.Image
    looks: list[tuple[str, Tensor]]
    unfinished: bool = False  # it stops at `caption.max_length`, before the model ended it
    reading: Sequence[str] = ()  # a note where the prompt holds words that the model does not know

    @property
    def notes(self) -> list[str]:
        """What a person should see beside the caption."""
        cut = ["the caption stops at caption.max_length, before the model ended it"] * self.unfinished
        return [*own_picture_notes([self.image]), *self.reading, *cut]

    def __str__(self) -> str:
        said = f"{self.caption} …" if self.unfinished else self.caption or "(empty)"
        return said if self.confidence is None else f"{said} ({share(self.confidence)})"


def describe(
    model: BlipForCaptioning,
    processor,
    image: Picture | Sequence[Picture],
    prompt: str | None = None,
    settings: CaptionConfig | None = None,
    seed: int = 0,
) -> Caption | list[Caption]:
    """A caption of one's own picture: a file (from the project's root), its bytes, an array or a Pillow picture, as
    `ask` takes it (`images.open_picture`); a list of captions of a list of them.

    `settings` are a config's `caption` (lengths, beams, sampling), by default that of the model's run; `prompt`
    replaces theirs, and the caption goes on from it. Raises ModelError for a model of another task, ImageError for a
    file that is no picture, and FileNotFoundError.
    """
    check_task(model, BlipForCaptioning, "describe")
    if isinstance(image, list | tuple):
        return [describe(model, processor, one, prompt, settings, seed) for one in image]
    settings = settings or own_settings(model, CaptionConfig)
    if prompt is not None:
        settings = replace_prompt(settings, prompt)
    picture = open_picture(image)
    pixels = torch.from_numpy(resize_image(picture, processor.image_processor.size["height"]))[None]
    describer = Describer(model.eval(), processor, settings, seed)
    with torch.no_grad():
        images = model.picture_states(pixels.to(model.device))
        (caption,) = describer(images, ["own"])
        looks = word_looks(describer, images, ["own"])[0]
    reading = unknown_word_notes(processor.tokenizer, settings.prompt.lower())
    return Caption(caption["prediction"], caption["confidence"], picture, looks, caption["unfinished"], reading)


def replace_prompt(settings: CaptionConfig, prompt: str) -> CaptionConfig:
    """The same settings with another prompt."""
    return settings.model_copy(update={"prompt": prompt})


@torch.no_grad()
def word_looks(describer: Describer, images: Tensor, image_ids: Sequence[str]) -> list[list[tuple[str, Tensor]]]:
    """For each picture its caption's words, each with where the model looked: attention over the patches `[g,g]`.

    The mean over layers and heads of the last token's cross-attention from which the word was written; a word of
    several tokens has their mean. 1 is the largest of the caption.
    """
    model, tokenizer = describer.model, describer.tokenizer
    ids = describer.write(images, image_ids)
    real = ids != model.decoder_pad_token_id
    maps = torch.stack(model.word_maps(images, ids, real)).mean((0, 2))[..., 1:]  # [I, L, patches], no class token
    side = math.isqrt(maps.shape[-1])
    first = 1 + len(describer.prompt)
    return [
        by_word(tokenizer.convert_ids_to_tokens(row[first:].tolist()), looks[first - 1 :].view(-1, side, side).cpu())
        for row, looks in zip(ids, maps, strict=True)
    ]
