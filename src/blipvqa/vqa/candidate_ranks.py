"""Ranks among the candidates that a row brings itself, as VisDial measures: MRR, R@1, 5, 10, mean rank, NDCG.

Right is whichever candidate is the row's answer; a row whose answer is none of its candidates has no rank, and is
counted. NDCG needs `relevance`, of which one is above 0; else it is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.data.candidates import candidates_of
from blipvqa.numbers.bootstrap import Bootstrap, estimate
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.numbers.ranks import best_ranks, chance_columns, ndcg, rank_columns, rank_measures
from blipvqa.text import normalize
from blipvqa.vqa.answers import spelled_answers

OF_RANKS = {name: one for name, one in rank_measures("answer", "the answer").items() if name != "answer_r_mean"}
RANKS = Measures(
    {
        "answer_mrr": ratio("answer_reciprocal", "answer_queries", "mean of 1 / rank of the answer (VisDial)", "MRR"),
        **OF_RANKS,
        "answer_ndcg": ratio(
            "answer_gain",
            "answer_judged",
            "gain of the first K candidates over the best that K could have, K of them relevant (VisDial)",
            "NDCG",
        ),
    }
)


def score_candidates(ranked: Sequence[Mapping], bootstrap: Bootstrap) -> dict:
    """{"overall", "chance": Estimates by measure, "without": how many rows have an answer that is no candidate}.

    `ranked` is of `rank_own_candidates`; chance is a random order of the same candidates.
    """
    right = [np.flatnonzero([normalize(text) in spelled_answers(row) for text in candidates_of(row)]) for row in ranked]
    counted = [_counts(row, of_row) for row, of_row in zip(ranked, right, strict=True)]
    by_chance = [_by_chance(row, of_row) for row, of_row in zip(ranked, right, strict=True)]
    groups = bootstrap.groups_of(ranked)

    def estimates(rows: Sequence[Mapping]) -> dict:
        matrix = RANKS.matrix(rows)
        return estimate(matrix, groups, [np.arange(len(rows))], RANKS, RANKS, bootstrap)[0]

    without = sum(not len(of_row) for of_row in right)
    return {"overall": estimates(counted), "chance": estimates(by_chance), "without": without}


def _counts(row: Mapping, right: np.ndarray) -> dict[str, float]:
    """What one question adds to the columns."""
    counted: dict[str, float] = {}
    scores = np.array(row["scores"], float)
    if len(right):
        rank = int(best_ranks(scores[None], [right])[0])
        counted |= rank_columns("answer", rank) | {"answer_reciprocal": 1 / rank}
    gain = ndcg(scores, np.array(row.get("relevance") or [], float))
    return counted | ({} if gain is None else {"answer_judged": 1, "answer_gain": gain})


def _by_chance(row: Mapping, right: np.ndarray) -> dict[str, float]:
    """The same in a random order; without NDCG, whose chance depends on the relevances."""
    count = len(candidates_of(row))
    if not len(right):
        return {}
    columns = {name: float(value[0]) for name, value in chance_columns("answer", np.array([len(right)]), count).items()}
    return columns | {"answer_reciprocal": _reciprocal_by_chance(len(right), count)}


def _reciprocal_by_chance(right: int, count: int) -> float:
    """The mean of 1 / place of the first of `right` among `count` in a random order."""
    mean, none_before = 0.0, 1.0
    for place in range(1, count - right + 2):
        here = none_before * right / (count - place + 1)
        mean, none_before = mean + here / place, none_before - here
    return mean
