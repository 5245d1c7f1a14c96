"""A measure is a function of column sums, over a matrix of counts with one row for each thing that is counted.

A measure is never a mean of finished numbers. Whoever counts writes one row of numbers for each question (caption,
query, …), and a measure is computed from *column sums*: of all rows, of a slice, or of a bootstrap sample. So one
matrix product gives every measure of every resample, and BLEU, which is no mean, is resampled as properly as an
accuracy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measure:
    """How a number is got: `value(*sums of columns)`, over the rows that the column `counted` marks."""

    value: Callable[..., np.ndarray]  # sums of the columns, each `[...]`, to the measure `[...]`; NaN where undefined
    columns: tuple[str, ...]
    counted: str  # a row counts where this column is above 0
    meaning: str  # in a line: what it counts and where that comes from; for tables, report and model card
    title: str = ""  # as people read it; empty: the name without underscores
    most: float = 1.0  # the largest value there can be, infinity where there is no bound; the smallest is 0
    rises: bool = True  # whether more of it is better: only such a one may choose an epoch (`train.metric`)


class Measures(Mapping[str, Measure]):
    """Measures by name, and the columns of the matrix of counts that all of them are computed from."""

    def __init__(self, measures: Mapping[str, Measure]):
        self._measures = dict(measures)
        used = (column for measure in self.values() for column in (*measure.columns, measure.counted))
        self.columns = tuple(dict.fromkeys(used))
        self._positions = {column: i for i, column in enumerate(self.columns)}

    def __getitem__(self, name: str) -> Measure:
        return self._measures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._measures)

    def __len__(self) -> int:
        return len(self._measures)

    def title(self, name: str) -> str:
        """A measure's name as people read it."""
        return self[name].title or name.replace("_", " ")

    def position(self, column: str) -> int:
        """Where a column stands in the matrix of counts."""
        return self._positions[column]

    def counted_rows(self, name: str, counts: np.ndarray) -> np.ndarray:
        """Which rows of `counts` `[row, column]` a measure counts, `[row]` of booleans."""
        return counts[:, self.position(self[name].counted)] > 0

    def matrix(self, rows: Iterable[Mapping[str, float]]) -> np.ndarray:
        """The matrix of counts `[row, column]` of rows that name what they count; what a row does not name is 0."""
        rows = list(rows)
        counts = np.zeros((len(rows), len(self.columns)))
        for row, named in zip(counts, rows, strict=True):
            for column, count in named.items():
                row[self.position(column)] = count
        return counts

    def of_sums(self, sums: np.ndarray, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Each named measure of column sums `[..., column]`: arrays `[...]`, NaN where undefined."""
        by_column = dict(zip(self.columns, np.moveaxis(np.asarray(sums, float), -1, 0), strict=True))
        return {name: self[name].value(*(by_column[column] for column in self[name].columns)) for name in names}


def divide(numerator, denominator) -> np.ndarray:
    """The quotient, NaN where the denominator is 0: an undefined number, which estimates report as None."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def ratio(
    numerator: str, denominator: str, meaning: str, title: str = "", most: float = 1.0, rises: bool = True
) -> Measure:
    """The measure that divides one column's sum by another's, over the rows that the denominator counts."""
    return Measure(divide, (numerator, denominator), denominator, meaning, title, most, rises)
