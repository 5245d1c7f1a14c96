"""Questions and answers to batches: what a question looks like to the model, and the collator."""

from __future__ import annotations

import re

from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.data.batches import distinct_images
from blipvqa.models.tokenizer import ANSWER_START, QUESTION_START, encode

REMOVED_FROM_QUESTIONS = re.compile(r"[.!\"()*#:;~]")  # as the authors do: salesforce/BLIP data/utils.py


def prepare_question(question: str) -> str:
    """Lower-case, without `.!"()*#:;~`, as the authors train. Source: salesforce/BLIP data/utils.py."""
    return " ".join(REMOVED_FROM_QUESTIONS.sub("", question.lower()).split())


class VQACollator:
    """Items to one batch (the dict in `docs/design.md`): true lengths, distinct images, [ENC] and [DEC] in front.

    `processor` is `load_model`'s; its tokenizer starts every text with [ENC] (docs/facts.md 1.3, 1.9).
    """

    def __init__(self, processor, max_question_tokens: int = 35, max_answer_tokens: int = 40):
        self.tokenizer = processor.tokenizer
        self.limits = {"question": max_question_tokens, "answer": max_answer_tokens}

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        questions = self.tokenize([prepare_question(item["question"]) for item in items], "question")
        batch = {"input_ids": questions["input_ids"], "attention_mask": questions["attention_mask"]}
        batch |= distinct_images(items)
        answers = self.tokenize([item["answer"] for item in items], "answer")
        ids = answers["input_ids"]  # [Q, La]
        batch["decoder_input_ids"] = ids
        batch["labels"] = ids.masked_fill(answers["attention_mask"] == 0, -100)
        return batch

    def tokenize(self, texts: list[str], kind: str) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` `[Q, L]`, padded to the longest of the batch."""
        start = ANSWER_START if kind == "answer" else QUESTION_START
        return encode(self.tokenizer, texts, start, self.limits[kind])

    def count_cut(self, rows: list[dict]) -> dict[str, int]:
        """How many questions and answers exceed the token limits and are cut."""
        texts = {
            "question": [prepare_question(row["question"]) for row in rows],
            "answer": [row["answer"] for row in rows],
        }
        return {
            kind: sum(
                len(ids) > self.limits[kind]
                for ids in self.tokenizer(texts[kind], truncation=False, verbose=False)["input_ids"]
            )
            for kind in texts
        }


def collator_for(processor, config: Config) -> VQACollator:
    """The collator with a config's token limits."""
    return VQACollator(processor, config.data.max_question_tokens, config.data.max_answer_tokens)
