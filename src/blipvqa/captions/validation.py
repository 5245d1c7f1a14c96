"""What is measured on validation after each epoch: its loss, its scores, and a fixed dozen of its pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator

from blipvqa.captions.batches import collator_for
from blipvqa.captions.measures import MEASURES, NEEDED, counts, measure_names
from blipvqa.captions.predictions import Describer, described
from blipvqa.captions.scores import score
from blipvqa.captions.terms import load_terms
from blipvqa.config.knobs import Config
from blipvqa.data.batches import batch_loader, whole_image_batches, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.numbers.bootstrap import NO_INTERVALS
from blipvqa.numbers.grouping import rows_by
from blipvqa.training.shares import cost_of, shared

SHOWN = ("cider_d", "bleu_4", "terms_recalled", "terms_invented")


def is_countable(config: Config, data: VQADataset) -> bool:
    """Whether `train.metric` counts a picture of these: where every caption is one of its references, if ever."""
    metric, terms = config.train.metric, load_terms(config)
    if metric not in MEASURES:
        return True
    places = rows_by(row["image_id"] for row in data.rows).values()
    best = [described(data.rows, rows, {"prediction": data.rows[rows[0]]["caption"]}) for rows in places]
    value = MEASURES.of_sums(counts(best, terms).sum(0), [metric])[metric]
    return metric in measure_names(terms) and bool(np.isfinite(value))


class Validation:
    """The fixed pictures of a run, drawn from the config's seed; processes share the work and all get the result."""

    def __init__(self, config: Config, splits: Mapping[str, VQADataset], processor, accelerator: Accelerator):
        self.config, self.data, self.processor = config, splits["validation"], processor
        self.collator, self.accelerator, self.terms = collator_for(processor, config), accelerator, load_terms(config)
        self.rows_of = rows_by(row["image_id"] for row in self.data.rows)
        images = sorted(self.rows_of)
        random.Random(f"{config.seed}/validation").shuffle(images)
        self.images = self._enough(images, config.train.evaluate_questions)
        self.sample_images = images[: config.train.samples]

    def _enough(self, images: list[str], rows: int | None) -> list[str]:
        """The first images with `rows` captions or more between them; None: all."""
        chosen, count = [], 0
        for image in images:
            if rows is not None and count >= rows:
                break
            chosen.append(image)
            count += len(self.rows_of[image])
        return chosen

    def __call__(self, model: BlipForCaptioning) -> tuple[dict, list[dict]]:
        """Numbers (`loss`, unsmoothed: the mean over captions of their summed cross-entropies; `token_loss`, that over
        tokens; and scores), and the samples as described now."""
        model.eval()
        describer = Describer(model, self.processor, self.config.caption, self.config.seed)
        wanted = {*self.images, *self.sample_images}
        rows = [i for image, of_image in self.rows_of.items() if image in wanted for i in of_image]
        image_ids = [self.data.rows[i]["image_id"] for i in rows]
        batches = [
            [rows[k] for k in batch] for batch in whole_image_batches(image_ids, self.config.generate.batch_size)
        ]
        costs = [cost_of([self.data.rows[i] for i in batch], "caption") for batch in batches]

        def work(mine: Sequence[list[int]]) -> Iterator[list[tuple]]:
            loader = batch_loader(self.data, self.collator, mine, workers_for(self.config, self.accelerator.device))
            yield from in_turns(
                self._batch(model, describer, batch_rows, batch) for batch_rows, batch in zip(mine, loader, strict=True)
            )

        with torch.no_grad(), self.accelerator.autocast():
            results = [each for of_batch in shared(batches, costs, work) for each in of_batch]
        return self._numbers(results)

    def _batch(self, model: BlipForCaptioning, describer: Describer, rows: list[int], batch: dict) -> Work[list[tuple]]:
        """(image id, its caption, summed loss, scored tokens and number of its captions here); encoded once for all."""
        place, tokens = batch["image_index"], (batch["labels"] != -100).sum(1)
        batch = {key: value.to(model.device, non_blocking=True) for key, value in batch.items()}
        images = model.picture_states(batch["pixel_values"])
        losses, _ = model.caption_losses(
            images,
            batch["input_ids"],
            batch["attention_mask"].bool(),
            batch["labels"],
            batch["image_index"],
            smoothing=0.0,
            layout=batch["layout"],
        )
        image_ids = list(dict.fromkeys(self.data.rows[i]["image_id"] for i in rows))
        losses = Look(losses)
        captions = yield from describer.describing(images, image_ids)
        (losses,) = losses.read()
        return [
            (image, caption, losses[place == k].sum().item(), int(tokens[place == k].sum()), int((place == k).sum()))
            for k, (image, caption) in enumerate(zip(image_ids, captions, strict=True))
        ]

    def _numbers(self, results: list[tuple]) -> tuple[dict, list[dict]]:
        captions = {image: caption for image, caption, *_ in results}
        sums = [entry[2:] for entry in results if entry[0] in set(self.images)]
        predictions = {
            image: described(self.data.rows, self.rows_of[image], captions[image])
            for image in dict.fromkeys((*self.images, *self.sample_images))
        }
        scores = score([predictions[image] for image in self.images], terms=self.terms, bootstrap=NO_INTERVALS)
        total, tokens, captions_scored = (sum(column) for column in zip(*sums, strict=True)) if sums else (0.0, 0, 0)
        names = dict.fromkeys((*SHOWN, self.config.train.metric))
        numbers = {"loss": total / captions_scored if sums else None, "token_loss": total / tokens if tokens else None}
        numbers |= {name: scores["overall"][name]["value"] for name in names if name in scores["overall"]}
        return numbers, [{key: predictions[image][key] for key in NEEDED} for image in self.sample_images]
