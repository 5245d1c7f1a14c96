"""`search`: pictures by words, words by picture, pictures by picture, in an index.

Exact, in blocks, up to EXACT candidates. Of more, the library `faiss` finds the likely nearest without comparing all,
where it is installed (`pip install 'blipvqa[faiss]'`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blipvqa.data.images import open_picture, resize_image
from blipvqa.data.texts import check_own_text
from blipvqa.errors import InputError
from blipvqa.models.tokenizer import reading_notes
from blipvqa.numbers.nearest import Cells, has_faiss, nearest
from blipvqa.pages.wording import share
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.encoding import EncodedPictures, encode_texts, match
from blipvqa.retrieval.index import Index
from blipvqa.retrieval.predictions import temperature_of
from blipvqa.retrieval.searches import combined

EXACT = 1_000_000  # candidates


@dataclass(frozen=True)
class Hit:
    """One thing that a search brought up: a picture of the index, or a text."""

    name: str  # the picture's path or row, or the text
    score: float  # the cosine, and what ITM adds where it was matched
    match: float | None  # ITM's probability that text and picture belong together
    rows: tuple[Mapping, ...]  # what the source says of a picture; of a text, the rows that say it
    image: Callable[[], Image.Image] | None  # opens the picture

    def __str__(self) -> str:
        return f"{self.name} ({self.score:.2f})" if self.match is None else f"{self.name} ({share(self.match)})"


def search(
    index: Index,
    query: str | Path | bytes | np.ndarray | Image.Image,
    k: int = 10,
    of: Literal["pictures", "texts"] = "pictures",
    matched: int = 16,
) -> list[Hit]:
    """The `k` best of an index's pictures or texts, the best first.

    A `query` that is a `str` is words; a path is a `Path`, and it, a file's bytes, an array or a Pillow picture is a
    picture. Words and pictures are compared by cosine, and the first `matched` of them then by ITM, which looks closer
    and takes longer; two pictures or two texts by cosine alone. Of words that are read in part it is printed which.
    Raises InputError where nothing can be searched.
    """
    if of not in ("pictures", "texts"):
        raise InputError(f"of: {of!r}; search finds 'pictures' or 'texts'")
    if k < 1 or matched < 0:
        raise InputError(f"k is {k} and matched {matched}: expected 1 or more, and 0 or more")
    words = isinstance(query, str)
    if words:
        check_own_text("query", query, "search")
    gallery = index.pictures if of == "pictures" else index.text_features
    if not len(gallery):
        raise InputError(f"this index holds no {of}" + (": make it with texts=[…]" if of == "texts" else ""))
    index.model.eval()
    question = _Words(index, query) if words else _Picture(index, query)
    numbers, scores = _nearest(index, of, question.features, gallery, max(k, matched))
    matches: list[float | None] = [None] * len(numbers)
    if words == (of == "pictures") and matched:
        first = min(matched, len(numbers))
        logits = question.match(numbers[:first])
        scores[:first] = combined(logits, scores[:first], temperature_of(index.model, index.run.config))
        probabilities = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        order = np.argsort(-scores[:first], kind="stable")
        numbers[:first], scores[:first] = numbers[order], scores[order]
        matches[:first] = probabilities[order].tolist()
    best = zip(numbers[:k].tolist(), scores[:k].tolist(), matches[:k], strict=True)
    return [_hit(index, of, number, score, probability) for number, score, probability in best]


def _hit(index: Index, of: str, number: int, score: float, probability: float | None) -> Hit:
    if of == "texts":
        return Hit(index.texts[number], score, probability, tuple(index.saying(number)), None)
    rows = tuple(index.rows(number))
    return Hit(index.name(number), score, probability, rows, lambda: index.image(number))


class _Words:
    """Words that are searched for."""

    def __init__(self, index: Index, text: str):
        self.index, self.tokens = index, _tokens(index, [text])
        self.features = encode_texts(index.model, self.tokens, 1)
        limits = index.run.config.retrieval
        for note in reading_notes(index.processor.tokenizer, text, limits.max_words, limits.max_tokens):
            print(f"search: {note}")

    def match(self, pictures: np.ndarray) -> np.ndarray:
        """ITM's logits `[n,2]` with these pictures of the index."""
        pairs = np.stack([np.arange(len(pictures)), np.zeros(len(pictures), np.int64)], axis=1)
        return match(self.index.model, self.index.encoded(pictures.tolist()), self.tokens, pairs)


class _Picture:
    """A picture that is searched with."""

    def __init__(self, index: Index, picture):
        self.index = index
        side = index.processor.image_processor.size["height"]
        pixels = torch.from_numpy(resize_image(open_picture(picture), side))[None]
        self.encoded = EncodedPictures(index.model, lambda _: pixels, 1, 1)
        self.features = self.encoded.features

    def match(self, texts: np.ndarray) -> np.ndarray:
        """ITM's logits `[n,2]` with these texts of the index."""
        tokens = _tokens(self.index, [self.index.texts[text] for text in texts])
        pairs = np.stack([np.zeros(len(texts), np.int64), np.arange(len(texts))], axis=1)
        return match(self.index.model, self.encoded, tokens, pairs)


def _tokens(index: Index, texts: list[str]) -> dict[str, Tensor]:
    return text_tokens(index.processor.tokenizer, texts, index.run.config.retrieval)


def _nearest(index: Index, of: str, query: Tensor, gallery: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and cosines of the k nearest, the nearest first."""
    if len(gallery) > EXACT and has_faiss():
        if of not in index.cells:
            index.cells[of] = Cells(gallery)
        return index.cells[of].nearest(query.cpu(), k)
    best = nearest(query.cpu(), gallery, k)
    return best.candidates[0], best.scores[0].astype(float)
