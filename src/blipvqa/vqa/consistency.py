"""Whether answers hold together: opposite pairs, contradictions, and answers that a second question confirms.

Notable:
- Beside each number stands what the strongest answerer of questions alone gets on the same pairs: PathVQA made its
  questions with the answer no by exchanging phrases, and some can be told by how oddly they read.
- One question on two pictures is the test that no such answerer passes: it gives both the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_mean
from blipvqa.text import normalize, words
from blipvqa.vqa.answers import Prediction, answered_right, is_yes_no
from blipvqa.vqa.baselines import BASELINES, text_of
from blipvqa.vqa.opposites import NewQuestion, asked_again, contradictions, new_questions, opposite_pairs

WORST = 4  # pairs of each kind that pages show
Answerer = Callable[[Sequence[NewQuestion]], Sequence[str]]  # what is answered to new questions


def score_consistency(
    predictions: Sequence[Prediction],
    answer_again: Answerer,
    train: Sequence[Mapping],
    baseline: str,
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """Pair accuracy and confusion of the opposite pairs, contradiction rate and self-consistency, each with interval.

    `answer_again` answers `opposites.new_questions`; `baseline` names the answerer of questions alone that stands
    beside (`text_only`). Returns {"pairs": {kind: {"accuracy", "confusion": Estimate, "text_only": {the same}}},
    "contradiction", "self_consistency": {"rate": Estimate, "text_only": Estimate}, "worst": [{"kind", "ids": [yes,
    no]}], "unheard": see `_unheard`}.

    Accuracy: both are right. Confusion: both get the same answer. The groups of a pair are those of its yes.
    """
    texts = [row["prediction"] for row in predictions]

    def blind_answers(rows: Sequence[Mapping]) -> list[str]:
        return BASELINES[baseline](train, [text_of(row) for row in rows]) if rows else []

    def blind_again(asked: Sequence[NewQuestion]) -> list[str]:
        return blind_answers([predictions[new.row] | {"question": new.question} for new in asked])

    blind = blind_answers(predictions)
    pairs = opposite_pairs(predictions)
    own = _both_rates(predictions, texts, answer_again, bootstrap)
    alone = _both_rates(predictions, blind, blind_again, bootstrap)
    return {
        "baseline_name": baseline,
        "pairs": {
            kind: {
                **_pair_rates(predictions, texts, of_kind, bootstrap),
                "text_only": _pair_rates(predictions, blind, of_kind, bootstrap),
            }
            for kind, of_kind in pairs.items()
        },
        **{name: {"rate": own[name], "text_only": alone[name]} for name in own},
        "worst": _worst(predictions, pairs),
        "unheard": _unheard(predictions, train, new_questions(predictions, texts)),
    }


def _unheard(rows: Sequence[Prediction], train: Sequence[Mapping], asked: Sequence[NewQuestion]) -> dict:
    """Of the questions that were negated to be asked once more: {"of": how many, "questions": how many say it with a
    word that stands in no question of train, "words": these words}. No model can know what it was never taught."""
    heard = {word for row in train for word in words(row["question"])}
    added = [set(words(new.question)) - set(words(rows[new.row]["question"])) for new in asked if new.kind == "negated"]
    unheard = [new - heard for new in added if new - heard]
    return {"of": len(added), "questions": len(unheard), "words": sorted(set().union(*unheard))}


def _pair_rates(
    rows: Sequence[Prediction], texts: Sequence[str], pairs: Sequence[tuple[int, int]], bootstrap: Bootstrap
) -> dict[str, Estimate]:
    answered = [normalize(text) for text in texts]
    groups = bootstrap.groups_of([rows[yes] for yes, _ in pairs])
    right = [answered[yes] == "yes" and answered[no] == "no" for yes, no in pairs]
    same = [answered[yes] == answered[no] for yes, no in pairs]
    return {"accuracy": estimate_mean(right, groups, bootstrap), "confusion": estimate_mean(same, groups, bootstrap)}


def _both_rates(
    rows: Sequence[Prediction], texts: Sequence[str], answer_again: Answerer, bootstrap: Bootstrap
) -> dict[str, Estimate]:
    """How often two answers contradict each other, and how often a second question confirms the first answer.

    A pair counts where both answers are yes or no.
    """
    asked = new_questions(rows, texts)
    again = list(zip(asked, map(normalize, answer_again(asked)), strict=True))
    answered = [normalize(text) for text in texts]
    opposites = [(i, answered[i], answered[j], always) for i, j, always in contradictions(rows)]
    opposites += [(new.row, answered[new.row], text, True) for new, text in again if new.kind == "negated"]
    opposites = [each for each in opposites if is_yes_no(each[1]) and is_yes_no(each[2])]
    contradicted = [one == other and (one == "yes" or always) for _, one, other, always in opposites]
    confirmed = [(i, answered[j] == "yes") for i, j in asked_again(rows, texts)]
    confirmed += [(new.row, text == "yes") for new, text in again if new.kind == "asked_again"]

    def rate(of: Sequence[int], values: Sequence[bool]) -> Estimate:
        return estimate_mean(values, bootstrap.groups_of([rows[i] for i in of]), bootstrap)

    return {
        "contradiction": rate([each[0] for each in opposites], contradicted),
        "self_consistency": rate([i for i, _ in confirmed], [consistent for _, consistent in confirmed]),
    }


def _worst(rows: Sequence[Prediction], pairs: Mapping[str, Sequence[tuple[int, int]]]) -> list[dict]:
    """Of each kind the pairs that are wrong twice, then those that get one answer, the surest first."""
    worst = []
    for kind, of_kind in pairs.items():
        wrong = {pair: sum(not answered_right(rows[i]) for i in pair) for pair in of_kind}
        sure = {pair: float(np.sum([rows[i].get("confidence") or 0.0 for i in pair])) for pair in of_kind}
        first = sorted((pair for pair in of_kind if wrong[pair]), key=lambda pair: (-wrong[pair], -sure[pair]))
        worst += [{"kind": kind, "ids": [rows[i]["id"] for i in pair]} for pair in first[:WORST]]
    return worst
