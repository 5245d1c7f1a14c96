"""What the field's evaluation scripts compute of one question, faults included; `published` has the means.

Each function takes the reference and the answer as they stand and returns counts by name. No code is taken over: these
are the formulas, read off the scripts that `published` names, and checked against them on whole runs.
"""

import math
import re
from collections import Counter

ORDERS = (1, 2, 3)
UP_TO = (1, 2, 3, 4)
ARTICLES = frozenset({"a", "an", "the"})
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
MARKS = ';/[]"{}()=+\\_-><@`,?!'  # what the VQA challenge's cleaning removes or makes a space
CONTRACTED = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
    "isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
    "shouldn't someone'd someone'll someone's something'd something'll somebody'll somebody's that's there'd "
    "there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've "
    "when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all "
    "you'd you'll you're you've"
)
CONTRACTIONS = {word.replace("'", ""): word for word in CONTRACTED.split()}


def _ngrams(tokens: list[str], n: int) -> Counter:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _found(answer: list[str], predicted: list[str]) -> float:
    """Distinct words of the reference that were answered, over the words answered; 0 where there are none."""
    return len(set(answer) & set(predicted)) / len(predicted) if predicted else 0.0


def _unclipped(answer: list[str], predicted: list[str]) -> tuple[float, float]:
    """F1 and recall whose true positives are shared words, each as often as it was answered."""
    if not answer or not predicted:
        return 0.0, 0.0
    shared = sum(word in answer for word in predicted)
    recall = shared / (shared + sum(word not in predicted for word in answer)) if shared else 0.0
    precision = shared / len(predicted)
    return (2 * precision * recall / (precision + recall) if shared else 0.0), recall


# -------------------------------------------------------------------------------------------------- PathVQA


def pathvqa(answer: str, predicted: str) -> dict[str, float]:
    """Exact match, F1 and BLEU as evaluation_script.py has them: letters and blanks are kept, all else is dropped."""
    reference, said = (re.sub("[^a-zA-Z ]", "", text).lower().split() for text in (answer, predicted))
    counts = {"pathvqa_exact": _found(reference, said), "pathvqa_f1": _unclipped(reference, said)[0]}
    for n in ORDERS:
        counts[f"pathvqa_bleu_{n}"] = _pathvqa_bleu(answer, predicted, reference, said, n)
    return counts


def _pathvqa_bleu(answer: str, predicted: str, reference: list[str], said: list[str], n: int) -> float:
    """Lengths are characters; a precision of 0 is skipped, which counts like 1; an answer too short for n counts 0."""
    ngrams, wanted = _ngrams(said, n), _ngrams(reference, n)
    if not ngrams:
        return 0.0
    brevity = 1.0 if len(predicted) > len(answer) else math.exp(1 - len(answer) / len(predicted))
    return brevity * ((ngrams & wanted).total() / ngrams.total() or 1.0)


# ------------------------------------------------------------------------------------------------ LLaVA-Med


def cleaned(text: str) -> str:
    """The VQA challenge's cleaning, as LLaVA-Med applies it: marks, full stops, numbers, articles, contractions."""
    between_digits = re.search(r"\d,\d", text)
    spaced = text
    for mark in MARKS:
        gone = between_digits or mark + " " in text or " " + mark in text
        spaced = spaced.replace(mark, "" if gone else " ")
    tokens = [DIGITS.get(word, word) for word in re.sub(r"\.(?!\d)", "", spaced, count=32).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in tokens if word not in ARTICLES)


def llava_med_open(answer: str, predicted: str) -> dict[str, float]:
    """Recall, F1, exact match and sentence BLEU of single orders, of an open question."""
    reference, said = (cleaned(text.lower()) for text in (answer, predicted))
    twice = cleaned(reference).split(), cleaned(said).split()  # the script cleans again for F1
    f1, recall = _unclipped(*twice)
    counts = {"llava_med_exact": _found(*twice), "llava_med_f1": f1, "llava_med_recall": recall}
    weights = ([float(order == n) for order in UP_TO] for n in ORDERS)
    for n, weight in zip(ORDERS, weights, strict=True):
        counts[f"llava_med_bleu_{n}"] = sentence_bleu(reference.split(), said.split(), weight)
    return counts


def llava_med_closed(answer: str, predicted: str) -> dict[str, float]:
    """Right where the reference stands in an answer that holds "yes" or "no"; a wrong one of these is not counted."""
    reference, said = cleaned(answer.lower()), cleaned(predicted.lower())
    decided = "yes" in said or "no" in said
    hit = decided and reference in said
    return {"llava_med_hit": hit, "llava_med_closed": hit or not decided}


def sentence_bleu(reference: list[str], said: list[str], weights: list[float]) -> float:
    """BLEU of one sentence against one reference, unsmoothed, as nltk has it: 0 where a weighted order has no match."""
    precisions = []
    for n, weight in enumerate(weights, start=1):
        ngrams = _ngrams(said, n)
        precisions.append(((ngrams & _ngrams(reference, n)).total() / max(1, ngrams.total()), weight))
    if not precisions or not precisions[0][0] or any(weight and not precision for precision, weight in precisions):
        return 0.0
    brevity = 1.0 if len(said) > len(reference) else math.exp(1 - len(reference) / len(said))
    return brevity * math.exp(sum(weight * math.log(precision) for precision, weight in precisions if weight))


# ----------------------------------------------------------------------------------------------------- MUMC


def mumc(answer: str, predicted: str) -> bool:
    """Whether the answer is a part of the reference, after its cleaning; so an empty answer is right."""
    return _without_marks(predicted) in _without_marks(answer)


def _without_marks(text: str) -> str:
    bare = re.sub(r"[,.'!?\"()*#:;~]", "", text.lower()).replace(" \t", " ")
    return bare.replace("x ray", "xray").replace("x-ray", "xray").replace(" - ", "-")


# ----------------------------------------------------------------------------------------------- MedEvalKit


def medevalkit_yes_no(answer: str, predicted: str) -> dict[str, float]:
    """Right where exactly one of "yes" and "no" stands in the answer, and the reference does."""
    said = predicted.lower().strip().replace("\n", "").replace(".", "")
    right = ("yes" in said) != ("no" in said) and answer.lower().strip() in said
    return {"medevalkit": right, "medevalkit_close": right}


def medevalkit_open(answer: str, predicted: str) -> dict[str, float]:
    """Equality, sentence BLEU, and three numbers that are printed under each other's names."""
    reference, said = answer.lower().strip(), predicted.lower().strip()
    counts: dict[str, float] = {"medevalkit": reference == said, "medevalkit_open": reference == said}
    tokens = [text.replace(".", " .").split(" ") for text in (reference, said)]
    for n in UP_TO:
        counts[f"medevalkit_bleu_{n}"] = sentence_bleu(*tokens, [1 / n] * n)
    wanted, words = set(reference.split()), set(said.split())
    precision, recall = (len(wanted & words) / len(one) if one else 0.0 for one in (words, wanted))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return counts | {"medevalkit_precision": f1, "medevalkit_recall": precision, "medevalkit_f1": recall}
