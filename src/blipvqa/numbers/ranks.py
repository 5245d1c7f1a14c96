"""Ranks of retrieval: where the first right candidate of a query stands, and what chance alone would give.

Notable:
- A query may have several right candidates; the best of them counts, as in the authors' `itm_eval` (salesforce/BLIP,
  train_retrieval.py).
- Ties go against ourselves: a wrong candidate with the score of the right one stands before it. A model that gives
  every candidate the same score finds nothing.
- Recall and mean rank are functions of column sums; the median is one of weighted rows.
"""

from collections.abc import Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_weighted
from blipvqa.numbers.measures import Measure, divide, ratio

RECALLS = (1, 5, 10)
TIE = 1e-6  # scores nearer than this are equal: the same features give other last digits in another place of a matrix


def best_ranks(scores: np.ndarray, right: Sequence[np.ndarray]) -> np.ndarray:
    """The rank `[Q]`, from 1, of each query's best right candidate among `scores [Q,N]`.

    `right[q]` are the numbers of query q's right candidates. A score that is no number counts as the lowest where it is
    right and as the highest where it is wrong.
    """
    query, candidate = flat(right)
    best = np.full(len(scores), -np.inf)
    of_right = scores[query, candidate].astype(float)
    np.maximum.at(best, query, np.where(np.isnan(of_right), -np.inf, of_right))
    before = ~(scores < (best - TIE).astype(scores.dtype)[:, None])  # else all scores are copied as float64
    before[query, candidate] = False
    return 1 + before.sum(axis=1)


def shortlist_ranks(
    candidates: np.ndarray, scores: np.ndarray, right: Sequence[np.ndarray], gallery: int
) -> np.ndarray:
    """As `best_ranks`, where only `candidates [Q,k]` have `scores [Q,k]` and all others of the `gallery` share the last
    place: a query with no right candidate on its shortlist stands behind every wrong one."""
    numbers = np.array([len(one) for one in right])
    hits = np.stack([np.isin(row, one) for row, one in zip(candidates, right, strict=True)])
    ranks = best_ranks(scores, [np.flatnonzero(row) for row in hits])
    return np.where(hits.any(axis=1), ranks, gallery - numbers + 1)


def ndcg(scores: np.ndarray, relevance: np.ndarray) -> float | None:
    """Normalized discounted cumulative gain of candidates `[N]` by their scores; None where none is relevant.

    Of the first K, where K have a relevance above 0: the sum of relevance / log2(1 + place), over that of the best
    order. Of equal scores the least relevant comes first. Source: VisDial's challenge
    (visdial-challenge-starter-pytorch, visdialch/metrics.py).
    """
    count = int((relevance > 0).sum())
    if not count:
        return None
    order = np.lexsort((relevance, -np.where(np.isnan(scores), -np.inf, scores)))[:count]
    discount = 1 / np.log2(np.arange(count) + 2)
    return float((relevance[order] @ discount) / (np.sort(relevance)[::-1][:count] @ discount))


def flat(right: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Each pair of a query and one of its right candidates, as two arrays of numbers."""
    query = np.repeat(np.arange(len(right)), [len(one) for one in right])
    return query, np.concatenate([*right, np.empty(0, np.int64)]).astype(np.int64)


def chance_of_recall(k: int, right: np.ndarray, gallery: int) -> np.ndarray:
    """How likely one of `right [Q]` candidates of the `gallery` is among the first k of a random order, `[Q]`."""
    missed = np.ones(len(right))
    for place in range(min(k, gallery)):
        missed *= np.clip(gallery - place - right, 0, None) / (gallery - place)
    return 1 - missed


def rank_columns(prefix: str, rank: float) -> dict[str, float]:
    """What one query with this rank adds to the columns of `rank_measures(prefix, …)`."""
    return {f"{prefix}_queries": 1, f"{prefix}_ranks": rank} | {f"{prefix}_{k}": rank <= k for k in RECALLS}


def chance_columns(prefix: str, right: np.ndarray, gallery: int) -> dict[str, np.ndarray]:
    """The same columns for a random order of the gallery, each `[Q]`: expected values."""
    recalls = {f"{prefix}_{k}": chance_of_recall(k, right, gallery) for k in RECALLS}
    # the first of r places drawn of N: (N + 1) / (r + 1) on average
    return {f"{prefix}_queries": np.ones(len(right)), f"{prefix}_ranks": (gallery + 1) / (right + 1)} | recalls


def rank_measures(prefix: str, what: str) -> dict[str, Measure]:
    """R@1, R@5, R@10, their mean and the mean rank of `what` is searched ("a picture by its text")."""
    queries, recalls = f"{prefix}_queries", tuple(f"{prefix}_{k}" for k in RECALLS)
    measures = {
        f"{prefix}_r{k}": ratio(
            f"{prefix}_{k}", queries, f"share of searches for {what} with a right one among the first {k}", title
        )
        for k, title in ((k, f"{what}, R@{k}") for k in RECALLS)
    }
    measures[f"{prefix}_r_mean"] = Measure(
        lambda *sums: mean_recall(*sums),
        (*recalls, queries),
        queries,
        f"mean of the {len(RECALLS)} recalls of {what}",
        f"{what}, mean R",
    )
    measures[f"{prefix}_mean_rank"] = ratio(
        f"{prefix}_ranks",
        queries,
        f"mean place of the first right one in searches for {what}, from 1",
        most=np.inf,
        title=f"{what}, mean rank",
        rises=False,
    )
    return measures


def mean_recall(*sums: np.ndarray) -> np.ndarray:
    """The mean of recalls whose sums come first and whose number of queries comes last."""
    return divide(sum(sums[:-1]), len(RECALLS) * sums[-1])


def mean_of_both(first: str, second: str) -> Measure:
    """r_mean: the mean of all recalls of two directions, which count as much as each other."""
    columns = tuple(f"{prefix}_{k}" for prefix in (first, second) for k in RECALLS)

    def value(*sums: np.ndarray) -> np.ndarray:
        half = len(RECALLS)
        return (mean_recall(*sums[:half], sums[-2]) + mean_recall(*sums[half:-2], sums[-1])) / 2

    return Measure(
        value,
        (*columns, f"{first}_queries", f"{second}_queries"),
        f"{second}_queries",
        f"mean of the {2 * len(RECALLS)} recalls, both ways",
        "mean R, both ways",
    )


def median(ranks: np.ndarray, weights: np.ndarray) -> float:
    """The median of ranks that count `weights` times each; between two middle ones, their mean."""
    order = np.argsort(ranks)
    below = np.cumsum(weights[order])
    if not len(ranks) or not below[-1]:
        return float("nan")
    middle = below[-1] / 2
    low, high = np.searchsorted(below, middle), np.searchsorted(below, middle, side="right")
    return float(ranks[order[low]] + ranks[order[min(high, len(ranks) - 1)]]) / 2


def estimate_median(ranks: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap = BY_IMAGE) -> Estimate:
    """The median rank with its interval over groups."""
    return estimate_weighted(lambda weights: median(ranks, weights), groups, bootstrap, most=np.inf)


def median_by_chance(right: np.ndarray, gallery: int) -> int | None:
    """The rank that half of all queries reach in a random order of the gallery; None without a query."""
    if not len(right):
        return None
    low, high = 1, gallery
    while low < high:
        half = (low + high) // 2
        low, high = (low, half) if chance_of_recall(half, right, gallery).mean() >= 0.5 else (half + 1, high)
    return low
