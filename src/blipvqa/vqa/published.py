"""What others' scripts compute, under names of their own: for a comparison with a number in a paper.

Each measure does what its script does, faults included, because the published numbers have them too. All work on the
texts as they stand, so an answer that decoding spaced as "t - cell" is another word than "t-cell" to some of them.
`docs/measures.md` says which paper prints what. Read line by line in November 2026:

- PathVQA: `Evaluation script/evaluation_script.py` of UCSD-AI4H/PathVQA, with the `utils.py` that it imports
- LLaVA-Med: `llava/eval/run_eval.py` and `eval_metrics/` of microsoft/LLaVA-Med
- MUMC: `vqaTools/vqaEval.py` of pengfeiliHEU/MUMC
- MedEvalKit: `utils/utils.py`, without a language model as judge
"""

from collections.abc import Iterable

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate
from blipvqa.numbers.classes import estimate_macro_f1
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.text import normalize
from blipvqa.vqa import scripts
from blipvqa.vqa.answers import Prediction, check_predictions, is_yes_no, nearest_answer

MACRO_F1 = "class_macro_f1"
MACRO_F1_MEANING = "F1 of each answer as a class, averaged over the answers of references and predictions"
FOUND = "distinct words of the reference that were answered / words answered"
UNCLIPPED = "true positives count as often as they were answered"

PUBLISHED = Measures(
    {
        "pathvqa_script_exact_match": ratio("pathvqa_exact", "open", FOUND, "PathVQA, exact match"),
        "pathvqa_script_f1": ratio("pathvqa_f1", "open", f"F1 of words; {UNCLIPPED}", "PathVQA, F1"),
        **{
            f"pathvqa_script_bleu_{n}": ratio(
                f"pathvqa_bleu_{n}",
                "open",
                f"mean of sentence BLEU of {n}-grams alone; brevity in characters, no match counts like full match",
                f"PathVQA, BLEU-{n}",
            )
            for n in scripts.ORDERS
        },
        "llava_med_recall": ratio("llava_med_recall", "open", f"recall of words; {UNCLIPPED}", "LLaVA-Med, open"),
        "llava_med_f1": ratio("llava_med_f1", "open", f"F1 of words; {UNCLIPPED}", "LLaVA-Med, F1"),
        "llava_med_exact_match": ratio("llava_med_exact", "open", FOUND, "LLaVA-Med, exact match"),
        "llava_med_closed": ratio(
            "llava_med_hit",
            "llava_med_closed",
            "the reference stands in the answer; a wrong answer that holds yes or no is left out, not counted as wrong",
            "LLaVA-Med, closed",
        ),
        **{
            f"llava_med_bleu_{n}": ratio(
                f"llava_med_bleu_{n}", "open", f"mean of sentence BLEU of {n}-grams alone", f"LLaVA-Med, BLEU-{n}"
            )
            for n in scripts.ORDERS
        },
        "mumc_accuracy": ratio("mumc", "all", "the answer is a part of the reference, even an empty one", "MUMC, all"),
        "mumc_open": ratio("mumc_open", "open", "the same, open questions", "MUMC, open"),
        "mumc_closed": ratio("mumc_closed", "closed", "the same, closed questions", "MUMC, closed"),
        "medevalkit_accuracy": ratio("medevalkit", "all", "its close and open together", "MedEvalKit, total"),
        "medevalkit_close": ratio(
            "medevalkit_close", "yes_no", "the right one of yes and no in the answer, and not both", "MedEvalKit, close"
        ),
        "medevalkit_open": ratio("medevalkit_open", "not_yes_no", "equal in lower case", "MedEvalKit, open"),
        **{
            f"medevalkit_bleu_{n}": ratio(
                f"medevalkit_bleu_{n}",
                "not_yes_no",
                f"mean of sentence BLEU, n-grams up to {n} weighted equally",
                f"MedEvalKit, BLEU-{n}",
            )
            for n in scripts.UP_TO
        },
        "medevalkit_f1": ratio("medevalkit_f1", "not_yes_no", "it prints recall as f1", "MedEvalKit, f1"),
        "medevalkit_precision": ratio(
            "medevalkit_precision", "not_yes_no", "it prints F1 of distinct words as precision", "MedEvalKit, precision"
        ),
        "medevalkit_recall": ratio(
            "medevalkit_recall", "not_yes_no", "it prints precision as recall", "MedEvalKit, recall"
        ),
    }
)


def published(predictions: Iterable[Prediction], bootstrap: Bootstrap = BY_IMAGE) -> dict[str, Estimate]:
    """Every measure of PUBLISHED, and the macro F1 over answer classes, with 95 % intervals.

    A question is open or closed by the data's `answer_type` where it has one; otherwise closed is a reference of yes or
    no. MedEvalKit goes by the reference always.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    groups = bootstrap.groups_of(predictions)
    counts = PUBLISHED.matrix(_count(prediction) for prediction in predictions)
    everything = [np.arange(len(predictions))]
    (estimates,) = estimate(counts, groups, everything, PUBLISHED, list(PUBLISHED), bootstrap)
    classes = (
        [normalize(text(prediction)) for prediction in predictions]
        for text in (nearest_answer, lambda prediction: prediction["prediction"])
    )
    return estimates | {MACRO_F1: estimate_macro_f1(*classes, groups, bootstrap)}


def _count(prediction: Prediction) -> dict[str, float]:
    texts = nearest_answer(prediction), str(prediction["prediction"])
    kind, yes_no = str(prediction.get("answer_type")).strip().lower(), is_yes_no(texts[0])
    closed = kind == "closed" if kind in ("open", "closed") else yes_no
    hit = scripts.mumc(*texts)
    counted: dict[str, float] = {"all": 1, "mumc": hit, "yes_no" if yes_no else "not_yes_no": 1}
    if closed:
        counted |= {"closed": 1, "mumc_closed": hit} | scripts.llava_med_closed(*texts)
    else:
        counted |= {"open": 1, "mumc_open": hit} | scripts.pathvqa(*texts) | scripts.llava_med_open(*texts)
    return counted | (scripts.medevalkit_yes_no(*texts) if yes_no else scripts.medevalkit_open(*texts))
