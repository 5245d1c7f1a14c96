"""How much of a score needs the conversation: the same questions without it, and behind the turns of another row.

Notable:
- As with pictures (`exchange`), the exchange is the test. A row gets the turns that another one has before the same
  question with another answer, of the same picture where there is such a row: then the new turns have a right answer,
  too, and a model that reads them follows.
- Only rows with turns count. What is lost and how many answers change have paired 95 % intervals, as in `grounding`.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import VQADataset
from blipvqa.data.history import history_of
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, agree, reference_answers
from blipvqa.vqa.exchange import NOT_ASKED, shown
from blipvqa.vqa.grounding import followed, without
from blipvqa.vqa.scores import score
from blipvqa.vqa.turns import conversation

TRIES = 20  # rows drawn until one has another conversation
DROPPED, EXCHANGED = "no-turns", "other-turns"  # variants of stored answers


def with_turns(rows: Sequence[Mapping]) -> list[int]:
    """The rows that come after a conversation."""
    return [i for i, row in enumerate(rows) if history_of(row)]


def turn_partners(rows: Sequence[Mapping], seed: int) -> dict[int, int]:
    """For each row with turns the row whose turns take the place of its own; empty where all turns are the same.

    One with the same question and another answer, of the same picture before others; where there is none, the next
    conversation in a random circle of all.
    """
    chosen = with_turns(rows)
    said = {i: normalize(conversation(rows[i])) for i in chosen}
    first = {said[i]: i for i in reversed(chosen)}
    if len(first) < 2:
        return {}
    circle = sorted(first)
    random.Random(f"{seed}/turns").shuffle(circle)
    following = {one: first[other] for one, other in zip(circle, circle[1:] + circle[:1], strict=True)}
    asked = {i: normalize(rows[i]["question"]) for i in chosen}
    by_question = {question: [chosen[k] for k in places] for question, places in rows_by(asked.values()).items()}
    places = rows_by((asked[i], rows[i]["image_id"]) for i in chosen)
    by_picture = {key: [chosen[k] for k in of_key] for key, of_key in places.items()}

    def fits(i: int, j: int) -> bool:
        return said[i] != said[j] and not agree(rows[i], rows[j])

    partners = {}
    for i in chosen:
        draw = random.Random(f"{seed}/turns/{rows[i]['id']}")
        near = [j for j in by_picture[asked[i], rows[i]["image_id"]] if fits(i, j)]
        drawn = (draw.choice(by_question[asked[i]]) for _ in range(TRIES))
        partners[i] = draw.choice(near) if near else next((j for j in drawn if fits(i, j)), following[said[i]])
    return partners


def without_turns(dataset: VQADataset) -> VQADataset:
    """The rows that have turns, without them."""
    chosen = dataset.chosen(with_turns(dataset.rows))
    return _with_histories(chosen, [None] * len(chosen))


def with_other_turns(dataset: VQADataset, seed: int) -> VQADataset:
    """The rows that have turns, each behind those of its partner."""
    partners = turn_partners(dataset.rows, seed)
    return _with_histories(dataset.chosen(list(partners)), [dataset.rows[j]["history"] for j in partners.values()])


def _with_histories(dataset: VQADataset, histories: Sequence[list | None]) -> VQADataset:
    other = copy.copy(dataset)
    other.rows = [{**row, "history": history} for row, history in zip(dataset.rows, histories, strict=True)]
    return other


def as_own_turns(rows: Sequence[Mapping], predictions: Sequence[Mapping], seed: int | None = None) -> list[dict]:
    """Predictions on `without_turns` or, with the seed, on `with_other_turns`, under each row's own history again.

    `exchange.shown` says what is right of the picture after the turns that the model read.
    """
    references = reference_answers(rows)
    partners = dict.fromkeys(with_turns(rows)) if seed is None else turn_partners(rows, seed)
    marked = []
    for (i, j), prediction in zip(partners.items(), predictions, strict=True):
        same = j is not None and rows[i]["image_id"] == rows[j]["image_id"]
        same = same and normalize(rows[i]["question"]) == normalize(rows[j]["question"])
        of_other = shown(rows[j], references) if same else NOT_ASKED
        marked.append({**prediction, "history": rows[i]["history"], **of_other})
    return marked


def score_history(
    own: Sequence[Prediction], dropped: list[Prediction], exchanged: list[Prediction], bootstrap: Bootstrap
) -> dict:
    """What the score loses without the own conversation, and how often answers change.

    `own` are all predictions, `dropped` and `exchanged` (see `as_own_turns`) those of rows with turns; without any, or
    without another conversation, their numbers are null. Returns {"own", "dropped", "exchanged": Estimates by measure,
    "gap", "sensitivity": {"dropped", "exchanged": Difference in exact match, Estimate}, "followed", "stayed":
    Estimates, of right answers that the other turns answer otherwise}.
    """
    of_id = {row["id"]: row for row in own}
    parts: dict = {"own": score([row for row in own if history_of(row)], bootstrap=bootstrap)["overall"]}
    parts |= {"gap": {}, "sensitivity": {}}
    for name, predictions in (("dropped", dropped), ("exchanged", exchanged)):
        before = [of_id[row["id"]] for row in predictions]
        parts[name] = score(predictions, bootstrap=bootstrap)["overall"]
        parts["gap"][name], parts["sensitivity"][name], _ = without(before, predictions, bootstrap)
    return parts | followed([of_id[row["id"]] for row in exchanged], exchanged, bootstrap)
