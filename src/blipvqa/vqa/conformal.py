"""Answer sets: the candidates among which the right answer lies, at 80, 90 and 95 % of questions on new pictures.

Notable:
- For runs that rank (`generate.method: rank`). An answer's score is its share among the candidates that were scored in
  full (a softmax of what ranks them), and a set holds the answers above a threshold, always with the best.
- The threshold comes from groups of validation that chose neither the epoch nor the temperature (`set_aside`),
  by `numbers.conformal`.
- A right answer that is no candidate counts as not covered, in calibration too: where there are more of these than the
  level allows, no set can cover, and the level has a reason in place of a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from blipvqa.config.knobs import GenerateConfig
from blipvqa.models.folders import ANSWER_SETS, ModelError, called, read_json
from blipvqa.numbers.bootstrap import Bootstrap, Estimate, estimate_mean
from blipvqa.numbers.conformal import conformal_threshold, fewest_groups
from blipvqa.runs.seals import write_sealed
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, spelled_answers
from blipvqa.vqa.calibration import refuse_broken
from blipvqa.vqa.slices import axes

LEVELS = (0.8, 0.9, 0.95)
SHOWN = 0.9  # the level of the one set that `ask`, the page and sheets show
RANKING = ("closed_yes_no", "shortlist")  # the settings that shares depend on
MOST = 50  # answers of a question that are kept; a right answer below them counts as no candidate


def misfit(prediction: Prediction) -> float:
    """1 minus the right answer's share among the candidates, of several right ones the likeliest's; infinite where none
    of them is a candidate."""
    right = spelled_answers(prediction)
    return 1 - max((share for text, share in prediction["ranked"] if normalize(text) in right), default=-math.inf)


def answer_set(ranked: Sequence[tuple[str, float]], threshold: float) -> list[str]:
    """The answers of a set, the best first: those whose share is at least 1 - threshold, and the best in any case."""
    chosen = [text for k, (text, share) in enumerate(ranked) if k == 0 or 1 - share <= threshold]
    return list({normalize(text): text for text in reversed(chosen)}.values())[::-1]


def calibrate_sets(aside: Sequence[Prediction], group: str) -> dict:
    """Thresholds from predictions on what was set aside, JSON-ready.

    Returns {"group", "groups", "questions", "not_among": right answers that are no candidate, "levels": {"0.9":
    {"threshold": None where there is none, "reason": why, "" else}}}.
    """
    groups = Bootstrap(group).groups_of(aside)
    count = len(np.unique(groups))
    scores = [misfit(prediction) for prediction in aside]
    missing = sum(map(math.isinf, scores))
    levels = {}
    for level in LEVELS:
        threshold, reason = conformal_threshold(scores, groups, level), ""
        if math.isinf(threshold) and count < fewest_groups(level):
            reason = f"{count} groups were set aside, {fewest_groups(level)} are needed"
        elif math.isinf(threshold):
            reason = (
                f"of {len(scores):,} right answers set aside {missing:,} are no candidate, or below the {MOST} best: "
                "no set covers so many"
            )
        levels[f"{level:g}"] = {"threshold": None if reason else threshold, "reason": reason}
    return {"group": group, "groups": count, "questions": len(scores), "not_among": missing, "levels": levels}


def score_sets(predictions: Sequence[Prediction], calibration: Mapping, bootstrap: Bootstrap) -> dict:
    """Coverage and size of the sets of each level, in all and by question type, with 95 % intervals.

    Returns {"calibration": as it came in, "not_among": share of right answers that are no candidate, "levels": {"0.9":
    None without a threshold, else {"coverage", "size", "coverage_of_groups": the mean over images or patients,
    "by": {question type: {"coverage", "size"}}}}}.
    """
    groups = bootstrap.groups_of(predictions)
    scores = np.array([misfit(prediction) for prediction in predictions])
    rows_of = axes(predictions, ())["question_type"]
    levels: dict[str, dict | None] = {}
    for level, fitted in calibration["levels"].items():
        threshold = fitted["threshold"]
        if threshold is None:
            levels[level] = None
            continue
        sets = [answer_set(prediction["ranked"], threshold) for prediction in predictions]
        covered = np.array([_holds(chosen, p) for chosen, p in zip(sets, predictions, strict=True)], float)
        sizes = np.array([len(chosen) for chosen in sets], float)

        def counted(rows: np.ndarray | None = None, covered=covered, sizes=sizes) -> dict[str, Estimate]:
            size = estimate_mean(sizes, groups, bootstrap, rows, most=math.inf)
            return {"coverage": estimate_mean(covered, groups, bootstrap, rows), "size": size}

        means = [float(covered[groups == group].mean()) for group in np.unique(groups)]
        by = {kind: counted(rows) for kind, rows in rows_of.items()}
        levels[level] = counted() | {"coverage_of_groups": float(np.mean(means)) if means else None, "by": by}
    missing = estimate_mean(np.isinf(scores).astype(float), groups, bootstrap)
    return {"calibration": dict(calibration), "not_among": missing, "levels": levels}


def _holds(chosen: Sequence[str], prediction: Prediction) -> bool:
    """Whether a set has a right answer: any of several, as everywhere."""
    return not spelled_answers(prediction).keys().isdisjoint(map(normalize, chosen))


def without_candidates(
    predictions: Sequence[Prediction], calibration: Mapping | None, level: float = SHOWN
) -> list[dict]:
    """The predictions as they are kept: in place of all candidates the answer set of one level, where there is one."""
    threshold = threshold_of(calibration, level)
    kept = []
    for prediction in predictions:
        ranked = prediction.get("ranked")
        row = {key: value for key, value in prediction.items() if key != "ranked"}
        if ranked and threshold is not None:
            row["answer_set"] = answer_set(ranked, threshold)
        kept.append(row)
    return kept


def threshold_of(calibration: Mapping | None, level: float = SHOWN) -> float | None:
    """The threshold of a level; None without one."""
    return calibration["levels"][f"{level:g}"]["threshold"] if calibration else None


# ------------------------------------------------------------------------------------------------ beside the weights


def store_answer_sets(folder: Path, calibration: Mapping, candidates: Sequence[str], settings: GenerateConfig) -> None:
    """Write thresholds, candidates and how they were ranked beside the weights in `folder`; a new export of the weights
    replaces the folder."""
    ranking = {name: getattr(settings, name) for name in RANKING}
    write_sealed(folder / ANSWER_SETS, {**calibration, "candidates": list(candidates), **ranking})


def sets_for(folder: Path, candidates: Sequence[str] | None, settings: GenerateConfig) -> dict | None:
    """What `store_answer_sets` wrote, if it was of these candidates and settings; else None."""
    stored = read_answer_sets(folder) if settings.method == "rank" else None
    same = stored and stored["candidates"] == candidates and all(stored[n] == getattr(settings, n) for n in RANKING)
    return stored if same else None


def read_answer_sets(folder: Path) -> dict | None:
    """What `store_answer_sets` wrote, or None. Raises ModelError where the file holds something else."""
    if not (folder / ANSWER_SETS).exists():
        return None
    content = read_json(folder, ANSWER_SETS)
    refuse_broken(folder, ANSWER_SETS, content)
    levels, candidates = content.get("levels"), content.get("candidates")
    fitted = [levels.get(f"{level:g}") if isinstance(levels, dict) else None for level in LEVELS]
    thresholds = [each.get("threshold", "") if isinstance(each, dict) else "" for each in fitted]
    texts = isinstance(candidates, list) and candidates and all(isinstance(text, str) for text in candidates)
    texts = texts and isinstance(content.get("closed_yes_no"), bool) and isinstance(content.get("shortlist"), int)
    if not texts or not all(t is None or (isinstance(t, int | float) and math.isfinite(t)) for t in thresholds):
        raise ModelError(
            f"{called(folder)}: {ANSWER_SETS} holds no candidates and thresholds. Evaluate again, which writes it, or "
            "remove it: answers then come without sets"
        )
    return content
