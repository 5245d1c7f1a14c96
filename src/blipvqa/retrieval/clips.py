"""Clips by words and words by clips: the authors' video retrieval, with a model that was trained on pictures alone.

Notable:
- A clip's features are the mean of its frames' projections, taken before these are normalized; ITM sees the tokens of
  all frames one after the other. Frames have no order to either (docs/facts.md 14.1).
- Clips may differ in their number of frames: masks are true.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blipvqa.config.task_knobs import RetrievalConfig
from blipvqa.data.images import resize_image
from blipvqa.errors import InputError
from blipvqa.models.folders import check_task
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.several_pictures import clip_features
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.encoding import encode_texts
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import Searches, search_both_ways

PAIRS = 32  # matched at a time: each looks at all frames of a clip


def search_clips(
    model: BlipForRetrieval,
    processor,
    clips: Sequence[Sequence[Image.Image]],
    texts: Sequence[str],
    settings: RetrievalConfig | None = None,
) -> tuple[Searches, Searches]:
    """Clips by each text, and texts by each clip, where text i tells of clip i: candidates, scores and ranks.

    Equal texts are one candidate. A clip is its frames (`data.frames.frames`). `settings` are a config's `retrieval`:
    so many of the nearest are matched. Raises InputError for a clip without a frame, or another number of texts.
    """
    if len(clips) != len(texts) or not clips or not all(clips):
        raise InputError(
            f"search_clips: {len(clips)} clips and {len(texts)} texts: expected a text for each clip, and no empty clip"
        )
    check_task(model, BlipForRetrieval, "search_clips")
    settings, side = settings or RetrievalConfig(), processor.image_processor.size["height"]
    gallery = Gallery.of_rows([{"image_id": str(i), "caption": text} for i, text in enumerate(texts)])
    tokens = text_tokens(processor.tokenizer, [texts[row] for row in gallery.text_rows], settings)
    model.eval()
    states = []
    with torch.no_grad():
        for clip in clips:
            pixels = torch.stack([torch.from_numpy(resize_image(frame, side)) for frame in clip])
            states.append(model.picture_states(pixels.to(model.device)))
    return clip_searches(model, states, tokens, gallery, settings.rerank)


@torch.no_grad()
def clip_searches(
    model: BlipForRetrieval, clips: Sequence[Tensor], tokens: dict[str, Tensor], gallery: Gallery, k: int
) -> tuple[Searches, Searches]:
    """As `search_clips`, from the frames' states `[F,N,H]` of each clip and tokens `[T,L]` of each distinct text."""
    features = torch.cat([clip_features(model.vision_proj, states, _frames([states])) for states in clips])
    texts = encode_texts(model, tokens, len(clips))

    def match(pairs: np.ndarray) -> np.ndarray:
        logits = []
        for start in range(0, len(pairs), PAIRS):
            part = pairs[start : start + PAIRS]
            used, place = np.unique(part[:, 0], return_inverse=True)
            joined = [clips[number] for number in used]
            text = torch.from_numpy(part[:, 1])
            ids, mask = (tokens[name][text].to(model.device) for name in ("input_ids", "attention_mask"))
            index = _frames(joined)[torch.from_numpy(place).to(model.device)]
            logits.append(model.match_logits(torch.cat(joined), ids, mask, index).float().cpu().numpy())
        return np.concatenate(logits)

    other = np.roll(np.arange(len(clips)), 1)
    by_text, by_clip, _ = search_both_ways(features.cpu(), texts.cpu(), gallery, other, k, match)
    return by_text, by_clip


def _frames(clips: Sequence[Tensor]) -> Tensor:
    """`[C,F]`: where the frames of each clip stand in all of them one after the other, -1 for none."""
    most = max(map(len, clips))
    numbers, first = torch.full((len(clips), most), -1, device=clips[0].device), 0
    for row, states in enumerate(clips):
        numbers[row, : len(states)] = torch.arange(first, first + len(states))
        first += len(states)
    return numbers
