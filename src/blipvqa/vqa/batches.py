"""Questions and answers to batches: what a question looks like to the model, and the collator."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.data.batches import distinct_images
from blipvqa.data.history import history_of
from blipvqa.models.packing import Layout, Packed, Written
from blipvqa.models.tokenizer import ANSWER_START, QUESTION_START, encode
from blipvqa.vqa.token_limits import answer_tokens, question_tokens
from blipvqa.vqa.turns import with_history

REMOVED_FROM_QUESTIONS = re.compile(r"[.!\"()*#:;~]")  # as the authors do: salesforce/BLIP data/utils.py


def prepare_question(question: str) -> str:
    """Lower-case, without `.!"()*#:;~`, as the authors train. Source: salesforce/BLIP data/utils.py."""
    return " ".join(REMOVED_FROM_QUESTIONS.sub("", question.lower()).split())


class VQACollator:
    """Items to one batch (the dict in `docs/design.md`): true lengths, distinct images, [ENC] and [DEC] in front.

    `processor` is `load_model`'s; its tokenizer starts every text with [ENC] (docs/facts.md 1.3, 1.9).
    """

    def __init__(
        self,
        processor,
        max_question_tokens: int = 35,
        max_answer_tokens: int = 40,
        weigh: bool = False,
    ):
        """`weigh`: each of a question's several answers stands in the batch, with its share as weight."""
        self.tokenizer, self.weigh = processor.tokenizer, weigh
        self.limits = {"question": max_question_tokens, "answer": max_answer_tokens}

    def __call__(self, items: list[dict]) -> dict[str, Tensor]:
        questions = self.tokenize(self.with_history(items)[0], "question")
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
        return batch | {"layout": layout_of(batch)}

    def tokenize(self, texts: list[str], kind: str) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` `[Q, L]`, padded to the longest of the batch."""
        start = ANSWER_START if kind == "answer" else QUESTION_START
        return encode(self.tokenizer, texts, start, self.limits[kind])

    def with_history(self, items: Sequence[Mapping]) -> tuple[list[str], list[int]]:
        """What is read as each item's question, its turns included; and how many turns are left out (`turns`)."""
        return with_history(items, prepare_question, self._lengths, self.limits["question"])

    def _lengths(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]

    def count_cut(self, rows: list[dict]) -> dict[str, int]:
        """How many questions and answers exceed the token limits and are cut; and where there are conversations, of how
        many questions the oldest turns are left out (`history`)."""
        texts = {
            "question": [prepare_question(row["question"]) for row in rows],
            "answer": [text for row in rows for text in dict.fromkeys((row["answer"], *(row.get("answers") or ())))],
        }
        cut = {
            kind: sum(
                len(ids) > self.limits[kind]
                for ids in self.tokenizer(texts[kind], truncation=False, verbose=False)["input_ids"]
            )
            for kind in texts
        }
        asked_with = [row for row in rows if history_of(row)]
        return cut | ({"history": sum(n > 0 for n in self.with_history(asked_with)[1])} if asked_with else {})


def layout_of(batch: dict[str, Tensor]) -> Layout:
    """Where the tokens of a batch's questions and answers stand."""
    pictures, labels = len(batch["pixel_values"]), batch["labels"]
    question_of = batch.get("answer_index", torch.arange(len(labels)))
    return Layout(
        Packed.of(batch["attention_mask"], batch["image_index"], pictures),
        Written.of(labels != -100, question_of, len(batch["input_ids"])),
    )


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


def asking_collator(processor, model) -> VQACollator:
    """The collator with the limits that a model tells of its training."""
    return VQACollator(processor, question_tokens(model), answer_tokens(model))


def training_collator(processor, config: Config) -> VQACollator:
    """The collator of training, which weighs several answers where the config says so."""
    limits = config.data.max_question_tokens, config.data.max_answer_tokens
    return VQACollator(processor, *limits, weigh=config.train.answers == "weigh")
