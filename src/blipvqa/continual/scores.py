"""The matrix of scores, measures of it, what was forgotten; also over questions whose answer no other stage teaches.

Notable:
- Stages that share answers hide forgetting: a model that says "yes" everywhere keeps half of every yes/no question. So
  all is measured again over rows whose right answers stand in no other stage's training rows (`own`).
- Intervals draw pictures (or groups) within each data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from blipvqa.continual.measures import measure, undefined
from blipvqa.continual.stages import SEQUENCES, Plan, Step
from blipvqa.data.checking import NO_TEST
from blipvqa.data.dataset import Splits
from blipvqa.numbers.bootstrap import Bootstrap, estimate_mean
from blipvqa.training.trained import held_out
from blipvqa.vqa.answers import answered_right, spelled_answers

NOT_ASKED = "this model was not asked about this data set"
NO_OWN = "another stage teaches every answer of this data set"


@dataclass(frozen=True)
class Asked:
    """A model and a data set that it is asked about."""

    label: str  # of the model
    model: str  # where it lies
    number: int  # of the data set, from 0


Answers = Mapping[tuple[str, int], Sequence[Mapping]]  # by model and data set


def score_sequence(
    planned: Plan, data: Sequence[Splits], answers: Answers, bootstrap: Bootstrap
) -> tuple[dict, dict[str, list[dict]]]:
    """What `continual.json` holds, and the forgotten questions of each method that learns stage by stage.

    `stages` (what each holds and shares), `disjoint`, and by method `matrix` (`[models, sets]` of estimates, the model
    before the first stage on top), `measures`, and both again as `own`.
    """
    names = [stage.name for stage in planned.stages]
    rows = [answers["start", j] for j in range(len(names))]
    groups = [
        replace(bootstrap, group=stage.config.data.group).groups_of(of_set)
        for stage, of_set in zip(planned.stages, rows, strict=True)
    ]
    taught = [{text for row in splits["train"].rows for text in spelled_answers(row)} for splits in data]
    own = [
        np.array([not set(spelled_answers(row)) & _of_others(taught, j) for row in of_set], bool)
        for j, of_set in enumerate(rows)
    ]
    methods, forgotten = {}, {}
    for method, steps in planned.steps.items():
        right = _right(method, steps, answers, len(names))
        methods[method] = {
            "models": ["start", *(step.label for step in steps)],
            "after": [0, *(step.number or None for step in steps)],  # which stage; None: all at once
            **_scored(method, right, groups, bootstrap, NOT_ASKED),
            "own": _scored(
                method,
                [of_set[:, mask] for of_set, mask in zip(right, own, strict=True)],
                [of_set[mask] for of_set, mask in zip(groups, own, strict=True)],
                bootstrap,
                NO_OWN,
            ),
        }
        if method in SEQUENCES:
            forgotten[method] = forgotten_rows(names, steps, answers)
            at_first = int(sum(right[j][j + 1].sum() for j in range(len(names) - 1)))
            methods[method]["forgotten"] = {"rows": len(forgotten[method]), "of": at_first}
    stages = [
        {
            "name": name,
            "split": held_out(splits),
            "rows": {split: len(dataset) for split, dataset in splits.items()},
            "pictures": {split: len({row["image_id"] for row in dataset.rows}) for split, dataset in splits.items()},
            "own": int(mask.sum()),
            "shared": {names[i]: len(taught[j] & taught[i]) for i in range(len(names)) if i != j},
            "answers": len(taught[j]),
            "taught_elsewhere": len(taught[j] & _of_others(taught, j)),
        }
        for j, (name, splits, mask) in enumerate(zip(names, data, own, strict=True))
    ]
    disjoint = not any(count for stage in stages for count in stage["shared"].values())
    return {"stages": stages, "disjoint": disjoint, "methods": methods, "warnings": _warnings(stages, data)}, forgotten


def _of_others(taught: Sequence[set[str]], j: int) -> set[str]:
    return set().union(*(answers for i, answers in enumerate(taught) if i != j))


def _right(method: str, steps: Sequence[Step], answers: Answers, sets: int) -> list[np.ndarray]:
    """Of each set `[models, rows]`, the model before the first on top: 1 where it is right, NaN where nobody asked."""
    labels = ["start", *(step.label for step in steps)]
    right = []
    for j in range(sets):
        of_set = np.full((len(labels), len(answers["start", j])), np.nan)
        for k, label in enumerate(labels):
            if (label, j) in answers:
                of_set[k] = [answered_right(row) for row in answers[label, j]]
        right.append(of_set)
    if method == "alone":  # its first model may have been asked about all sets, as another method's
        for j, of_set in enumerate(right):
            of_set[[k for k in range(1, len(labels)) if k != j + 1]] = np.nan
    return right


def _scored(
    method: str, right: Sequence[np.ndarray], groups: Sequence[np.ndarray], bootstrap: Bootstrap, nothing: str
) -> dict:
    cells = [
        [_cell(of_set[k], grouped, bootstrap, nothing) for of_set, grouped in zip(right, groups, strict=True)]
        for k in range(len(right[0]))
    ]
    return {"matrix": cells, "measures": measure(method, right, groups, bootstrap)}


def _cell(right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap, nothing: str) -> dict:
    if not len(right):
        return undefined(nothing)
    return undefined(NOT_ASKED) if np.isnan(right).any() else estimate_mean(right, groups, bootstrap)


def forgotten_rows(names: Sequence[str], steps: Sequence[Step], answers: Answers) -> list[dict]:
    """Questions of all stages but the last that were right after their stage and are wrong at the end."""
    return [
        {
            **{key: after.get(key) for key in ("id", "image_id", "question", "answer", "answers", "history")},
            "stage": names[j],
            "then": after["prediction"],
            "now": last["prediction"],
        }
        for j in range(len(names) - 1)
        for after, last in zip(answers[steps[j].label, j], answers[steps[-1].label, j], strict=True)
        if answered_right(after) and not answered_right(last)
    ]


def _warnings(stages: Sequence[Mapping], data: Sequence[Splits]) -> list[str]:
    """What to know of the scores first: what each data set says of itself, and where there is no split test."""
    notes = [
        f"{stage['name']}: {note}"
        for stage, splits in zip(stages, data, strict=True)
        for note in splits.notes
        if note != NO_TEST  # which the last line says of all stages
    ]
    without = [f"'{stage['name']}'" for stage in stages if stage["split"] != "test"]
    if without:
        notes.append(f"{', '.join(without)}: scored on validation, which also chose the best epoch")
    return notes
