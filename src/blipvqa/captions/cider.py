"""CIDEr-D and ROUGE-L of captions, each with several references, as the field's scripts compute them.

CIDEr-D: Vedantam et al. 2015, eq. 1-3 with the changes of section 5 (clipped counts, Gaussian length penalty); where
the paper leaves something open, as `pycocoevalcap` (cider_scorer.py) has it. Document frequencies are those of the
references that are scored. ROUGE-L: Lin 2004 with beta 1.2, the best precision and the best recall over the references,
as `pycocoevalcap` (rouge.py). Both take texts as lists of words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]
ORDERS = (1, 2, 3, 4)
SIGMA = 6.0  # of the length penalty
SCALE = 10.0
BETA = 1.2


def cider_d(predictions: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[list[float], list[bool]]:
    """The CIDEr-D of each prediction against the references of its picture, 0 to 10, and whether it can be above 0.

    It can where these references hold an n-gram that not every picture's references hold. Only such ones weigh, and of
    a single picture there are none.
    """
    counted = [[_ngrams(words) for words in texts] for texts in references]
    frequency: Counter = Counter()  # of how many pictures' references an n-gram is part
    for texts in counted:
        frequency.update(set().union(*texts))
    pictures = math.log(max(len(references), 1))
    scores, possible = [], []
    for words, texts in zip(predictions, counted, strict=True):
        prediction = _Weighted(_ngrams(words), frequency, pictures)
        weighted = [_Weighted(text, frequency, pictures) for text in texts]
        scores.append(SCALE * sum(_similarity(prediction, text) for text in weighted) / len(texts))
        possible.append(any(any(text.norms.values()) for text in weighted))
    return scores, possible


def _ngrams(words: Words) -> Counter:
    return Counter(tuple(words[i : i + n]) for n in ORDERS for i in range(len(words) - n + 1))


class _Weighted:
    """n-grams weighted by how rare they are, their norms by order, and the length of the text."""

    def __init__(self, ngrams: Counter, frequency: Counter, pictures: float):
        self.weights = {
            ngram: count * (pictures - math.log(max(1.0, frequency[ngram]))) for ngram, count in ngrams.items()
        }
        self.norms = dict.fromkeys(ORDERS, 0.0)
        for ngram, weight in self.weights.items():
            self.norms[len(ngram)] += weight**2
        self.norms = {n: math.sqrt(norm) for n, norm in self.norms.items()}
        self.length = sum(count for ngram, count in ngrams.items() if len(ngram) == 2)  # as the script: bigrams


def _similarity(prediction: _Weighted, reference: _Weighted) -> float:
    """The mean over orders of the cosine with clipped weights, times the length penalty."""
    cosines = dict.fromkeys(ORDERS, 0.0)
    for ngram, weight in prediction.weights.items():
        of_reference = reference.weights.get(ngram, 0.0)
        cosines[len(ngram)] += min(weight, of_reference) * of_reference
    penalty = math.exp(-((prediction.length - reference.length) ** 2) / (2 * SIGMA**2))
    for n in ORDERS:
        if prediction.norms[n] and reference.norms[n]:
            cosines[n] /= prediction.norms[n] * reference.norms[n]
    return penalty * sum(cosines.values()) / len(ORDERS)


def rouge_l(prediction: Words, references: Sequence[Words]) -> float:
    """The F-measure of the longest common subsequence, 0 to 1; 0 for a text without words."""
    if not prediction:
        return 0.0
    common = [_longest_common(prediction, words) for words in references]
    precision = max(common) / len(prediction)
    recall = max(n / len(words) for n, words in zip(common, references, strict=True) if words) if any(references) else 0
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _longest_common(a: Words, b: Words) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        before = row
        row = [0]
        for j, other in enumerate(b):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
    return row[-1]
