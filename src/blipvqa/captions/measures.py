"""What is counted of each described picture, and every measure as a function of the summed counts.

Texts are compared by their words (`text.words`): lower case, without punctuation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.captions.cider import cider_d, rouge_l
from blipvqa.captions.predictions import Prediction
from blipvqa.captions.terms import Finder, Terms, side
from blipvqa.errors import InputError
from blipvqa.numbers.bleu import BLEU_ORDERS, bleu, count_ngrams
from blipvqa.numbers.measures import Measure, Measures, divide, ratio
from blipvqa.plural import how_many
from blipvqa.text import normalize, words

NEEDED = ("id", "image_id", "references", "prediction")

MEASURES = Measures(
    {
        "cider_d": Measure(
            # NaN where no picture can have more than 0: that says nothing of the captions
            lambda cider, pictures, can_be_right: divide(cider, np.where(can_be_right, pictures, 0)),
            ("cider_d", "all", "cider_can_be_right"),
            "all",
            "mean CIDEr-D, 0 to 10, by word (Vedantam et al. 2015, as pycocoevalcap)",
            "CIDEr-D",
            10.0,
        ),
        **{
            f"bleu_{order}": bleu(
                order,
                "all",
                f"corpus BLEU, n-grams up to {order} weighted equally, unsmoothed, closest reference's length "
                "(Papineni et al. 2002, n-grams counted by sacrebleu)",
            )
            for order in BLEU_ORDERS
        },
        "rouge_l": ratio("rouge_l", "all", "mean ROUGE-L F, beta 1.2 (Lin 2004, as pycocoevalcap)", "ROUGE-L"),
        "exact_match": ratio("right", "all", "share of captions equal to a reference after text.normalize"),
        "terms_recalled": ratio(
            "recalled", "terms", "of the things that the references name, the share that the caption names"
        ),
        "terms_invented": ratio(
            "invented",
            "named",
            "of the things that the captions name, the share that no reference names (CHAIR_i, Rohrbach et al. 2018)",
            rises=False,
        ),
        "pictures_with_invented": ratio(
            "has_invented",
            "all_with_terms",
            "share of captions with an invented thing (CHAIR_s, Rohrbach et al. 2018)",
            rises=False,
        ),
        "sides_exchanged": ratio(
            "exchanged",
            "sided",
            "left for right or right for left, where caption and references name one side",
            rises=False,
        ),
        "words": ratio(
            "predicted_words", "all", "mean number of words of a caption", "words a caption", math.inf, rises=False
        ),
        "distinct_captions": ratio("distinct", "all", "different captions by the number of captions"),
        "distinct_1": ratio(
            "distinct_1", "total_1", "different words by the number of words (Li et al. 2016)", "distinct-1"
        ),
        "distinct_2": ratio(
            "distinct_2", "total_2", "different pairs of words by the number of pairs (Li et al. 2016)", "distinct-2"
        ),
    }
)
NEEDS_TERMS = frozenset({"terms_recalled", "terms_invented", "pictures_with_invented"})


def measure_names(terms: Terms) -> list[str]:
    """The measures that there are with these terms, or without any."""
    return [name for name in MEASURES if terms or name not in NEEDS_TERMS]


def check_predictions(predictions: Sequence[Mapping]) -> None:
    """Raise InputError unless every prediction has what is NEEDED and every id is unique."""
    ids = Counter()
    for i, prediction in enumerate(predictions):
        if missing := [key for key in NEEDED if prediction.get(key) is None]:
            raise InputError(f"prediction {prediction.get('id', i)!r} has no {', '.join(missing)}")
        if not prediction["references"]:
            raise InputError(f"prediction {prediction['id']!r} has no reference: an image needs one caption or more")
        ids[prediction["id"]] += 1
    if repeated := [key for key, n in ids.items() if n > 1]:
        raise InputError(f"{how_many(len(repeated), 'id is', 'ids are')} there twice, such as {repeated[0]!r}")


def counts(predictions: Sequence[Prediction], terms: Terms) -> np.ndarray:
    """The matrix `[picture, MEASURES.columns]` whose column sums every measure is computed from.

    Rarity (CIDEr-D) and repetition (distinct-n) are those of all `predictions`, also in a slice or a resample: a
    caption that comes three times counts as a third of a distinct one each time.
    """
    check_predictions(predictions)
    predicted = [words(prediction["prediction"]) for prediction in predictions]
    references = [[words(text) for text in prediction["references"]] for prediction in predictions]
    finder, repeated = Finder(terms), _Repeated(predicted)
    ciders = [
        {"cider_d": cider, "cider_can_be_right": possible}
        for cider, possible in zip(*cider_d(predicted, references), strict=True)
    ]
    rows = [
        _count(prediction, text, texts, finder) | cider | repeated.shares(text)
        for prediction, text, texts, cider in zip(predictions, predicted, references, ciders, strict=True)
    ]
    return MEASURES.matrix(rows)


def _count(prediction: Prediction, text: list[str], references: list[list[str]], finder: Finder) -> dict[str, float]:
    counted: dict[str, float] = {"all": 1, "rouge_l": rouge_l(text, references), **count_ngrams(text, references)}
    counted["right"] = normalize(prediction["prediction"]) in map(normalize, prediction["references"])
    if finder.patterns:
        named = finder.named(prediction["prediction"])
        there = set().union(*map(finder.named, prediction["references"]))
        counted |= {"terms": len(there), "recalled": len(named & there), "named": len(named)}
        counted |= {"invented": len(named - there), "has_invented": bool(named - there), "all_with_terms": 1}
    sides = side([prediction["prediction"]]), side(prediction["references"])
    if None not in sides:
        counted |= {"sided": 1, "exchanged": sides[0] != sides[1]}
    return counted


class _Repeated:
    """How often each caption, word and pair of words was written."""

    def __init__(self, predicted: Sequence[Sequence[str]]):
        self.texts = Counter(map(tuple, predicted))
        self.ngrams = {n: Counter(ngram for text in predicted for ngram in self._of(text, n)) for n in (1, 2)}

    @staticmethod
    def _of(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
        return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]

    def shares(self, text: Sequence[str]) -> dict[str, float]:
        """What one text adds to the number of distinct texts, words and pairs."""
        shares = {"distinct": 1 / self.texts[tuple(text)]}
        return shares | {f"distinct_{n}": sum(1 / self.ngrams[n][g] for g in self._of(text, n)) for n in (1, 2)}
