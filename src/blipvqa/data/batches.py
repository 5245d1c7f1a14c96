"""The order of an epoch, its batches over all processes, and the loader that makes them.

Notable:
- `epoch_plan` draws images and then up to `questions_per_image` of each one's rows, so a batch holds few images and
  many rows; every row comes exactly once an epoch, whatever the number of processes.
- `distinct_images` stacks each picture of a batch once.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.data.row_table import codes_of
from blipvqa.data.several_pictures import pictures_of
from blipvqa.errors import InputError
from blipvqa.numbers.grouping import rows_by
from blipvqa.runs.run import RunError


def distinct_images(items: list[dict]) -> dict[str, Tensor]:
    """`pixel_values [I, 3, S, S]`, each picture of the batch once, and `image_index [Q]`, each row's among them.

    Where a row shows several, the index is `[Q, P]`, -1 where a row has fewer than P.
    """
    place: dict[str, int] = {}
    pixels, index = [], []
    for item in items:
        several = isinstance(item["pixels"], list)
        image_ids = pictures_of(item)
        for image_id, picture in zip(image_ids, item["pixels"] if several else [item["pixels"]], strict=True):
            if image_id not in place:
                place[image_id] = len(pixels)
                pixels.append(picture)
        index.append([place[image_id] for image_id in image_ids])
    most = max(map(len, index))
    padded = torch.tensor([of_row + [-1] * (most - len(of_row)) for of_row in index])
    return {"pixel_values": torch.stack(pixels), "image_index": padded[:, 0] if most == 1 else padded}


def epoch_order(
    image_ids: Sequence[str], questions_per_image: int, seed: int, epoch: int, shuffle: bool = True
) -> list[int]:
    """The order of an epoch's rows: images at random, up to `questions_per_image` questions of each together.

    An image with more questions comes again elsewhere with the rest. `shuffle=False` keeps the source's order.
    """
    if not shuffle:
        return list(range(len(image_ids)))
    draw = random.Random(f"{seed}/{epoch}")
    images, count = codes_of(image_ids)
    rows, counts = np.argsort(images, kind="stable"), np.bincount(images, minlength=count)
    first = np.cumsum(counts) - counts  # where each image's rows begin in `rows`
    for image in np.flatnonzero(counts > 1):
        of_image = rows[first[image] : first[image] + counts[image]]
        of_image[:] = _shuffled(of_image.tolist(), draw)
    groups = -(-counts // questions_per_image)
    image = np.repeat(np.arange(count), groups)  # of each group
    number = np.arange(len(image)) - np.repeat(np.cumsum(groups) - groups, groups)
    starts = first[image] + number * questions_per_image
    lengths = np.minimum(questions_per_image, counts[image] - number * questions_per_image)
    order = np.array(_shuffled(list(range(len(image))), draw), np.int64)
    starts, lengths = starts[order], lengths[order]
    places = np.arange(len(rows)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return rows[places].tolist()


def _shuffled(items: list, draw: random.Random) -> list:
    """What `draw.shuffle(items)` makes of them, four times as fast: numbers are drawn without a call for each."""
    last, bits_of = len(items) - 1, draw.getrandbits
    while last > 0:
        bits = (last + 1).bit_length()
        for i in range(last, max(2 ** (bits - 1) - 1, 1) - 1, -1):  # all of as many bits
            j = bits_of(bits)
            while j > i:
                j = bits_of(bits)
            items[i], items[j] = items[j], items[i]
        last = i - 1
    return items


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
            raise InputError(f"a step of {len(step)} questions cannot be shared by {processes} processes")
        mine = step[len(step) * rank // processes : len(step) * (rank + 1) // processes]
        size = micro_batch_size or len(mine)
        plan.append((len(step), [mine[start : start + size] for start in range(0, len(mine), size)]))
    return plan


def whole_image_batches(image_ids: list[str], batch_size: int) -> list[list[int]]:
    """Rows in batches of about `batch_size` for prediction: an image's questions stay together where they fit."""
    batches: list[list[int]] = [[]]
    for rows in rows_by(image_ids).values():
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


def batch_loader(
    dataset: VQADataset, collator: Callable[[list[dict]], dict[str, Tensor]], batches: list[list[int]], workers: int = 0
) -> DataLoader:
    """The given batches of row numbers, in order; with `workers` processes they are made ahead of the device."""
    return DataLoader(
        dataset, batch_sampler=batches, collate_fn=collator, num_workers=workers, pin_memory=torch.cuda.is_available()
    )


def workers_for(config: Config, device: torch.device) -> int:
    """Loader processes: `train.workers`, by default some on a GPU and none on the CPU, which they would slow down."""
    if config.train.workers is not None:
        return config.train.workers
    return min(4, os.cpu_count() or 1) if device.type == "cuda" else 0
