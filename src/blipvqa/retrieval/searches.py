"""Every search of a gallery, both ways: the order by cosine, and the best of each search matched.

Notable:
- ITC orders the whole gallery by cosine. The first k of each search are matched (ITM) and stand in the order of both
  (`combined`); all others share the last place, and with them a right one that ties with the first that is left out:
  it is among the first k by luck. What both directions ask for is matched once.
- Beside the true ranks stand those with another picture in each picture's place (`exchanged`): a model that does not
  look finds as much there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from blipvqa.numbers.nearest import Nearest, nearest
from blipvqa.numbers.ranks import TIE, shortlist_ranks
from blipvqa.retrieval.gallery import Gallery

NOBODY = -1  # no candidate's number
SHOWN = 5  # the best of a search that are named, without matching too


def combined(logits: np.ndarray, cosines: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """What matched pairs are ordered by, from ITM's logits `[…,2]` and the cosines.

    Without a temperature the logit of a match plus the cosine, as in the authors' `evaluation` (salesforce/BLIP
    train_retrieval.py): beside a logit, a cosine of 1 at most says little. With the learnt temperature both stand as
    log-odds, ITM's and ITC's, as if each judged for itself (`retrieval.rerank_by: likelihood`).
    """
    if temperature is None:
        return logits[..., 1] + cosines
    return logits[..., 1] - logits[..., 0] + cosines / temperature


class Matched:
    """ITM's logits of pairs of a picture's and a text's number."""

    def __init__(self, pairs: np.ndarray, logits: np.ndarray, texts: int):
        """`pairs [P,2]` are sorted."""
        self.codes, self.logits, self.texts = pairs[:, 0] * texts + pairs[:, 1], logits.astype(float), texts

    def __call__(self, pictures: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits `[…,2]` of each pair and the probability of a match; both arrays have one shape, or broadcast."""
        logits = self.logits[np.searchsorted(self.codes, pictures * self.texts + texts)]
        return logits, 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))


@dataclass(frozen=True)
class Searches:
    """The searches of one direction: the best candidates `[Q,k]`, the best first, with their scores and, where they
    were matched, ITM's probabilities; and ranks `[Q]` of the right ones, by the names of `Prediction`."""

    candidates: np.ndarray
    scores: np.ndarray
    matches: np.ndarray | None
    ranks: dict[str, np.ndarray]


def search_both_ways(
    pictures: Tensor,
    texts: Tensor,
    gallery: Gallery,
    other: np.ndarray,
    k: int,
    match_pairs: Callable[[np.ndarray], np.ndarray],
    temperature: float | None = None,
) -> tuple[Searches, Searches, Matched]:
    """Pictures by each text, texts by each picture, and what ITM says of each pair that it was asked about.

    `pictures [I,D]` and `texts [T,D]` are features; `other [I]` is the picture that takes each one's place in the
    exchange; `match_pairs` gives the logits `[P,2]` of pairs `[P,2]` that are sorted by picture. A `k` above the
    gallery takes all of it; 0 leaves the order by cosine. The pairs of the data, as they are and exchanged, are always
    matched. `temperature`: see `combined`.
    """
    place = np.argsort(other)  # that each picture takes
    right_pictures = {"rank": gallery.pictures_of_text, "exchanged": [other[one] for one in gallery.pictures_of_text]}
    right_texts = {"rank": gallery.texts_of_picture, "exchanged": [gallery.texts_of_picture[i] for i in place]}
    by_text = nearest(texts, pictures, max(k + 1, SHOWN), right_pictures)
    by_picture = nearest(pictures, texts, max(k + 1, SHOWN), right_texts)
    text_numbers, picture_numbers = np.arange(len(texts))[:, None], np.arange(len(pictures))[:, None]
    pairs = _distinct_pairs(
        [
            (by_text.candidates[:, :k], text_numbers),
            (picture_numbers, by_picture.candidates[:, :k]),
            (gallery.picture_of, gallery.text_of),
            (other[gallery.picture_of], gallery.text_of),
        ],
        len(texts),
    )
    matched = Matched(pairs, match_pairs(pairs), len(texts))
    img = _reordered(by_text, right_pictures, k, len(pictures), lambda best: matched(best, text_numbers), temperature)
    txt = _reordered(by_picture, right_texts, k, len(texts), lambda best: matched(picture_numbers, best), temperature)
    # a picture was searched with in the place that it takes; its own place has another one's ranks
    ranks = {name: of_all[other] if name.endswith("exchanged") else of_all for name, of_all in txt.ranks.items()}
    return img, Searches(txt.candidates, txt.scores, txt.matches, ranks), matched


def _distinct_pairs(parts: Sequence[tuple[np.ndarray, np.ndarray]], texts: int) -> np.ndarray:
    """Pairs `[P,2]` of a picture's and a text's number, each once, sorted by picture."""
    codes = np.unique(np.concatenate([(pictures * texts + of_text).ravel() for pictures, of_text in parts]))
    return np.stack(np.divmod(codes, texts), axis=1)


def _reordered(
    first: Nearest,
    right: dict[str, Sequence[np.ndarray]],
    k: int,
    gallery: int,
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    temperature: float | None,
) -> Searches:
    """The order by cosine with the first k of each search in their new order; `look` gives their logits and matches."""
    ranks = {f"itc_{name}": of_all for name, of_all in first.ranks.items()}
    if not k:
        return Searches(first.candidates[:, :SHOWN], first.scores[:, :SHOWN], None, ranks | first.ranks)
    candidates = first.candidates[:, :k]
    logits, matches = look(candidates)
    scores = combined(logits, first.scores[:, :k], temperature)
    surely = first.scores[:, :k] > first.scores[:, k : k + 1] + TIE if k < first.scores.shape[1] else True
    for name, of_query in right.items():
        ranks[name] = shortlist_ranks(np.where(surely, candidates, NOBODY), scores, of_query, gallery)
    order = np.argsort(-scores, axis=1, kind="stable")
    candidates, scores, matches = (np.take_along_axis(x, order, 1) for x in (candidates, scores, matches))
    return Searches(candidates, scores, matches, ranks)
