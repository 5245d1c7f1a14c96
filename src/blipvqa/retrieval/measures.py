"""What is counted of each search, and every measure as a function of the summed counts.

Names are the authors': `txt_…` finds a text by its picture, `img_…` a picture by its text. With `itc_` before it, a
measure is of the order by cosine alone, before the best were matched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.measures import Measure, Measures
from blipvqa.numbers.ranks import RECALLS, mean_of_both, rank_columns, rank_measures
from blipvqa.plural import how_many

NEEDED = ("id", "image_id", "caption", "img")
DIRECTIONS = {"txt": "text by picture", "img": "picture by text"}


def _of_one_order(before: str, note: str) -> dict[str, Measure]:
    """The measures of one order of the gallery."""
    measures: dict[str, Measure] = {}
    for direction, what in DIRECTIONS.items():
        measures |= rank_measures(f"{before}{direction}", f"{what}{note}")
    r_mean = mean_of_both(f"{before}txt", f"{before}img")
    return measures | {f"{before}r_mean": replace(r_mean, title=r_mean.title + note)}


MEASURES = Measures(_of_one_order("", "") | _of_one_order("itc_", " (cosine alone)"))
MEDIANS = {
    f"{before}{direction}_median_rank": f"{what}, median rank{note}"
    for before, note in (("", ""), ("itc_", " (cosine alone)"))
    for direction, what in DIRECTIONS.items()
}
RECALL_NAMES = [f"{direction}_r{k}" for direction in DIRECTIONS for k in RECALLS]


def title(name: str) -> str:
    """A measure's name as people read it, a median's too."""
    return MEDIANS[name] if name in MEDIANS else MEASURES.title(name)


def check_predictions(predictions: Sequence[Mapping]) -> None:
    """Raise InputError unless every prediction has what is NEEDED and every id is unique."""
    ids = Counter()
    for i, prediction in enumerate(predictions):
        if missing := [key for key in NEEDED if prediction.get(key) is None]:
            raise InputError(f"prediction {prediction.get('id', i)!r} has no {', '.join(missing)}")
        ids[prediction["id"]] += 1
    if repeated := [key for key, n in ids.items() if n > 1]:
        raise InputError(f"{how_many(len(repeated), 'id is', 'ids are')} there twice, such as {repeated[0]!r}")


def counts(predictions: Sequence[Mapping], rank: str = "rank") -> np.ndarray:
    """The matrix `[row, MEASURES.columns]` whose column sums every measure is computed from.

    A row is a text's search for its picture, and with the first text of a picture also that picture's search for its
    texts. `rank` names the rank that counts: `rank`, or `exchanged`, that of another picture in its place.
    """
    rows = []
    for prediction in predictions:
        row: dict[str, float] = {}
        for direction in DIRECTIONS:
            if search := prediction.get(direction):
                row |= rank_columns(direction, search[rank]) | rank_columns(f"itc_{direction}", search[f"itc_{rank}"])
        rows.append(row)
    return MEASURES.matrix(rows)
