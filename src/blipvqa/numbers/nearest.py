"""The best candidates of each query by cosine, in blocks: no matrix of all pairs is ever held.

Exact. A block holds BLOCK scores, so that 100,000 queries against 100,000 candidates take the memory of some hundred
queries; the time grows with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from blipvqa.numbers.ranks import best_ranks

BLOCK = 2**24  # scores held at a time, 64 MiB
CELLS_SEARCHED = 64  # of a gallery that is cut into cells


@dataclass(frozen=True)
class Nearest:
    """The k best candidates of each query, the best first, `[Q,k]`; and the ranks of right ones where they were asked
    for, by the name of the right ones."""

    candidates: np.ndarray
    scores: np.ndarray
    ranks: dict[str, np.ndarray]


def blocks(queries: Tensor, candidates: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Scores `[some queries, N]`, with the number of their first query."""
    size = max(1, BLOCK // max(1, len(candidates)))
    for start in range(0, len(queries), size):
        yield start, queries[start : start + size] @ candidates.T


def nearest(
    queries: Tensor, candidates: Tensor, k: int, right: dict[str, Sequence[np.ndarray]] | None = None
) -> Nearest:
    """The k best of `candidates [N,D]` for each of `queries [Q,D]`, both normalized; all of them where k is larger.

    Equal scores stand in the candidates' order. `right` are lists of each query's right candidates, by name.
    """
    k = min(k, len(candidates))
    best, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
    ranks = {name: np.empty(len(queries), np.int64) for name in right or {}}
    for start, block in blocks(queries, candidates):
        end = start + len(block)
        best[start:end], scores[start:end] = first_k(block, k)
        for name, of_query in (right or {}).items():
            ranks[name][start:end] = best_ranks(block.cpu().numpy(), of_query[start:end])
    return Nearest(best, scores, ranks)


def first_k(scores: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the k largest of `scores [Q,N]`, the largest first, and these scores."""
    values, columns = torch.topk(scores, k, dim=1)
    values, columns = values.cpu().numpy(), columns.cpu().numpy()
    # topk leaves the order of equal scores open
    order = np.lexsort((columns, -values))
    return np.take_along_axis(columns, order, 1), np.take_along_axis(values, order, 1)


def has_faiss() -> bool:
    """Whether the library for galleries too large to compare with each candidate is installed."""
    return find_spec("faiss") is not None


class Cells:
    """A gallery cut into cells, of which a search looks into the nearest CELLS_SEARCHED: some of the nearest candidates
    may be missed. Needs `faiss`."""

    def __init__(self, gallery: Tensor):
        import faiss

        count, width = int(4 * len(gallery) ** 0.5), gallery.shape[1]
        self.index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, count, faiss.METRIC_INNER_PRODUCT)
        self.index.train(gallery[:: max(1, len(gallery) // (64 * count))].numpy())
        self.index.add(gallery.numpy())
        self.index.nprobe = CELLS_SEARCHED

    def nearest(self, query: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and cosines of the likely k nearest to `query [1,D]`, the nearest first."""
        scores, numbers = self.index.search(query.numpy(), k)
        there = numbers[0] >= 0
        return numbers[0][there], scores[0][there].astype(float)
