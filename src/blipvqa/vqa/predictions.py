"""From a model and a split to predictions, by generation or by ranking.

Notable:
- Batches hold whole images, so each is encoded once; questions of all lengths share a batch, and no answer depends
  on its company (the model's masks see to that).
- A generated answer says whether it stops at the limit (`unfinished`), before the model ended it.
- Every prediction carries `score`, the unsmoothed log-probability of its token sequence, and `yes_probability`, that
  of "yes" against "no" as whole answers; `confidence` follows from them (`confidence.py`).
- Out of memory, a batch is halved and asked again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config, GenerateConfig
from blipvqa.data.batches import batch_loader, loader_deaths_explained, whole_image_batches, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.models.packing import sent
from blipvqa.models.questions import Questions
from blipvqa.models.tokenizer import ANSWER_START, encode
from blipvqa.models.vqa import RANK_SMOOTHING, BlipForVQA
from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize
from blipvqa.training.shares import cost_of, is_first, shared
from blipvqa.vqa.answers import asks_yes_no
from blipvqa.vqa.batches import VQACollator, collator_for
from blipvqa.vqa.candidate_files import candidates_in
from blipvqa.vqa.confidence import confidence
from blipvqa.vqa.conformal import MOST


@dataclass
class Candidates:
    """Answers to rank, `[DEC] … [SEP]`; token sequences are distinct."""

    texts: list[str]  # [C]
    ids: Tensor  # [C, La]
    mask: Tensor  # [C, La]
    collapsed: frozenset[str] = frozenset()  # normalized answers that are the tokens of a different answer, too

    @classmethod
    def of(cls, texts: list[str], collator: VQACollator) -> Candidates:
        """Distinct after tokenizing: 48 of PathVQA's 3,273 train answers are another's tokens (docs/facts.md 1.15)."""
        batch = collator.tokenize(texts, "answer")
        rows_of = rows_by(map(tuple, batch["input_ids"].tolist())).values()
        answers = [{normalize(texts[i]) for i in rows} for rows in rows_of]
        collapsed = frozenset().union(*(different for different in answers if len(different) > 1))
        first = torch.tensor([rows[0] for rows in rows_of])
        ids, mask = batch["input_ids"][first], batch["attention_mask"][first].bool()
        return cls([texts[i] for i in first], ids, mask, collapsed)

    def to(self, device) -> Candidates:
        """The ids elsewhere. The mask stays: how long they are must be known on the CPU."""
        return replace(self, ids=sent(self.ids, device))

    def warnings(self, rows: Sequence[Mapping]) -> list[str]:
        """A line on the rows whose reference cannot be told from another candidate; none where there is no such row."""
        count = sum(normalize(row["answer"]) in self.collapsed for row in rows)
        if not count:
            return []
        return [
            f"{count:,} of {len(rows):,} reference answers are the same tokens as a different candidate, cut to "
            "data.max_answer_tokens or with unknown letters: the ranking is right or wrong there by luck"
        ]


def load_candidates(config: Config, splits: dict, processor) -> Candidates | None:
    """`candidate_texts` as tokens, or None."""
    texts = candidate_texts(config, splits)
    return None if texts is None else Candidates.of(texts, collator_for(processor, config))


def candidate_texts(config: Config, splits: dict) -> list[str] | None:
    """What `generate.method: rank` ranks, sorted: the train answers, or the lines of the file `generate.candidates`."""
    if config.generate.method != "rank":
        return None
    if config.generate.candidates == "train":
        texts = [text for row in splits["train"].rows for text in (row["answer"], *(row.get("answers") or ()))]
    else:
        texts = candidates_in(config.generate.candidates)
    return sorted(set(texts))


def predict(
    model: BlipForVQA,
    processor,
    dataset: VQADataset,
    config: Config,
    candidates: Candidates | None = None,
    progress: bool = True,
) -> list[dict]:
    """One prediction a row of `dataset`, in its order: id, image_id, question, answer, prediction, score,
    yes_probability, confidence and the further columns.

    `candidates` (see `load_candidates`) are ranked; without them answers are generated. Uses the GPU if there is one;
    the model is moved there and left in `eval()` mode.
    """
    batches = whole_image_batches([row["image_id"] for row in dataset.rows], config.generate.batch_size)
    costs = [cost_of([dataset.rows[i] for i in rows], "question") for rows in batches]

    def work(mine: Sequence[list[int]]) -> Iterator[dict[int, dict]]:
        for rows, of_batch in answer_batches(model, processor, dataset, config, candidates, mine, progress):
            yield dict(zip(rows, of_batch, strict=True))

    answers = {row: answer for of_batch in shared(batches, costs, work) for row, answer in of_batch.items()}
    return [{**dataset.rows[i], **answers[i]} for i in range(len(dataset))]


def answer_batches(
    model: BlipForVQA,
    processor,
    dataset: VQADataset,
    config: Config,
    candidates: Candidates | None,
    batches: Sequence[list[int]],
    progress: bool = True,
) -> Iterator[tuple[list[int], list[dict]]]:
    """Each batch of row numbers with its answers (see `Answerer`), in order, as soon as they are there."""
    device = pick_device()
    reuse_memory(device)
    model.to(device).eval()
    collator = collator_for(processor, config)
    answerer = Answerer(model, processor, config.generate, candidates)
    with autocast(prediction_precision(config, device), device), loader_deaths_explained():
        loader = batch_loader(dataset, collator, batches, workers_for(config, device))
        works = (
            in_halves(answerer.answering, batch, rows, lambda part: collator(dataset.__getitems__(part)))
            for rows, batch in progress_bar(
                zip(batches, loader, strict=True),
                total=len(batches),
                desc=f"answer {dataset.split}",
                unit="batch",
                disable=not (progress and is_first()),
                leave=False,
            )
        )
        yield from zip(batches, in_turns(works), strict=True)


def in_halves(
    answer: Callable[[dict], Work[list[dict]]], batch: dict, rows: list[int], collate: Callable[[list[int]], dict]
) -> Work[list[dict]]:
    """`answer(batch)`; where memory does not suffice, its two halves one after the other."""
    try:
        return (yield from answer(batch))
    except RuntimeError as error:
        if len(rows) == 1 or not should_reduce_batch_size(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle, answers = len(rows) // 2, []
    for part in (rows[:middle], rows[middle:]):
        answers += yield from in_halves(answer, collate(part), part, collate)
    return answers


class Answerer:
    """Batches to answers: `answerer(batch)` is a list of dicts with prediction, score, yes_probability, confidence.

    `answering` is the same as a work (`looks.in_turns`), so that batches take turns on a GPU.
    """

    def __init__(self, model: BlipForVQA, processor, settings: GenerateConfig, candidates: Candidates | None = None):
        self.model, self.tokenizer, self.settings = model, processor.tokenizer, settings
        pin_number_formats(model.device)
        self.candidates = candidates.to(model.device) if candidates else None
        yes_no = encode(self.tokenizer, ["yes", "no"], ANSWER_START)
        self.yes_no = Candidates(["yes", "no"], yes_no["input_ids"], yes_no["attention_mask"].bool()).to(model.device)

    def __call__(self, batch: dict[str, Tensor]) -> list[dict]:
        (answers,) = in_turns([self.answering(batch)])
        return answers

    @torch.no_grad()
    def answering(self, batch: dict[str, Tensor]) -> Work[list[dict]]:
        inputs = {
            key: batch[key].to(self.model.device, non_blocking=True)
            for key in ("input_ids", "attention_mask", "pixel_values", "image_index", "layout")
        }
        return (yield from self.answer(self.model.encode(**inputs), batch["input_ids"]))

    @torch.no_grad()
    def answer(self, questions: Questions, input_ids: Tensor) -> Work[list[dict]]:
        """From questions that are encoded already; `input_ids [Q,Lq]` are on the CPU."""
        yes = Look(self._yes_probabilities(questions))
        answers = yield from self._ranked(questions, input_ids) if self.candidates else self._generated(questions)
        predictions = []
        for (text, score, beside), p in zip(answers, yes.read()[0].tolist(), strict=True):
            prediction = {"prediction": text, "score": _rounded(score), "yes_probability": _rounded(p)}
            prediction["confidence"] = _rounded(confidence(prediction))
            predictions.append(prediction | {"ranked" if self.candidates else "unfinished": beside})
        return predictions

    def _generated(self, questions: Questions) -> Work[list[tuple[str, float, bool]]]:
        """Each answer, its log-probability, and whether it stops at the limit, before the model ended it."""
        written = self.model.generate_answers(
            questions=questions, num_beams=self.settings.num_beams, max_new_tokens=self.settings.max_new_tokens
        )
        (ids,) = yield Look(written)  # [Q, L]
        ended = (ids == self.tokenizer.sep_token_id).long().cumsum(1)
        real = ended - (ids == self.tokenizer.sep_token_id).long() == 0  # up to the first [SEP], it included
        scores = self.model.answer_log_probabilities(questions, torch.arange(len(ids)), written, real)
        (scores,) = yield Look(scores)
        texts = self.tokenizer.batch_decode(
            ids.masked_fill(~real, self.tokenizer.pad_token_id), skip_special_tokens=True
        )
        unfinished = (ended[:, -1] == 0).tolist()
        return [(text.strip(), *beside) for text, *beside in zip(texts, scores.tolist(), unfinished, strict=True)]

    def _ranked(self, questions: Questions, input_ids: Tensor) -> Work[list[tuple[str, float, list]]]:
        if not self.settings.closed_yes_no:
            return (yield from self._best(questions, self.candidates))
        texts = self.tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        closed = [i for i, question in enumerate(texts) if asks_yes_no(question)]
        others = sorted(set(range(len(texts))) - set(closed))
        best: dict[int, tuple[str, float, list]] = {}
        for rows, candidates in ((closed, self.yes_no), (others, self.candidates)):
            if rows:
                of_rows = yield from self._best(questions.chosen(rows), candidates)
                best |= dict(zip(rows, of_rows, strict=True))
        return [best[i] for i in range(len(texts))]

    def _best(self, questions: Questions, candidates: Candidates) -> Work[list[tuple[str, float, list]]]:
        """The best candidate of each question, its log-probability, and the best MOST with their shares."""
        texts, given = candidates.texts, (candidates.ids, candidates.mask)
        shortlist = self.model.shortlist(questions, candidates.ids, min(self.settings.shortlist, len(texts)))
        (chosen,) = yield Look(shortlist)
        scores = self.model.candidate_scores(questions, chosen, *given, RANK_SMOOTHING)
        (best,) = yield Look(shortlist.gather(1, scores.argmax(1, keepdim=True)))
        log_p = self.model.candidate_scores(questions, best, *given)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :MOST]
        values = yield Look(log_p.squeeze(1), shortlist.gather(1, order), scores.softmax(1).gather(1, order))
        return [
            (
                texts[i],
                p,
                [[texts[j], _rounded(share)] for j, share in zip(row, shares, strict=True) if _rounded(share)],
            )
            for i, p, row, shares in zip(best[:, 0].tolist(), *(x.tolist() for x in values), strict=True)
        ]

    def _yes_probabilities(self, questions: Questions) -> Tensor:
        """[Q]: of "yes" against "no", each scored as a whole answer."""
        count = questions.grid.rows
        ids, real = self.yes_no.ids, self.yes_no.mask
        index = torch.arange(count).repeat_interleave(2)
        scores = self.model.answer_log_probabilities(questions, index, ids.repeat(count, 1), real.repeat(count, 1))
        return scores.view(count, 2).softmax(1)[:, 0]


def _rounded(value: float | None) -> float | None:
    """Six digits; None for what is no number: NaN is no JSON, and would end the writing of all predictions."""
    return round(value, 6) if value is not None and math.isfinite(value) else None
