"""Explanations kept in the run folder: `evaluate` makes a few, the report and notebook 04 read them.

Notable:
- Writing a page runs no model. `explanations-<split>.json` holds the maps of some telling predictions, a few kilobytes
  each, with a fingerprint of what made them: they are made again only when that changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from blipvqa.data.dataset import VQADataset
from blipvqa.data.history import history_of
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.files import read_json, write_json
from blipvqa.runs.run import Run
from blipvqa.vqa.answers import answered_right, question_type

if TYPE_CHECKING:  # who reads stored maps needs no model
    from blipvqa.vqa.stored_answers import StoredAnswers


@dataclass(frozen=True)
class StoredExplanation:
    """The map `[g, g]` from 0 to 1 for the prediction with this `id`, when it answered `question` with `answer`; of
    several pictures `[P, g, g]`."""

    id: str
    question: str
    answer: str
    map: Tensor

    def explains(self, prediction: Mapping) -> bool:
        """Whether the prediction is still the one that was explained."""
        return (self.id, self.question, self.answer) == _explained(prediction)


def _explained(prediction: Mapping) -> tuple[str, str, str]:
    """What a map is of: the row, its question, and what the model said."""
    return prediction["id"], prediction["question"], prediction["prediction"]


def worth_explaining(predictions: Sequence[Mapping], count: int = 6) -> list[int]:
    """Positions of predictions worth explaining: of different pictures and types, wrong ones among them."""
    chosen, images, kinds = [], set(), set()
    said = [i for i, row in enumerate(predictions) if row["prediction"]]  # nothing moves an answer that is none
    wrong = [i for i in said if not answered_right(predictions[i])][: count // 3]
    for i in (*wrong, *said):
        row = predictions[i]
        kind = (question_type(row["question"]), answered_right(row))
        if row["image_id"] not in images and kind not in kinds and len(chosen) < count:
            chosen.append(i)
            images.add(row["image_id"])
            kinds.add(kind)
    return chosen


def explain_predictions(
    model, processor, dataset: VQADataset, predictions: Sequence[Mapping], indices: Sequence[int]
) -> list[StoredExplanation]:
    """What of the picture moved each of these answers; positions beyond the predictions are left out."""
    from blipvqa.vqa.explanations import explain

    explanations = []
    for row in (predictions[i] for i in indices if i < len(predictions)):
        row_id, question, answer = _explained(row)
        (item,) = dataset.__getitems__([dataset.index(row_id)])
        patches = explain(model, processor, item["pixels"], question, answer, history=history_of(row)).map
        explanations.append(StoredExplanation(row_id, question, answer, patches))
    return explanations


def store_explanations(stored: StoredAnswers, split: str, predictions: Sequence[Mapping]) -> None:
    """Write `explanations-<split>.json`, unless it is there and of the same weights, settings, rows and pictures."""
    indices = worth_explaining(predictions)
    fingerprint = stored.fingerprint(split, "") | {"explained": [list(_explained(predictions[i])) for i in indices]}
    file = _file(stored.run, split)
    if file.exists() and read_json(file)["made_by"] == fingerprint:
        return
    model, processor = stored.models.load()
    explanations = explain_predictions(model, processor, stored.splits[split], predictions, indices)
    rows = [{**vars(explanation), "map": _rounded(explanation.map.tolist())} for explanation in explanations]
    write_json(file, {"made_by": fingerprint, "explanations": rows})


def stored_pointing(stored_answers: StoredAnswers, split: str, bootstrap: Bootstrap) -> dict:
    """The pointing game of the trained model's gradient maps, played again only when what it is made of changed.

    Null where no row has a `box`.
    """
    from blipvqa.training.stored import stored
    from blipvqa.vqa.explanations import pointing_game, pointing_rows

    dataset = stored_answers.splits[split]
    rows = pointing_rows(dataset)
    made_of = stored_answers.fingerprint(split, "") | {"pointing": [rows, vars(bootstrap)]}

    def play() -> list[dict]:
        model, processor = stored_answers.models.load() if rows else (None, None)
        return [pointing_game(model, processor, dataset, rows, bootstrap=bootstrap)]

    return stored(stored_answers.run.folder / "answers", f"{split}-pointing", made_of, play)[0]


def _rounded(values: list) -> list:
    return [_rounded(one) if isinstance(one, list) else round(one, 3) for one in values]


def stored_explanations(run: Run, split: str) -> list[StoredExplanation]:
    """What `evaluate` stored; empty for a run that an older version evaluated."""
    file = _file(run, split)
    if not file.exists():
        return []
    rows = read_json(file)["explanations"]
    return [StoredExplanation(**row | {"map": torch.tensor(row["map"])}) for row in rows]


def _file(run: Run, split: str):
    return run.folder / f"explanations-{split}.json"
