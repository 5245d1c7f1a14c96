"""What two runs on the same questions are compared by."""

from __future__ import annotations

from blipvqa.training.comparison import Comparing
from blipvqa.vqa.measures import MEASURES, counts, measure_names
from blipvqa.vqa.slices import axes

QUESTIONS = Comparing(
    measures=MEASURES,
    counts=lambda predictions, _config: counts(predictions),
    names=lambda predictions, _config: measure_names(predictions),
    headline="exact_match",
    by_row="exact_match",
    same=("image_id", "question", "answer"),
    unit="questions",
    levels=axes,
)
