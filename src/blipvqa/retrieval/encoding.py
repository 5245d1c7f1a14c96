"""Pictures and texts to features, and pairs of them to matching scores: each encoded once.

Notable:
- Features are small and kept. Pictures' states are kept up to STATES_BYTES; those beyond whose pairs are matched are
  encoded a second time, which is little beside their many pairs.
- Pairs are matched picture by picture, so that a picture's keys and values are projected once for all of its texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.packing import Packed, sent
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.gallery import Gallery
from blipvqa.training.shares import is_first, portable, shared

STATES_BYTES = 2 * 2**30  # of the states of all pictures
PAIRS = 256  # matched at a time


@torch.no_grad()
def encode_texts(model: BlipForRetrieval, tokens: dict[str, Tensor], size: int) -> Tensor:
    """Features `[T,D]` of texts, `size` at a time."""
    spans, mask = _spans(len(tokens["input_ids"]), size), tokens["attention_mask"]

    def work(mine: Sequence[slice]) -> Iterator[Tensor]:
        for rows in mine:
            ids, read = tokens["input_ids"][rows], Packed.of(mask[rows])
            yield portable(model.text_features(sent(ids, model.device), read=sent(read, model.device)))

    parts = shared(spans, [int(mask[rows].sum()) for rows in spans], work)
    features = torch.cat(parts).float() if parts else torch.empty(0, model.config.image_text_hidden_size)
    return features.to(model.device)


class EncodedPictures:
    """Pictures by number: `features [I,D]`, and `states(numbers)` `[n,N,H]`."""

    @torch.no_grad()
    def __init__(
        self,
        model: BlipForRetrieval,
        pixels: Callable[[list[int]], Tensor],
        count: int,
        size: int,
        progress: str | None = None,
    ):
        """`pixels(numbers)` gives pictures as uint8 `[n,3,S,S]`; `size` are encoded at a time."""
        self.model, self.pixels, self.size = model, pixels, size
        self.kept: dict[int, Tensor] = {}  # states of those that this process encoded together, by their first number
        self.bytes = 0
        spans = _spans(count, size)
        features = shared(
            spans, [rows.stop - rows.start for rows in spans], lambda mine: self._features(mine, progress)
        )
        empty = torch.empty(0, model.config.image_text_hidden_size)
        self.features = (torch.cat(features) if features else empty).to(model.device)

    def _features(self, spans: Sequence[slice], progress: str | None) -> Iterator[Tensor]:
        quiet = progress is None or not is_first()
        for rows in progress_bar(spans, desc=progress, unit="batch", disable=quiet, leave=False):
            states = self._encode(list(range(rows.start, rows.stop)))
            self.bytes += states.nbytes
            if self.bytes <= STATES_BYTES:
                self.kept[rows.start] = states
            yield portable(self.model.picture_features(states).float())

    def _encode(self, numbers: list[int]) -> Tensor:
        return self.model.picture_states(sent(self.pixels(numbers), self.model.device))

    @torch.no_grad()
    def states(self, numbers: list[int]) -> Tensor:
        """The states of some pictures, in this order."""
        missing = [number for number in numbers if number - number % self.size not in self.kept]
        anew = [self._encode(missing[rows]) for rows in _spans(len(missing), self.size)]
        places = {number: place for place, number in enumerate(missing)}
        return torch.stack(
            [
                anew[places[number] // self.size][places[number] % self.size]
                if number in places
                else self.kept[number - number % self.size][number % self.size]
                for number in numbers
            ]
        )


class EncodedSplit:
    """A split's gallery with every picture and every text of it encoded once: `pictures`, and `texts [T,D]` with their
    `tokens`."""

    def __init__(self, model: BlipForRetrieval, tokenizer, dataset: VQADataset, config: Config, progress: bool = False):
        self.gallery = gallery = Gallery.of_rows(dataset.rows)
        captions = [dataset.rows[row]["caption"] for row in gallery.text_rows]
        self.tokens = text_tokens(tokenizer, captions, config.retrieval)

        def pixels(numbers: list[int]) -> Tensor:
            return torch.stack([dataset.pixels(gallery.picture_rows[number]) for number in numbers])

        size, doing = config.generate.batch_size, f"encode {dataset.split}" if progress else None
        self.pictures = EncodedPictures(model, pixels, len(gallery.picture_rows), size, doing)
        self.texts = encode_texts(model, self.tokens, size)


@torch.no_grad()
def match(
    model: BlipForRetrieval,
    pictures: EncodedPictures,
    tokens: dict[str, Tensor],
    pairs: np.ndarray,
    progress: str | None = None,
) -> np.ndarray:
    """ITM's logits `[P,2]`, index 1 for a match, of `pairs [P,2]` of a picture's and a text's number.

    Fastest where pairs are sorted by picture.
    """
    spans = _spans(len(pairs), PAIRS)

    def work(mine: Sequence[slice]) -> Iterator[Tensor]:
        quiet = progress is None or not is_first()
        for rows in progress_bar(mine, desc=progress, unit="batch", disable=quiet, leave=False):
            numbers, place = np.unique(pairs[rows, 0], return_inverse=True)
            texts = torch.from_numpy(pairs[rows, 1])
            mask = tokens["attention_mask"][texts]
            mask = mask[:, : int(mask.sum(1).max())]
            read = Packed.of(mask, torch.from_numpy(place), len(numbers), even=True)
            of_batch = (tokens["input_ids"][texts, : mask.shape[1]], mask, read)
            ids, mask, read = (sent(x, model.device) for x in of_batch)
            yield portable(model.match_logits(pictures.states(numbers.tolist()), ids, mask, read=read).float())

    logits = shared(spans, [rows.stop - rows.start for rows in spans], work)
    return torch.cat(logits).cpu().numpy() if logits else np.empty((0, 2), np.float32)


def _spans(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
