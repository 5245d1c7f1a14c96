"""BLEU of whole corpora as a function of column sums, with one or several references a text.

Papineni et al. 2002, eq. 1-3, with uniform weights and no smoothing; n-grams are counted by sacrebleu. Of several
references each n-gram counts as often as the one that has it most often, and the length of the closest one counts, the
shorter of two that are equally close.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from sacrebleu.metrics.helpers import extract_all_word_ngrams

from blipvqa.numbers.measures import Measure, divide

BLEU_ORDERS = (1, 2, 3, 4)


def bleu(order: int, counted: str, meaning: str) -> Measure:
    """The measure BLEU-`order` over the rows that the column `counted` marks."""
    lengths = ("predicted_words", "reference_words", f"reference_has_{order}_words")
    per_order = tuple(f"{what}_{n}" for what in ("matched", "total") for n in range(1, order + 1))
    return Measure(_value(order), lengths + per_order, counted, meaning, f"BLEU-{order}")


def _value(order: int) -> Callable[..., np.ndarray]:
    """Equal to sacrebleu's `BLEU(max_ngram_order=order, smooth_method="none")` / 100, but for whole arrays of sums.

    NaN where no reference is `order` words long: there is no such n-gram that could have been right.
    """

    def value(predicted_words, reference_words, long_enough, *matched_and_total) -> np.ndarray:
        matched, total = matched_and_total[:order], matched_and_total[order:]
        with np.errstate(divide="ignore", invalid="ignore"):  # log 0 = -inf: no match of one order is BLEU 0
            precisions = [np.nan_to_num(divide(m, t)) for m, t in zip(matched, total, strict=True)]
            geometric_mean = np.exp(np.mean(np.log(precisions), axis=0))
            brevity = np.exp(np.minimum(0, 1 - np.asarray(reference_words) / predicted_words))
        return np.where(np.asarray(long_enough) > 0, np.nan_to_num(brevity * geometric_mean), np.nan)

    return value


def count_ngrams(predicted: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, int]:
    """The columns of `bleu` for one text, given as words, and its references."""
    of_references = [extract_all_word_ngrams(" ".join(words), 1, max(BLEU_ORDERS)) for words in references]
    ngrams, predicted_length = extract_all_word_ngrams(" ".join(predicted), 1, max(BLEU_ORDERS))
    most: Counter = Counter()
    for reference, _ in of_references:
        most |= reference
    lengths = [length for _, length in of_references]
    closest = min(lengths, key=lambda length: (abs(length - predicted_length), length))
    counted = Counter(predicted_words=predicted_length, reference_words=closest)
    for order in BLEU_ORDERS:
        counted[f"reference_has_{order}_words"] = int(max(lengths) >= order)
    for ngram, n in ngrams.items():
        counted[f"total_{len(ngram)}"] += n
        counted[f"matched_{len(ngram)}"] += min(n, most[ngram])
    return counted
