"""Which texts are longer than a run reads: what is cut off is neither learnt nor judged, and a person must know it."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.plural import how_many

LIMITS = {  # what each column of texts is cut by, by task
    "vqa": {"question": "data.max_question_tokens", "answer": "data.max_answer_tokens"},
    "caption": {"caption": "caption.max_words, caption.max_tokens"},
    "retrieval": {"caption": "retrieval.max_words, retrieval.max_tokens"},
    "pretrain": {"caption": "retrieval.max_words, retrieval.max_tokens"},
    "pairs": {"sentence": "pairs.max_words, pairs.max_tokens"},
}
WRITTEN = {"vqa": "answer", "caption": "caption"}  # what a model learns to write
TURNS = "history"  # what a collator calls questions whose oldest turns are left out


def read_of_scored(task: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Of a scored split's counts those of texts that are read: what a model writes is scored against uncut texts."""
    return {column: count for column, count in counts.items() if column != WRITTEN.get(task)}


def cut_notes(task: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each split and column with texts that are cut, from what collators count (`count_cut`) by split."""
    notes = []
    for split, of_split in counts.items():
        for column, count in of_split.items():
            if count and column == TURNS:
                notes.append(f"{split}: of {how_many(count, 'question')} the oldest turns are left out: no room")
            elif count:
                notes.append(
                    f"{split}: {how_many(count, 'text')} of column {column} {'is' if count == 1 else 'are'} "
                    f"longer than is read ({LIMITS[task][column]}): the rest is cut off"
                )
    return notes
