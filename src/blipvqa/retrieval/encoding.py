"""Pictures and texts to features, and pairs of them to matching scores: each encoded once.

Notable:
- A clip (a row of several pictures) is one candidate: its features are the mean of its frames' projections, taken
  before these are normalized, and ITM sees the tokens of all frames one after the other, as the authors' video
  retrieval. Frames have no order to either (docs/facts.md 14.1). Clips may differ in length: masks are true.
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
from blipvqa.data.several_pictures import pictures_of
from blipvqa.models.packing import Packed, sent
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.several_pictures import shown_features
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.gallery import Gallery
from blipvqa.training.shares import is_first, portable, shared

STATES_BYTES = 2 * 2**30  # of the states of all pictures
PAIRS = 256  # matched at a time; of clips so many fewer as they have frames


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
    """Candidates by number, each a picture or a clip of several: `features [I,D]`, and `states(pictures)` `[n,N,H]`."""

    @torch.no_grad()
    def __init__(
        self,
        model: BlipForRetrieval,
        pixels: Callable[[list[int]], Tensor],
        count: int,
        size: int,
        progress: str | None = None,
        clips: Sequence[Sequence[int]] | None = None,
        kept_bytes: int = STATES_BYTES,
    ):
        """`pixels(numbers)` gives some of `count` pictures as uint8 `[n,3,S,S]`; `size` are encoded at a time.

        `clips` are the pictures of each candidate; None: each picture is one.
        """
        self.model, self.pixels, self.size, self.kept_bytes = model, pixels, size, kept_bytes
        self.frames = np.arange(count)[:, None] if clips is None else _padded(clips)  # [I,F], -1 for none
        self.kept: dict[int, Tensor] = {}  # states of those that this process encoded together, by their first number
        self.bytes = 0
        spans = _spans(count, size)
        parts = shared(spans, [rows.stop - rows.start for rows in spans], lambda mine: self._projected(mine, progress))
        projected = torch.cat(parts) if parts else torch.empty(0, model.config.image_text_hidden_size)
        self.features = shown_features(projected, _flat(self.frames).to(projected.device)).to(model.device)

    def looked_at(self, candidates: np.ndarray) -> tuple[list[int], Tensor]:
        """The pictures that some candidates show, and where among them those of each stand: `[P]`, or of clips `[P,F]`,
        -1 for none."""
        shown = self.frames[candidates]
        pictures = np.unique(shown[shown >= 0])
        return pictures.tolist(), _flat(np.where(shown < 0, -1, np.searchsorted(pictures, shown)))

    def _projected(self, spans: Sequence[slice], progress: str | None) -> Iterator[Tensor]:
        quiet = progress is None or not is_first()
        for rows in progress_bar(spans, desc=progress, unit="batch", disable=quiet, leave=False):
            states = self._encode(list(range(rows.start, rows.stop)))
            self.bytes += states.nbytes
            if self.bytes <= self.kept_bytes:
                self.kept[rows.start] = states
            yield portable(self.model.vision_proj(states[:, 0]).float())

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


def encoded_rows(
    model: BlipForRetrieval,
    dataset: VQADataset,
    rows: Sequence[int],
    size: int,
    progress: str | None = None,
    kept_bytes: int = STATES_BYTES,
) -> EncodedPictures:
    """What these rows of a data set show: a picture, or a clip where they show several."""
    numbers: dict[str, int] = {}
    places: list[tuple[int, int]] = []  # of each picture: a row that shows it, and where there
    clips = []
    for row in rows:
        image_ids = pictures_of(dataset.rows[row])
        for place, image_id in enumerate(image_ids):
            if image_id not in numbers:
                numbers[image_id] = len(places)
                places.append((row, place))
        clips.append([numbers[image_id] for image_id in image_ids])

    def pixels(pictures: list[int]) -> Tensor:
        return torch.stack([dataset.pixels(*places[picture]) for picture in pictures])

    return EncodedPictures(model, pixels, len(places), size, progress, clips, kept_bytes)


class EncodedSplit:
    """A split's gallery with every picture and every text of it encoded once: `pictures`, and `texts [T,D]` with their
    `tokens`."""

    def __init__(self, model: BlipForRetrieval, tokenizer, dataset: VQADataset, config: Config, progress: bool = False):
        self.gallery = gallery = Gallery.of_rows(dataset.rows)
        captions = [dataset.rows[row]["caption"] for row in gallery.text_rows]
        self.tokens = text_tokens(tokenizer, captions, config.retrieval)
        size, doing = config.generate.batch_size, f"encode {dataset.split}" if progress else None
        self.pictures = encoded_rows(model, dataset, gallery.picture_rows, size, doing)
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
    spans = _spans(len(pairs), max(1, PAIRS // pictures.frames.shape[1]))

    def work(mine: Sequence[slice]) -> Iterator[Tensor]:
        quiet = progress is None or not is_first()
        for rows in progress_bar(mine, desc=progress, unit="batch", disable=quiet, leave=False):
            shown, index = pictures.looked_at(pairs[rows, 0])
            texts = torch.from_numpy(pairs[rows, 1])
            mask = tokens["attention_mask"][texts]
            mask = mask[:, : int(mask.sum(1).max())]
            read = Packed.of(mask, index, len(shown), even=True)
            of_batch = (tokens["input_ids"][texts, : mask.shape[1]], mask, read)
            ids, mask, read = (sent(x, model.device) for x in of_batch)
            yield portable(model.match_logits(pictures.states(shown), ids, mask, read=read).float())

    logits = shared(spans, [rows.stop - rows.start for rows in spans], work)
    return torch.cat(logits).cpu().numpy() if logits else np.empty((0, 2), np.float32)


def _padded(clips: Sequence[Sequence[int]]) -> np.ndarray:
    """`[C,F]`, -1 where a clip has fewer than F pictures."""
    frames = np.full((len(clips), max(map(len, clips), default=1)), -1)
    for row, clip in zip(frames, clips, strict=True):
        row[: len(clip)] = clip
    return frames


def _flat(frames: np.ndarray) -> Tensor:
    """`[C]` of `[C,1]`, pictures that are no clips; `[C,F]` as it is."""
    return torch.from_numpy(frames[:, 0] if frames.shape[1] == 1 else frames)


def _spans(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
