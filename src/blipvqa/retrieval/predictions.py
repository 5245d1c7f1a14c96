"""From a model and a split to every search both ways: which pictures each text finds, and which texts each picture.

The whole split is the gallery, never a batch. Equal texts are one candidate, and right for every picture they describe.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.retrieval.encoding import EncodedSplit, match
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.searches import SHOWN, Matched, Searches, search_both_ways


class Near(TypedDict):
    """A candidate near the top of a search."""

    id: str  # of its first row
    score: float  # ITM's logit plus the cosine, or both as log-odds; the cosine alone where nothing was matched
    match: float | None  # ITM's probability; None where nothing was matched
    right: bool


class Search(TypedDict):
    """One search of the gallery."""

    rank: int  # of the best right candidate, from 1
    itc_rank: int  # by cosine alone
    exchanged: int  # with another picture in each picture's place
    itc_exchanged: int
    nearest: list[Near]  # the best few


class Prediction(TypedDict, total=False):
    """A row: its text's search, and with the first row of a picture that picture's search too. One line of
    `predictions-<split>.jsonl`, with the row's further columns."""

    id: str
    image_id: str
    caption: str
    img: Search  # pictures by this text
    txt: Search | None  # texts by this picture; None in its further rows
    match: float  # ITM's probability that this text and this picture belong together
    match_other: float | None  # the same with another picture; None where the text is right for that one too
    prediction: str  # the id of the nearest picture
    score: float
    confidence: float | None


def predict(
    model: BlipForRetrieval, processor, dataset: VQADataset, config: Config, progress: bool = True
) -> list[Prediction]:
    """One prediction a row of `dataset`, in its order. Uses the GPU if there is one; the model is moved there and left
    in `eval()` mode."""
    device = pick_device()
    pin_number_formats(device)
    reuse_memory(device)
    model.to(device).eval()
    with autocast(prediction_precision(config, device), device):
        encoded = EncodedSplit(model, processor.tokenizer, dataset, config, progress)
        return searched(model, encoded, dataset, config, progress)


def searched(
    model: BlipForRetrieval, encoded: EncodedSplit, dataset: VQADataset, config: Config, progress: bool = False
) -> list[Prediction]:
    """As `predict`, of what is encoded already."""
    doing = f"match {dataset.split}" if progress else None
    gallery = encoded.gallery
    other = gallery.other_pictures(config.seed)
    img, txt, matched = search_both_ways(
        encoded.pictures.features,
        encoded.texts,
        gallery,
        other,
        config.retrieval.rerank,
        lambda pairs: match(model, encoded.pictures, encoded.tokens, pairs, doing),
        temperature_of(model, config),
    )
    return _predictions(dataset.rows, gallery, other, img, txt, matched)


def temperature_of(model: BlipForRetrieval, config: Config) -> float | None:
    """The temperature that cosines are divided by beside ITM's logits; None for the authors' rule."""
    return model.temp.item() if config.retrieval.rerank_by == "likelihood" else None


def _predictions(
    rows: list[dict], gallery: Gallery, other: np.ndarray, img: Searches, txt: Searches, matched: Matched
) -> list[Prediction]:
    picture_ids = [rows[row]["id"] for row in gallery.picture_rows]
    text_ids = [rows[row]["id"] for row in gallery.text_rows]
    own = matched(gallery.picture_of, gallery.text_of)[1]
    exchanged = matched(other[gallery.picture_of], gallery.text_of)[1]
    predictions = []
    for i, row in enumerate(rows):
        picture, text = gallery.picture_of[i], gallery.text_of[i]
        search = _search(img, text, picture_ids, gallery.pictures_of_text[text])
        first = gallery.picture_rows[picture] == i
        nearest = search["nearest"][0]
        predictions.append(
            Prediction(
                **row,
                img=search,
                txt=_search(txt, picture, text_ids, gallery.texts_of_picture[picture]) if first else None,
                match=_rounded(own[i]),
                match_other=None if other[picture] in gallery.pictures_of_text[text] else _rounded(exchanged[i]),
                prediction=nearest["id"],
                score=nearest["score"],
                confidence=nearest["match"],
            )
        )
    return predictions


def _search(searches: Searches, query: int, ids: list[str], right: np.ndarray) -> Search:
    best = searches.candidates[query][:SHOWN]
    matches = [None] * len(best) if searches.matches is None else map(_rounded, searches.matches[query][:SHOWN])
    nearest = [
        Near(id=ids[candidate], score=_rounded(score), match=match, right=bool(candidate in right))
        for candidate, score, match in zip(best, searches.scores[query][:SHOWN], matches, strict=True)
    ]
    return Search(nearest=nearest, **{name: int(ranks[query]) for name, ranks in searches.ranks.items()})


def _rounded(value: float) -> float | None:
    """Six digits; None for what is no number: NaN is no JSON."""
    return round(float(value), 6) if np.isfinite(value) else None
