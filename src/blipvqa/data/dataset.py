"""From a config to batches: `VQADataset`, the order of an epoch, and `VQACollator`.

Notable:
- A question never travels with its own copy of an image: items of one image share one tensor, and the collator
  stacks the distinct images of a batch only.
- `epoch_plan` draws images and then up to `questions_per_image` of each one's questions, so a batch holds few
  images and many questions; every question comes exactly once an epoch, whatever the number of processes.
- Pixels stay uint8 until they are on the device.
"""

from __future__ import annotations

import copy
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from blipvqa.config.knobs import Config, project_path
from blipvqa.data.formats import image_bytes
from blipvqa.data.images import ImageStore, decode_image
from blipvqa.data.rows import read_splits
from blipvqa.models.tokenizer import ANSWER_START, QUESTION_START, encode
from blipvqa.runs.run import RunError

REMOVED_FROM_QUESTIONS = re.compile(r"[.!\"()*#:;~]")  # as the authors do: salesforce/BLIP data/utils.py


class Splits(dict):
    """`{"train": VQADataset, …}`, with `notes`: what a person should know of how they were made."""

    def __init__(self, datasets: dict, notes: list[str]):
        super().__init__(datasets)
        self.notes = notes


class VQADataset(Dataset):
    """One split: rows of image, question and answer.

    `dataset[i]` is a dict of `id`, `image_id`, `question`, `answer`, the further columns, and `pixels`, the image as
    uint8 `[3, S, S]`. `image(i)` is the picture as it came, `rows` everything but pictures.
    """

    def __init__(self, table, split: str, store: ImageStore, folder: Path, breakdown: list[str] | None = None):
        self.table, self.split, self.store, self.folder = table, split, store, folder
        self.rows: list[dict] = table.remove_columns("image").to_list()
        self.breakdown = self._axes() if breakdown is None else [c for c in breakdown if c in self.columns]
        self._change = None

    @property
    def columns(self) -> list[str]:
        """The source's further columns."""
        return [c for c in self.table.column_names if c not in ("id", "image_id", "image", "question", "answer")]

    def _axes(self, most_values: int = 20) -> list[str]:
        """Text columns with at most `most_values` values: worth a breakdown."""
        axes = []
        for column in self.columns:
            values = {row[column] for row in self.rows if row[column] is None or isinstance(row[column], str)}
            if all(isinstance(row[column], str | None) for row in self.rows) and 1 < len(values) <= most_values:
                axes.append(column)
        return axes

    @property
    def texts(self) -> list[str]:
        """Every question and answer, from which a model from scratch learns its vocabulary."""
        return [text for row in self.rows for text in (row["question"], row["answer"])]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict:
        return {**self.rows[i], "pixels": self.pixels(i)}

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """Several rows at once (what DataLoader calls): each image is read once, its rows share the tensor."""
        pixels: dict[str, Tensor] = {}
        for i in indices:
            image_id = self.rows[i]["image_id"]
            if image_id not in pixels:
                pixels[image_id] = self.pixels(i)
        return [{**self.rows[i], "pixels": pixels[self.rows[i]["image_id"]]} for i in indices]

    def pixels(self, i: int) -> Tensor:
        """Row i's image, resized: uint8 `[3, S, S]`, from the store."""
        row = self.rows[i]
        stored = self.store.get(row["image_id"], lambda: self._bytes(i), f"row {row['id']}")
        pixels = torch.from_numpy(stored)
        return self._change(pixels, row["image_id"]) if self._change else pixels

    def altered(self, change: Callable[[Tensor, str], Tensor]) -> VQADataset:
        """The same rows with `change(pixels, image_id)`, uint8 `[3,S,S]`, in place of every image's pixels."""
        other = copy.copy(self)
        other._change = change
        return other

    def chosen(self, rows: list[int]) -> VQADataset:
        """These rows only."""
        other = copy.copy(self)
        other.table, other.rows = self.table.select(rows), [self.rows[i] for i in rows]
        other.__dict__.pop("_by_id", None)
        return other

    def image(self, i: int):
        """Row i's picture at its own size, RGB."""
        return decode_image(self._bytes(i), f"row {self.rows[i]['id']}")

    def _bytes(self, i: int) -> bytes:
        return image_bytes(self.table[int(i)]["image"], self.folder)

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {row["id"]: i for i, row in enumerate(self.rows)}

    def index(self, row_id: str) -> int:
        """The position of the row whose `id` a prediction carries."""
        return self._by_id[row_id]


def load_splits(config: Config) -> Splits:
    """Every split of `config.data.source` that there is, at `config.model.image_size`.

    Raises ConfigError, SourceError or ImageError that name the file and row, before anything slow begins.
    """
    store = ImageStore(
        project_path(config.data.cache_dir) / "images", config.model.image_size, config.data.cache_gigabytes
    )
    tables, notes = read_splits(config, store)
    folder, breakdown = project_path(config.data.source), config.data.breakdown
    return Splits({name: VQADataset(table, name, store, folder, breakdown) for name, table in tables.items()}, notes)


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
        batch |= self._images(items)
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

    def _images(self, items: list[dict]) -> dict[str, Tensor]:
        place: dict[str, int] = {}
        pixels = []
        for item in items:
            if item["image_id"] not in place:
                place[item["image_id"]] = len(pixels)
                pixels.append(item["pixels"])
        index = torch.tensor([place[item["image_id"]] for item in items])
        return {"pixel_values": torch.stack(pixels), "image_index": index}  # [I, 3, S, S], [Q]


def collator_for(processor, config: Config) -> VQACollator:
    """The collator with a config's token limits."""
    return VQACollator(processor, config.data.max_question_tokens, config.data.max_answer_tokens)


class LightAugment:
    """Crop (80–100 % of the side) and brightness, contrast and saturation (±15 %), drawn from (seed, epoch, image).

    No flips: left and right are findings. No hue: the stain is one.
    """

    def __init__(self, seed: int, epoch: int):
        self.seed, self.epoch = seed, epoch

    def __call__(self, pixels: Tensor, image_id: str) -> Tensor:
        """uint8 `[3,S,S]` → uint8 `[3,S,S]`."""
        draw = random.Random(f"{self.seed}/{self.epoch}/{image_id}")
        side = pixels.shape[-1]
        crop = round(side * draw.uniform(0.8, 1.0))
        top, left = draw.randint(0, side - crop), draw.randint(0, side - crop)
        x = pixels[None, :, top : top + crop, left : left + crop].float()
        x = torch.nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
        grey = x.mean(0, keepdim=True)
        x = grey + (x - grey) * draw.uniform(0.85, 1.15)
        x = x.mean() + (x - x.mean()) * draw.uniform(0.85, 1.15)
        return (x * draw.uniform(0.85, 1.15)).round().clamp(0, 255).to(torch.uint8)


def epoch_order(
    image_ids: list[str], questions_per_image: int, seed: int, epoch: int, shuffle: bool = True
) -> list[int]:
    """The order of an epoch's rows: images at random, up to `questions_per_image` questions of each together.

    An image with more questions comes again elsewhere with the rest. `shuffle=False` keeps the source's order.
    """
    if not shuffle:
        return list(range(len(image_ids)))
    draw = random.Random(f"{seed}/{epoch}")
    by_image = defaultdict(list)
    for i, image_id in enumerate(image_ids):
        by_image[image_id].append(i)
    groups = []
    for rows in by_image.values():
        draw.shuffle(rows)
        groups += [rows[start : start + questions_per_image] for start in range(0, len(rows), questions_per_image)]
    draw.shuffle(groups)
    return [i for group in groups for i in group]


def epoch_plan(
    order: list[int], batch_size: int, micro_batch_size: int | None = None, rank: int = 0, processes: int = 1
) -> list[tuple[int, list[list[int]]]]:
    """An epoch's optimizer steps, as process `rank` of `processes` sees them.

    Each step is (questions over all processes, this process's micro-batches of row numbers). The processes' shares
    are disjoint, cover the step and differ by one question at most; a last step too small to give each process a
    question joins the one before.
    """
    steps = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if len(steps) > 1 and len(steps[-1]) < processes:
        steps[-2:] = [steps[-2] + steps[-1]]
    plan = []
    for step in steps:
        if len(step) < processes:
            raise ValueError(f"a step of {len(step)} questions cannot be shared by {processes} processes")
        mine = step[len(step) * rank // processes : len(step) * (rank + 1) // processes]
        size = micro_batch_size or len(mine)
        plan.append((len(step), [mine[start : start + size] for start in range(0, len(mine), size)]))
    return plan


def whole_image_batches(image_ids: list[str], batch_size: int) -> list[list[int]]:
    """Rows in batches of about `batch_size` for prediction: an image's questions stay together where they fit."""
    by_image = defaultdict(list)
    for i, image_id in enumerate(image_ids):
        by_image[image_id].append(i)
    batches: list[list[int]] = [[]]
    for rows in by_image.values():
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            if len(batches[-1]) + len(part) > batch_size:
                batches.append([])
            batches[-1] += part
    return [batch for batch in batches if batch]


@contextmanager
def loader_deaths_explained() -> Iterator[None]:
    """Within, a killed loader process is a RunError that says so: torch reports it wherever the main process stands."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            "a process that loads pictures was killed, as the system does when memory runs out. What was written "
            "is intact: start again, with train.workers: 0 if it happens again"
        ) from error


def batch_loader(dataset: VQADataset, collator: VQACollator, batches: list[list[int]], workers: int = 0) -> DataLoader:
    """The given batches of row numbers, in order; with `workers` processes they are made ahead of the device."""
    return DataLoader(
        dataset, batch_sampler=batches, collate_fn=collator, num_workers=workers, pin_memory=torch.cuda.is_available()
    )
