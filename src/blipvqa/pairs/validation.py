"""What is measured on validation after each epoch: its loss, its accuracy, and a fixed dozen of its statements."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from accelerate import Accelerator

from blipvqa.config.knobs import Config
from blipvqa.data.batches import batch_loader, whole_image_batches, workers_for
from blipvqa.data.dataset import VQADataset
from blipvqa.models.looks import Look, Work, in_turns
from blipvqa.models.pairs import BlipForPairs
from blipvqa.numbers.grouping import rows_by
from blipvqa.pairs.batches import collator_for
from blipvqa.pairs.measures import MEASURES, NEEDED, counts
from blipvqa.pairs.predictions import said
from blipvqa.training.shares import cost_of, shared

SHOWN = ("accuracy", "true_accepted", "false_rejected")


class Validation:
    """The fixed pairs of a run, drawn from the config's seed: whole pairs, until they have `train.evaluate_questions`
    statements. Processes share the work and all get the result."""

    def __init__(self, config: Config, splits: Mapping[str, VQADataset], processor, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        self.data = splits["validation"].chosen(self._rows(splits["validation"].rows))
        self.collator = collator_for(processor, config)
        order = list(range(len(self.data)))
        random.Random(f"{config.seed}/samples").shuffle(order)
        self.samples = sorted(order[: config.train.samples])

    def _rows(self, rows: Sequence[Mapping]) -> list[int]:
        limit = self.config.train.evaluate_questions
        pairs = list(rows_by(row["image_id"] for row in rows).values())
        random.Random(f"{self.config.seed}/validation").shuffle(pairs)
        chosen: list[int] = []
        for of_pair in pairs:
            if limit is None or len(chosen) < limit:
                chosen += of_pair
        return sorted(chosen)

    def __call__(self, model: BlipForPairs) -> tuple[dict, list[dict]]:
        """Numbers (`loss`, the mean cross-entropy, unsmoothed, and shares), and the samples as judged now."""
        model.eval()
        batches = whole_image_batches([row["image_id"] for row in self.data.rows], self.config.generate.batch_size)
        costs = [cost_of([self.data.rows[i] for i in batch], "sentence") for batch in batches]

        def work(mine: Sequence[list[int]]) -> Iterator[list[tuple[float, float]]]:
            loader = batch_loader(self.data, self.collator, mine, workers_for(self.config, self.accelerator.device))
            yield from in_turns(_judged(model, batch) for batch in loader)

        with torch.no_grad(), self.accelerator.autocast():
            judged = [one for of_batch in shared(batches, costs, work) for one in of_batch]
        of_row = dict(zip((i for batch in batches for i in batch), judged, strict=True))
        rows = [{**row, **said(of_row[i][1])} for i, row in enumerate(self.data.rows)]
        shares = MEASURES.of_sums(counts(rows).sum(0), SHOWN)
        loss = sum(loss for loss, _ in judged) / len(judged) if judged else None
        samples = [{key: rows[i].get(key) for key in (*NEEDED, "probability")} for i in self.samples]
        return {"loss": loss} | {name: _number(x) for name, x in shares.items()}, samples


def _judged(model: BlipForPairs, batch: dict) -> Work[list[tuple[float, float]]]:
    """The loss of each statement of a batch, and how likely the model calls it true."""
    batch = {key: value.to(model.device, non_blocking=True) for key, value in batch.items()}
    labels = batch.pop("labels")
    logits = model(**batch).logits.float()
    losses, logits = yield Look(F.cross_entropy(logits, labels, reduction="none"), logits)
    return list(zip(losses.tolist(), logits.softmax(-1)[:, 1].tolist(), strict=True))


def _number(value) -> float | None:
    return None if value != value else float(value)
