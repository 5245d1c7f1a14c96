"""What is counted of each answered question, and every measure as a function of the summed counts.

`counts` turns each prediction into one row of a matrix, and a measure is computed from column sums
(`numbers.measures`). Each variant has a name of its own; `MEASURES[name].meaning` says in a line what it counts and
where that comes from. What other people's scripts compute stands in `published`.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from blipvqa.numbers.bleu import BLEU_ORDERS, bleu, count_ngrams
from blipvqa.numbers.measures import Measure, Measures, divide, ratio
from blipvqa.text import normalize, words
from blipvqa.vqa.answers import (
    Prediction,
    check_predictions,
    is_yes_no,
    reference_answers,
    same_question,
    spelled_answers,
)

ARTICLES = frozenset({"a", "an", "the"})


def _balanced(true_yes, yes, true_no, no) -> np.ndarray:
    return (divide(true_yes, yes) + divide(true_no, no)) / 2


def _bleu_measure(order: int) -> Measure:
    meaning = (
        f"corpus BLEU on open questions, n-grams up to {order} weighted equally, unsmoothed "
        "(Papineni et al. 2002, n-grams counted by sacrebleu); no mean over sentences"
    )
    return bleu(order, "open", meaning)


MEASURES = Measures(
    {
        # PathVQA's challenge measures (He et al. 2020), the headline
        "exact_match": ratio(
            "right", "all", "share of answers equal to the reference after text.normalize", "exact match"
        ),
        "yes_no_accuracy": ratio(
            "right_yes_no",
            "yes_no",
            "exact match on questions whose reference is yes or no (PathVQA)",
            "yes/no accuracy",
        ),
        "open_exact_match": ratio(
            "right_open", "open", "exact match on all other questions (PathVQA)", "open exact match"
        ),
        "open_token_f1": ratio(
            "token_f1",
            "open",
            "mean over open questions of the F1 of the two bags of words, counts clipped as in SQuAD "
            "(Rajpurkar et al. 2016)",
            "open token F1",
        ),
        **{f"bleu_{order}": _bleu_measure(order) for order in BLEU_ORDERS},
        # Yes/no questions as a diagnostic test for "yes"
        "yes_no_sensitivity": ratio(
            "true_yes", "yes", "answered yes, of the questions whose reference is yes", "yes/no sensitivity"
        ),
        "yes_no_specificity": ratio(
            "true_no", "no", "answered no, of the questions whose reference is no", "yes/no specificity"
        ),
        "yes_no_balanced_accuracy": Measure(
            _balanced,
            ("true_yes", "yes", "true_no", "no"),
            "yes_no",
            "mean of sensitivity and specificity: 0.5 for always yes",
            "yes/no balanced accuracy",
        ),
        "yes_no_predicted_yes": ratio(
            "predicted_yes",
            "yes_no",
            "rate of yes among the answers to yes/no questions",
            "yes/no predicted yes",
            rises=False,
        ),
        # The same answers under other rules of the field
        "exact_match_any": ratio("right_any", "all", "answer equals any reference of the same image and question"),
        "exact_match_squad": ratio(
            "right_squad", "all", "exact match without punctuation and articles (SQuAD's rule)", "exact match, SQuAD"
        ),
        "open_token_recall": ratio(
            "token_recall",
            "open",
            "mean share of the reference's words that stand in the answer, counts clipped",
        ),
        "closed_accuracy": ratio(
            "right_closed", "closed", "exact match where the data's answer_type is closed (VQA-RAD)"
        ),
        "open_accuracy": ratio(
            "right_typed_open", "typed_open", "exact match where the data's answer_type is open (VQA-RAD)"
        ),
        "vqa_v2_accuracy": ratio(
            "agreed",
            "asked_of_several",
            "mean of min(n / 3, 1), n of all people but one who gave the answer, over who is left out (VQA v2, Antol "
            "et al. 2015), on questions with four answers or more; texts compared after text.normalize",
            "VQA v2 accuracy",
        ),
    }
)
FEWEST_ANSWERS = 4  # of one question: with fewer, no answer could have three others agree
NEEDS_ANSWER_TYPE = frozenset({"closed_accuracy", "open_accuracy"})


def measure_names(predictions: Sequence[Prediction]) -> list[str]:
    """The measures these predictions allow: VQA-RAD's two only where the data has an `answer_type`."""
    typed = any(prediction.get("answer_type") for prediction in predictions)
    several = any(len(_said(prediction)) >= FEWEST_ANSWERS for prediction in predictions)
    left_out = (frozenset() if typed else NEEDS_ANSWER_TYPE) | (frozenset() if several else {"vqa_v2_accuracy"})
    return [name for name in MEASURES if name not in left_out]


def _said(prediction: Prediction) -> list[str]:
    answers = prediction.get("answers")
    return answers if isinstance(answers, list) else []


def agreement(said: Sequence[str], predicted: str) -> float:
    """VQA v2's accuracy of one answer, given what people said. Source: VQA's evaluation, `vqaEval.py`."""
    same = sum(normalize(answer) == predicted for answer in said)
    with_one_left_out = same * min((same - 1) / 3, 1) + (len(said) - same) * min(same / 3, 1)
    return with_one_left_out / len(said)


def counts(predictions: Sequence[Prediction]) -> np.ndarray:
    """The matrix `[question, MEASURES.columns]` whose column sums every measure is computed from.

    Raises InputError where a prediction is incomplete or an id repeats (`answers.check_predictions`).
    """
    check_predictions(predictions)
    references = reference_answers(predictions)
    return MEASURES.matrix(_count(prediction, references[same_question(prediction)]) for prediction in predictions)


def _count(prediction: Prediction, references: Counter[str]) -> dict[str, float]:
    answer, predicted = normalize(prediction["answer"]), normalize(prediction["prediction"])
    accepted = list(spelled_answers(prediction))
    right, yes_no = predicted in accepted, is_yes_no(answer)
    counted = {"all": 1, "right": right, "right_any": predicted in references}
    bare = _without_articles(predicted)
    counted["right_squad"] = any(_without_articles(one) == bare for one in accepted)
    if len(said := _said(prediction)) >= FEWEST_ANSWERS:
        counted |= {"asked_of_several": 1, "agreed": agreement(said, predicted)}
    if yes_no:
        counted |= {"yes_no": 1, "right_yes_no": right, "predicted_yes": predicted == "yes"}
        counted |= {answer: 1, f"true_{answer}": answer == predicted}
    else:
        counted |= {"open": 1, "right_open": right, **_count_words([words(one) for one in accepted], words(predicted))}
    kind = {"closed": "closed", "open": "typed_open"}.get(str(prediction.get("answer_type")).strip().lower())
    if kind:
        counted |= {kind: 1, f"right_{kind}": right}
    return counted


def _without_articles(normalized: str) -> list[str]:
    all_words = words(normalized)
    return [word for word in all_words if word not in ARTICLES] or all_words


def _count_words(accepted: list[list[str]], predicted: list[str]) -> dict[str, float]:
    """F1 and recall, of the right answer that gives the most, and BLEU's counts of one open question."""
    predicted_bag = Counter(predicted)
    shared = [(Counter(answer) & predicted_bag).total() for answer in accepted]
    pairs = list(zip(shared, map(len, accepted), strict=True))
    counted = {
        "token_f1": max(2 * n / max(length + len(predicted), 1) for n, length in pairs),
        "token_recall": max(n / max(length, 1) for n, length in pairs),
    }
    return counted | count_ngrams(predicted, accepted)
