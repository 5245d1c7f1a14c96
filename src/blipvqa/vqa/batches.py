"""Questions and answers to batches: what a question looks like to the model, and the collator."""

from __future__ import annotations

import re
from collections import Counter

import torch
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

    def __init__(self, processor, max_question_tokens: int = 35, max_answer_tokens: int = 40, weigh: bool = False):
        """`weigh`: each of a question's several answers stands in the batch, with its share as weight."""
        self.tokenizer, self.weigh = processor.tokenizer, weigh
        self.limits = {"question": max_question_tokens, "answer": max_answer_tokens}

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        questions = self.tokenize([prepare_question(item["question"]) for item in items], "question")
        batch = {"input_ids": questions["input_ids"], "attention_mask": questions["attention_mask"]}
        batch |= distinct_images(items)
        if self.weigh and any(item.get("answers") for item in items):
            texts, index, weights = weighed_answers(items)
            batch |= {"answer_index": torch.tensor(index), "answer_weights": torch.tensor(weights)}  # [A]
        else:
            texts = [item["answer"] for item in items]
        answers = self.tokenize(texts, "answer")
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
            "answer": [text for row in rows for text in dict.fromkeys((row["answer"], *(row.get("answers") or ())))],
        }
        return {
            kind: sum(
                len(ids) > self.limits[kind]
                for ids in self.tokenizer(texts[kind], truncation=False, verbose=False)["input_ids"]
            )
            for kind in texts
        }


def weighed_answers(items: list[dict]) -> tuple[list[str], list[int], list[float]]:
    """Every distinct answer of each item, the item that it answers, and its share of that item's answers.

    Source: salesforce/BLIP data/vqa_dataset.py, where each of VQA's ten answers adds a tenth.
    """
    shares = [Counter(item.get("answers") or [item["answer"]]) for item in items]
    flat = [(text, i, n / share.total()) for i, share in enumerate(shares) for text, n in share.items()]
    texts, index, weights = zip(*flat, strict=True)
    return list(texts), list(index), list(weights)


def collator_for(processor, config: Config) -> VQACollator:
    """The collator with a config's token limits."""
    return VQACollator(processor, config.data.max_question_tokens, config.data.max_answer_tokens)


def training_collator(processor, config: Config) -> VQACollator:
    """The collator of training, which weighs several answers where the config says so."""
    limits = config.data.max_question_tokens, config.data.max_answer_tokens
    return VQACollator(processor, *limits, weigh=config.train.answers == "weigh")
