"""What is counted of each judged statement, and every measure as a function of the summed counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.data.labels import LABELS, truth
from blipvqa.errors import InputError
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.pairs.predictions import Prediction
from blipvqa.plural import how_many

NEEDED = ("id", "image_id", "sentence", "label", "prediction")

MEASURES = Measures(
    {
        "accuracy": ratio("right", "all", "share of statements judged rightly"),
        "true_accepted": ratio("accepted", "true", "of the true statements, the share judged true: the sensitivity"),
        "false_rejected": ratio(
            "rejected", "false", "of the false statements, the share judged false: the specificity"
        ),
        "accuracy_swapped": ratio(
            "right_swapped",
            "swapped",
            "share judged rightly with the pictures in the other order, and the statement told so where it is about "
            "the order",
            "accuracy, pictures swapped",
        ),
        "consistent": ratio(
            "same", "swapped", "share judged the same with the pictures swapped so", "same answer when swapped"
        ),
        "follows_order": ratio(
            "right_turned",
            "turned",
            "of the statements that turn true or false when the pictures alone change places, the share judged rightly "
            "then",
            "follows the order",
        ),
    }
)


def check_predictions(predictions: Sequence[Mapping]) -> None:
    """Raise InputError unless every prediction has what is NEEDED, both labels are ours and every id is unique."""
    ids = Counter()
    for i, prediction in enumerate(predictions):
        if missing := [key for key in NEEDED if prediction.get(key) is None]:
            raise InputError(f"prediction {prediction.get('id', i)!r} has no {', '.join(missing)}")
        for key in ("label", "prediction"):
            if prediction[key] not in LABELS:
                raise InputError(
                    f"prediction {prediction['id']!r}: {key} is {prediction[key]!r}, expected {' or '.join(LABELS)}"
                )
        ids[prediction["id"]] += 1
    if repeated := [key for key, n in ids.items() if n > 1]:
        raise InputError(f"{how_many(len(repeated), 'id is', 'ids are')} there twice, such as {repeated[0]!r}")


def counts(predictions: Sequence[Prediction]) -> np.ndarray:
    """The matrix `[statement, MEASURES.columns]` whose column sums every measure is computed from."""
    check_predictions(predictions)
    return MEASURES.matrix(map(_count, predictions))


def _count(row: Prediction) -> dict[str, float]:
    true, said = row["label"] == LABELS[1], row["prediction"] == LABELS[1]
    counted = {"all": 1, "right": said == true, "true": true, "accepted": true and said}
    counted |= {"false": not true, "rejected": not true and not said}
    if row.get("swapped") is not None:
        then = row["swapped"] >= 0.5
        counted |= {"swapped": 1, "right_swapped": then == true, "same": then == said}
    right_then = truth(row.get("label_swapped"))
    if row.get("turned") is not None and right_then not in (None, row["label"]):
        counted |= {"turned": 1, "right_turned": (row["turned"] >= 0.5) == (right_then == LABELS[1])}
    return counted
