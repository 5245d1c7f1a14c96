"""Next to nothing to count, or always the same: every number is null with its reason, never 0 and never NaN."""

import json
import math
import warnings

import pytest

from blipvqa.config.knobs import GenerateConfig
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.tasks import VQA
from blipvqa.training.comparison import compare_predictions
from blipvqa.vqa.baselines import BASELINES
from blipvqa.vqa.confidence import score_confidence
from blipvqa.vqa.conformal import calibrate_sets, score_sets
from blipvqa.vqa.consistency import score_consistency
from blipvqa.vqa.foreign import score_foreign
from blipvqa.vqa.grounding import grounding
from blipvqa.vqa.operating import score_operating_point
from blipvqa.vqa.published import published
from blipvqa.vqa.scores import score
from blipvqa.vqa.selective import score_answering
from blipvqa.vqa.slices import slices
from blipvqa.vqa.subgroups import score_subgroups

SOME = Bootstrap(resamples=30)
REFERENCES = ("yes", "fat", "no", "fat")


def rows_of(count, predicted, references=REFERENCES, images=None, confidence=0.7):
    rows = []
    for i in range(count):
        answer = references[i % len(references)]
        row = {"id": f"test/{i}", "image_id": f"image{i if images is None else i % images}", "answer": answer}
        row |= {"question": "is it fat?" if answer in ("yes", "no") else "what is present?", "stain": "ab"[i % 2]}
        row |= {"prediction": predicted(answer), "confidence": confidence}
        rows.append(row | {"yes_probability": confidence if answer in ("yes", "no") else None})
    return rows


CASES = {
    "nothing": [],
    "one row": rows_of(1, str),
    "one image": rows_of(8, str, images=1),
    "two images": rows_of(8, str, images=2),
    "all right": rows_of(12, str),
    "all wrong": rows_of(12, {"yes": "no", "no": "yes", "fat": "bone"}.get),
    "one answer always": rows_of(12, lambda answer: "yes", confidence=0.5),
    "no yes/no question": rows_of(12, str, ("fat", "bone")),
    "yes alone": rows_of(12, str, ("yes",)),
    "empty answers": rows_of(12, lambda answer: "", confidence=0.0),
    "no confidence": rows_of(12, str, confidence=None),
    "equal confidences": rows_of(24, {"yes": "yes", "no": "yes", "fat": "fat"}.get, images=6),
    "one level": [row | {"stain": "a"} for row in rows_of(12, str)],
    "one level all right, one all wrong": [
        row | {"prediction": row["answer"] if row["stain"] == "a" else "bone"} for row in rows_of(400, str)
    ],
    "confidences that are no numbers": [
        row | {"score": math.nan, "yes_probability": row["yes_probability"] and math.nan, "confidence": None}
        for row in rows_of(12, str)
    ],
}


def every_score(rows):
    ranked = [row | {"ranked": [[row["prediction"], 0.6], ["other", 0.4]]} for row in rows]
    other = [row | {"prediction": "yes", "exchanged_answer": None} for row in rows]
    several = len({row["image_id"] for row in rows}) > 1
    columns = ["stain"] if rows else []
    answered = [row for row in rows if row["confidence"] is not None]
    return {
        "scores": score(rows, train=rows, breakdown=columns, bootstrap=SOME),
        "grounding": grounding(rows, other, other if several else None, SOME),
        "confidence": score_confidence(rows, bootstrap=SOME),
        "slices": slices(rows, train=rows, breakdown=columns, bootstrap=SOME),
        "published": published(rows, SOME),
        "consistency": score_consistency(rows, lambda asked: ["yes"] * len(asked), rows, next(iter(BASELINES)), SOME),
        "compared": compare_predictions(VQA.comparing, rows, rows, breakdown=columns, bootstrap=SOME),
        "foreign": score_foreign(rows, {row["image_id"]: 0.5 for row in rows}, SOME),
        "sets": score_sets(ranked, calibrate_sets(ranked, "image_id"), SOME),
        "subgroups": score_subgroups(rows, columns, SOME),
        "operating": score_operating_point(rows, rows, 0.9, SOME),
        "answering": score_answering(answered, answered, None, GenerateConfig(wished_accuracy=0.9), SOME),
    }


def estimates(value, path=""):
    """Every number, or difference of two, with its count, and where it stands."""
    if isinstance(value, dict):
        if "value" in value and "n" in value:
            yield path, value
        elif "difference" in value:
            yield path, value | {"value": value["difference"]}
        for key, inner in value.items():
            yield from estimates(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from estimates(inner, f"{path}[{i}]")


@pytest.mark.parametrize("case", CASES)
def test_no_number_is_made_of_nothing(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = every_score(CASES[case])
    scores = json.loads(json.dumps(scores, allow_nan=False, default=str))
    wrong = []
    for path, entry in estimates(scores):
        of_nothing = entry["n"] == 0 and entry["value"] is not None
        of_unknown = "ceiling" not in path and "groups" not in entry  # n without how many images they are on
        certain = 0 in (entry.get("p"), entry.get("p_holm"))
        of_one = entry.get("groups") == 1 and entry.get("low") is not None
        outside = None not in (entry["value"], entry.get("low"), entry.get("high")) and not (
            entry["low"] - 1e-9 <= entry["value"] <= entry["high"] + 1e-9
        )
        wrong += [(path, entry)] * (of_nothing or of_unknown or certain or of_one or outside)
    assert wrong == []
    if case in ("nothing", "one row", "one image"):
        assert scores["grounding"]["gap"]["shuffled"]["difference"] is None and scores["grounding"]["verdict"]["why"]
        assert all(level["reason"] for level in scores["sets"]["calibration"]["levels"].values())
        assert not any(entry["real"] for entry in scores["compared"]["overall"].values())
