"""What is known to be wrong with a data set, told from its rows and pictures: for notebook 01, metrics and card.

shared       images or groups in two splits, rows left out (`sources`, `splitting`)
look alike   near-duplicates across splits (`duplicates`)
imbalance    how far answers that never look get
contradicted questions about one picture that are answered in two ways
laterality   questions that a mirrored picture would make wrong
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.data.duplicates import duplicate_notes, near_duplicates
from blipvqa.pages.wording import share
from blipvqa.plural import how_many, of_all
from blipvqa.text import normalize, words
from blipvqa.vqa.answers import YES_NO, same_question

SIDES = frozenset({"left", "right"})


def answer_notes(train: VQADataset) -> list[str]:
    """Imbalance and laterality of the training questions, a line each."""
    if not len(train):
        return []
    answers = Counter(normalize(row["answer"]) for row in train.rows)
    closed = {answer: answers[answer] for answer in sorted(YES_NO)}
    rest = {answer: n for answer, n in answers.items() if answer not in YES_NO}
    notes = []
    if sum(closed.values()):
        notes.append(
            f"imbalance: {share(sum(closed.values()) / len(train))} of train's answers are yes or no, "
            f"{share(closed['yes'] / sum(closed.values()))} of these yes"
        )
    if rest:
        commonest = min(rest, key=lambda answer: (-rest[answer], answer))
        once = sum(n == 1 for n in rest.values())
        notes.append(
            f'imbalance: of {len(rest):,} different other answers the commonest, "{commonest[:60]}", is '
            f"{share(rest[commonest] / sum(rest.values()), 1)}, and {how_many(once, 'answer stands', 'answers stand')} "
            "there once only"
        )
    sided = sum(_names_a_side(row) for row in train.rows)
    if sided:
        notes.append(
            f"laterality: {of_all(sided, len(train), 'training row', 'names', 'name')} left or right: a "
            "mirrored picture makes them wrong, and none is mirrored in training"
        )
    return notes


def contradiction_notes(data: VQADataset) -> list[str]:
    """A line on questions that stand in a split twice, about one picture, with answers that differ.

    Where a question has several right answers (`answers`), none contradicts another.
    """
    answers: dict[tuple[str, str], dict[str, str]] = {}
    for row in data.rows:
        if not row.get("answers"):
            same = answers.setdefault(same_question(row), {})
            same.setdefault(normalize(row["answer"]), row["id"])
    contradicted = [list(rows.values()) for rows in answers.values() if len(rows) > 1]
    if not contradicted:
        return []
    first = " and ".join(contradicted[0][:2])
    return [
        f"contradicted: {how_many(len(contradicted), 'question')} of {data.split} "
        f"{'has' if len(contradicted) == 1 else 'have'} two answers or more (first: rows {first})"
    ]


def _names_a_side(row: dict) -> bool:
    return not SIDES.isdisjoint([*words(row["question"]), *words(row["answer"])])


def all_notes(splits: Splits) -> dict:
    """As `metrics-<split>.json` keeps them under `data`: {"leaks": what makes held-out numbers too good, and what was
    done about it, "look_alikes": the same in numbers, "answers": imbalance and laterality}."""
    pairs = near_duplicates(splits)
    return {
        "leaks": splits.notes + duplicate_notes(pairs),
        "look_alikes": pairs.counts,
        "answers": answer_notes(splits["train"])
        + [note for data in splits.values() for note in contradiction_notes(data)],
    }


def stored_notes(scores: Mapping) -> list[str]:
    """What `metrics-<split>.json` says is known of the data; beside the notes stand other things there."""
    return [note for kind in ("leaks", "answers") for note in scores["data"].get(kind, [])]
