"""Clips by words and words by clips: the authors' video retrieval, with a model that was trained on pictures alone.

For clips at hand; a run whose rows name films (`data.frames`) is evaluated as any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blipvqa.config.task_knobs import RetrievalConfig
from blipvqa.data.images import resize_image
from blipvqa.data.texts import check_own_text
from blipvqa.errors import InputError
from blipvqa.models.folders import check_task
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.retrieval.batches import text_notes, text_tokens
from blipvqa.retrieval.encoding import EncodedPictures, encode_texts, match
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import Searches, search_both_ways
from blipvqa.training.own_settings import own_settings

TOGETHER = 16  # frames, or texts, encoded at a time


def search_clips(
    model: BlipForRetrieval,
    processor,
    clips: Sequence[Sequence[Image.Image]],
    texts: Sequence[str],
    settings: RetrievalConfig | None = None,
) -> tuple[Searches, Searches]:
    """Clips by each text, and texts by each clip, where text i tells of clip i: candidates, scores and ranks.

    Equal texts are one candidate. A clip is its frames (`data.frames.frames`). `settings` are a config's `retrieval`,
    by default that of the model's run: so many of the nearest are matched. Of texts that are read in part it is printed
    which. Raises InputError for a clip without a
    frame, another number of texts, or one without a word.
    """
    if len(clips) != len(texts) or not clips or not all(clips):
        raise InputError(
            f"search_clips: {len(clips)} clips and {len(texts)} texts: expected a text for each clip, and no empty clip"
        )
    check_task(model, BlipForRetrieval, "search_clips")
    for text in texts:
        check_own_text("text", text, "search_clips")
    settings, side = settings or own_settings(model, RetrievalConfig), processor.image_processor.size["height"]
    for note in text_notes("search_clips", processor.tokenizer, list(dict.fromkeys(texts)), settings):
        print(note)
    gallery = Gallery.of_rows([{"image_id": str(i), "caption": text} for i, text in enumerate(texts)])
    tokens = text_tokens(processor.tokenizer, [texts[row] for row in gallery.text_rows], settings)
    frames = [frame for clip in clips for frame in clip]
    ends = np.cumsum([len(clip) for clip in clips]).tolist()
    numbers = [range(end - len(clip), end) for clip, end in zip(clips, ends, strict=True)]

    def pixels(of: list[int]) -> Tensor:
        return torch.stack([torch.from_numpy(resize_image(frames[number], side)) for number in of])

    model.eval()
    encoded = EncodedPictures(model, pixels, len(frames), TOGETHER, clips=numbers)
    return clip_searches(model, encoded, tokens, gallery, settings)


def clip_searches(
    model: BlipForRetrieval,
    clips: EncodedPictures,
    tokens: dict[str, Tensor],
    gallery: Gallery,
    settings: RetrievalConfig,
) -> tuple[Searches, Searches]:
    """As `search_clips`, from encoded clips and tokens `[T,L]` of each distinct text."""
    texts, other = encode_texts(model, tokens, TOGETHER), np.roll(np.arange(len(clips.features)), 1)
    by_text, by_clip, _ = search_both_ways(
        clips.features.cpu(),
        texts.cpu(),
        gallery,
        other,
        settings.rerank,
        lambda pairs: match(model, clips, tokens, pairs),
        model.temp.item() if settings.rerank_by == "likelihood" else None,
    )
    return by_text, by_clip
