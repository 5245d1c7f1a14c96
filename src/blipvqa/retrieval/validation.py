"""What is measured on validation after each epoch: its loss, every search of it, and a fixed dozen of its pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.contrast import contrast_losses
from blipvqa.models.packing import sent
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.numbers.grouping import rows_by
from blipvqa.retrieval.encoding import EncodedSplit
from blipvqa.retrieval.measures import MEASURES, NEEDED, RECALL_NAMES, counts
from blipvqa.retrieval.predictions import searched

SHOWN = ("r_mean", "itc_r_mean", *RECALL_NAMES)
BLOCK = 1024  # queries compared with the gallery at a time


class Validation:
    """The fixed gallery of a run, drawn from the config's seed: whole images, until they have
    `train.evaluate_questions` texts. Processes share the work and all get the result."""

    def __init__(self, config: Config, splits: Mapping[str, VQADataset], processor, accelerator: Accelerator):
        self.config, self.processor, self.accelerator = config, processor, accelerator
        self.data = splits["validation"].chosen(self._rows(splits["validation"].rows))
        order = list(range(len(self.data)))
        random.Random(f"{config.seed}/samples").shuffle(order)
        self.samples = sorted(order[: config.train.samples])

    def _rows(self, rows: list[dict]) -> list[int]:
        limit = self.config.train.evaluate_questions
        images = list(rows_by(row["image_id"] for row in rows).values())
        random.Random(f"{self.config.seed}/validation").shuffle(images)
        chosen: list[int] = []
        for of_image in images:
            if limit is None or len(chosen) < limit:
                chosen += of_image
        return sorted(chosen)

    def __call__(self, model: BlipForRetrieval) -> tuple[dict, list[dict]]:
        """Numbers (`loss`, ITC's over the whole gallery with hard targets and no queue; and shares of searches), and
        the samples as they are searched now."""
        model.eval()
        with self.accelerator.autocast():
            encoded = EncodedSplit(model, self.processor.tokenizer, self.data, self.config)
            predictions = searched(model, encoded, self.data, self.config)
        shares = MEASURES.of_sums(counts(predictions).sum(0), dict.fromkeys((*SHOWN, self._metric())))
        samples = [{key: predictions[i][key] for key in NEEDED} for i in self.samples]
        return {"loss": gallery_loss(model, encoded)} | {name: float(x) for name, x in shares.items()}, samples

    def _metric(self) -> str:
        return self.config.train.metric if self.config.train.metric in MEASURES else SHOWN[0]


@torch.no_grad()
def gallery_loss(model: BlipForRetrieval, encoded: EncodedSplit) -> float:
    """ITC's loss, the mean of both ways, of every picture and every text against the whole gallery."""
    pictures, texts, gallery = encoded.pictures.features, encoded.texts, encoded.gallery
    return (
        _mean_loss(pictures, texts, gallery.texts_of_picture, model.temp)
        + _mean_loss(texts, pictures, gallery.pictures_of_text, model.temp)
    ) / 2


def _mean_loss(queries: Tensor, candidates: Tensor, right: list, temperature: Tensor) -> float:
    sums = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        targets = torch.zeros(len(block), len(candidates))
        for row, of_query in zip(targets, right[start : start + BLOCK], strict=True):
            row[torch.as_tensor(of_query)] = 1 / len(of_query)
        sums.append(contrast_losses(block @ candidates.T / temperature, sent(targets, block.device)).sum())
    return sum(torch.stack(sums).tolist()) / len(queries)
