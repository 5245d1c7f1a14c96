"""How well texts fit their pictures, by what a round's models say: the filters, and with `judge: both` the captioners.

Notable:
- A filter says how probable a match is, softmax of ITM's two logits, text first by [ENC]. Several say it by their mean.
- A captioner says how probable it finds a text's words, one after the other, on the picture (a text's *likelihood*,
  the geometric mean over its tokens). It was taught each word of right texts, and notices one that is wrong, where ITM
  learns one verdict a pair (docs/lab-notes.md). Source: Lin et al. 2024 (VisualGPTScore) judge with BLIP so.
- Both together are one geometric mean: of every token's probability, and of a match as of one token more.
- What each model says is stored part by part, with what made it: a kill costs one part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from blipvqa.bars import progress_bar
from blipvqa.bootstrapping.members import Member
from blipvqa.captions.batches import collator_for
from blipvqa.data.dataset import VQADataset
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.packing import sent
from blipvqa.numbers.grouping import rows_by
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.encoding import EncodedPictures, match
from blipvqa.training.shares import is_first, shared
from blipvqa.training.stored import content_digest, stored

Pair = tuple[str, str]  # an image id and a text
LEAST = 5e-7  # six digits are kept of a probability: 0 there is anything below this, and no veto


@dataclass
class Judges:
    """Who judges: `filters`, and `captioners` where they do, too."""

    filters: Sequence[Member]
    captioners: Sequence[Member] = ()

    def __call__(
        self,
        parts: Sequence[tuple[VQADataset, Sequence[Pair]]],
        folder: Path,
        name_of: Callable[[str, int, int], str],
        progress: bool = True,
    ) -> list[list[dict]]:
        """Of each part, a data set and pairs of its pictures, what is said of each pair: `match`, from 0 to 1.

        Where captioners judge, too, also what it is made of, `matching` and `likelihood`. What each says is kept
        in `folder`, in files that `name_of` names by kind (`match`, `likelihood`), judge and part.
        """
        matches = _by_each(self.filters, match_pairs, parts, folder, partial(name_of, "match"), progress)
        words = _by_each(self.captioners, likelihoods, parts, folder, partial(name_of, "likelihood"), progress)
        if not self.captioners:
            return [[{"match": mean_of(said, "match")} for said in zip(*part, strict=True)] for part in matches]
        return [
            [
                together(mean_of(by_filters, "match"), mean_of(by_captioners, "likelihood"), by_captioners[0]["tokens"])
                for by_filters, by_captioners in zip(
                    zip(*of_filters, strict=True), zip(*of_captioners, strict=True), strict=True
                )
            ]
            for of_filters, of_captioners in zip(matches, words, strict=True)
        ]

    def longer_than_read(self, texts: Sequence[str]) -> int:
        """How many texts one of them reads the beginning of only; members of a kind read as much."""
        cut = [one.reads_in_part(texts) for one in (*self.filters[:1], *self.captioners[:1])]
        return sum(map(any, zip(*cut, strict=True)))


def together(matching: float, likelihood: float, tokens: int) -> dict[str, float]:
    """`match` of what filters and captioners say of a text of so many tokens, and both words.

    By logarithms: the product over a long text's tokens is less than a number can hold, and would be 0.
    """
    of_words, of_pair = (math.log(max(p, LEAST)) for p in (likelihood, matching))
    both = math.exp((tokens * of_words + of_pair) / (tokens + 1))
    return {"match": round(both, 6), "matching": matching, "likelihood": likelihood}


def mean_of(said: Sequence[dict], name: str) -> float:
    """What several models say together of one pair."""
    return round(float(np.mean([one[name] for one in said])), 6)


def _by_each(
    members: Sequence[Member],
    judge: Callable,
    parts: Sequence,
    folder: Path,
    name_of: Callable[[int, int], str],
    progress: bool,
) -> list[list[list[dict]]]:
    """Of each part what each member says of its pairs; one model at a time in memory."""
    said: list[list[list[dict]]] = [[] for _ in parts]
    for number, one in enumerate(members):
        for i, (dataset, pairs) in enumerate(parts):
            made_by = one.made_by(dataset) | {"pairs": content_digest(list(pairs))} | one.reading()
            said[i].append(
                stored(folder, name_of(number, i), made_by, lambda a=(one, dataset, pairs, progress): judge(*a))
            )
        one.let_go()
    return said


@torch.no_grad()
def match_pairs(one: Member, dataset: VQADataset, pairs: Sequence[Pair], progress: bool) -> list[dict]:
    """A filter's `match` of each pair: ITM's probability of one."""
    model, processor = one.models.load()
    device = pick_device()
    pin_number_formats(device)
    model.to(device).eval()
    sized, shown = one.pictures(dataset), dataset.row_of_picture()
    number = {image_id: i for i, image_id in enumerate(shown)}
    places = list(shown.values())
    numbered = np.array([(number[image_id], i) for i, (image_id, _) in enumerate(pairs)])
    order = np.argsort(numbered[:, 0], kind="stable")  # a picture's texts side by side
    with autocast(prediction_precision(one.config, device), device):
        encoded = EncodedPictures(
            model,
            lambda numbers: torch.stack([sized.pixels(*places[i]) for i in numbers]),
            len(places),
            one.config.generate.batch_size,
            f"encode {dataset.split}" if progress else None,
        )
        tokens = text_tokens(processor.tokenizer, [text for _, text in pairs], one.config.retrieval)
        logits = match(model, encoded, tokens, numbered[order], f"match {dataset.split}" if progress else None)
    probabilities = np.empty(len(pairs))
    probabilities[order] = torch.from_numpy(logits).softmax(-1)[:, 1].numpy()
    return [{"match": round(float(p), 6)} for p in probabilities]


@torch.no_grad()
def likelihoods(one: Member, dataset: VQADataset, pairs: Sequence[Pair], progress: bool) -> list[dict]:
    """A captioner's word on each pair: `likelihood`, the geometric mean of the probabilities of the text's `tokens`,
    [SEP] among them and the prompt not."""
    model, processor = one.models.load()
    device = pick_device()
    pin_number_formats(device)
    model.to(device).eval()
    sized, places, collate = one.pictures(dataset), dataset.row_of_picture(), collator_for(processor, one.config)
    order = [i for numbers in rows_by(image_id for image_id, _ in pairs).values() for i in numbers]
    size = one.config.generate.batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]

    def work(mine: Sequence[list[int]]) -> Iterator[list[dict]]:
        quiet = not (progress and is_first())
        for numbers in progress_bar(mine, desc=f"read {dataset.split}", unit="batch", disable=quiet, leave=False):
            shown = {pairs[i][0]: sized.pixels(*places[pairs[i][0]]) for i in numbers}
            batch = collate(
                [{"image_id": pairs[i][0], "caption": pairs[i][1], "pixels": shown[pairs[i][0]]} for i in numbers]
            )
            tokens = (batch["labels"] != -100).sum(1)
            ids, mask, pixels, layout = (
                sent(batch[name], device) for name in ("input_ids", "attention_mask", "pixel_values", "layout")
            )
            states = model.picture_states(pixels)
            losses, _ = model.caption_losses(states, ids, mask.bool(), None, smoothing=0.0, layout=layout)
            probable = (-losses.double().cpu() / tokens).exp()
            yield [
                {"likelihood": round(p, 6), "tokens": n}
                for p, n in zip(probable.tolist(), tokens.tolist(), strict=True)
            ]

    with autocast(prediction_precision(one.config, device), device):
        said = [row for of_batch in shared(batches, list(map(len, batches)), work) for row in of_batch]
    return [row for _, row in sorted(zip(order, said, strict=True), key=lambda item: item[0])]
