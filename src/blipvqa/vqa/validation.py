"""What is asked of the validation split after each epoch: its loss, its scores, and a fixed dozen of its questions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import torch
from accelerate import Accelerator

from blipvqa.config.knobs import Config
from blipvqa.data.batches import batch_loader, whole_image_batches, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.models.vqa import BlipForVQA
from blipvqa.numbers.bootstrap import NO_INTERVALS
from blipvqa.numbers.grouping import rows_by
from blipvqa.training.shares import cost_of, shared
from blipvqa.vqa.answers import NEEDED
from blipvqa.vqa.batches import collator_for
from blipvqa.vqa.predictions import Answerer, in_halves, load_candidates
from blipvqa.vqa.scores import score
from blipvqa.vqa.set_aside import epoch_rows, groups_aside

SHOWN = ("exact_match", "yes_no_accuracy", "open_exact_match")


class Validation:
    """The fixed questions of a run, chosen from the config's seed; processes share the work and all get the result."""

    def __init__(
        self,
        config: Config,
        splits: Mapping[str, VQADataset],
        processor,
        accelerator: Accelerator,
    ):
        self.config, self.data, self.processor = config, splits["validation"], processor
        self.collator, self.accelerator = collator_for(processor, config), accelerator
        self.candidates = load_candidates(config, splits, processor)
        data = self.data
        self.aside = groups_aside(data, config)
        self.rows = epoch_rows(data, config, self.aside)
        self.sample_rows = choose_samples(data, self.rows, config.train.samples, config.seed)

    def __call__(self, model: BlipForVQA) -> tuple[dict, list[dict]]:
        """Numbers (`loss`, the mean over questions of the answers' summed cross-entropy, and the scores; with
        `train.metric`), and the samples as answered now. Draws nothing at random."""
        answerer = Answerer(model.eval(), self.processor, self.config.generate, self.candidates)
        questions = sorted({*self.rows, *self.sample_rows})
        image_ids = [self.data.rows[i]["image_id"] for i in questions]
        batches = whole_image_batches(image_ids, self.config.generate.batch_size)
        batches = [[questions[k] for k in batch] for batch in batches]
        costs = [cost_of([self.data.rows[i] for i in batch], "question") for batch in batches]

        def work(mine: Sequence[list[int]]) -> Iterator[list[tuple[int, dict]]]:
            loader = batch_loader(self.data, self.collator, mine, workers_for(self.config, self.accelerator.device))
            works = (
                in_halves(
                    lambda b: self._answer(model, answerer, b),
                    batch,
                    rows,
                    lambda part: self.collator(self.data.__getitems__(part)),
                )
                for rows, batch in zip(mine, loader, strict=True)
            )
            for rows, answers in zip(mine, in_turns(works), strict=True):
                yield list(zip(rows, answers, strict=True))

        with torch.no_grad(), self.accelerator.autocast():
            answered = [each for of_batch in shared(batches, costs, work) for each in of_batch]
        return self._numbers({i: {**self.data.rows[i], **answer} for i, answer in answered})

    def _answer(self, model: BlipForVQA, answerer: Answerer, batch: dict) -> Work[list[dict]]:
        """Loss and answer of each question; image and question are encoded once for both."""
        on_device = {key: value.to(model.device, non_blocking=True) for key, value in batch.items()}
        ids, labels = on_device.pop("decoder_input_ids"), on_device.pop("labels")
        questions = model.encode(**on_device)
        losses = Look(model.answer_losses(questions, ids, labels, on_device["layout"]))
        answers = yield from answerer.answer(questions, batch["input_ids"])
        return [{**answer, "loss": loss} for answer, loss in zip(answers, losses.read()[0].tolist(), strict=True)]

    def _numbers(self, answered: dict[int, dict]) -> tuple[dict, list[dict]]:
        """The numbers and the samples, from the answered rows by row number."""
        predictions = [answered[i] for i in self.rows]
        scores = score(predictions, bootstrap=NO_INTERVALS)["overall"]
        loss = sum(p["loss"] for p in predictions) / len(predictions) if predictions else None
        names = dict.fromkeys((*SHOWN, self.config.train.metric))
        numbers = {"loss": loss} | {name: scores[name]["value"] for name in names if name in scores}
        if self.aside:
            numbers["set_aside"] = len(self.aside)  # evaluation reads here that these chose no epoch
        return numbers, [{key: answered[i][key] for key in NEEDED} for i in self.sample_rows]


def choose_samples(data: VQADataset, rows: list[int], count: int, seed: int) -> list[int]:
    """`count` of `rows`, no two of one image and question types in turn as far as there are any."""
    rows = list(rows)
    random.Random(f"{seed}/samples").shuffle(rows)
    by_type = rows_by(data.rows[i]["question"].split(" ")[0].lower() for i in rows)
    queues = [[rows[k] for k in positions] for positions in by_type.values()]
    chosen, images = [], set()
    while len(chosen) < count and any(queues):
        for queue in queues:
            fresh = next((i for i in queue if data.rows[i]["image_id"] not in images), None)
            picked = fresh if fresh is not None else next(iter(queue), None)
            if picked is not None and len(chosen) < count:
                queue.remove(picked)
                chosen.append(picked)
                images.add(data.rows[picked]["image_id"])
    return chosen
