"""Work that several processes share: answers, captions, features. `accelerate launch -m blipvqa evaluate` starts them.

Notable:
- Every process runs the same lines. What is made of many parts (batches, mostly) goes through `shared`: a process makes
  the parts of its share and gets everyone's. Parts are those that one process makes, so their numbers are the same.
- A share is a run of parts one after the other, and batches hold whole pictures: two processes seldom encode one
  picture. Shares have about the same cost, pictures and tokens, whatever the number of questions.
- Only the first process writes. Where another one dies, those that wait for it say so and end.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
from accelerate import PartialState
from torch import Tensor, distributed

from blipvqa.data.dataset import VQADataset
from blipvqa.data.several_pictures import pictures_of
from blipvqa.models.devices import pick_device
from blipvqa.models.processes import number_of_processes
from blipvqa.models.towers import PICTURES_AT_ONCE, picture_features
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError
from blipvqa.training.interrupts import Stopped

PICTURE = 200  # tokens that cost what encoding a picture costs (docs/results.md)
P, R = TypeVar("P"), TypeVar("R")
WAIT = timedelta(days=1)  # for the first process, which may have much to read; a dead one is noticed at once


def join_processes() -> None:
    """Meet the other processes that a launcher started with this one; alone, nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    if not distributed.is_initialized():
        PartialState(cpu=pick_device().type == "cpu", timeout=WAIT)
        atexit.register(_leave_processes)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _ended)  # as a launcher does when another process died


def _leave_processes() -> None:
    # the group's threads may still want the interpreter: once it is gone, that aborts a process whose work is done and
    # the launcher stops the others in the middle of theirs
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _ended(*_) -> None:
    raise Stopped("ended with the other processes, one of which died or was stopped: start again, and it goes on.")


def rank() -> int:
    """The number of this process, from 0."""
    return 0 if number_of_processes() == 1 else distributed.get_rank()


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def of_first(make: Callable[[], R]) -> R:
    """What `make` returns in the first process, in every process; the others go on when it has returned."""
    values = [make() if is_first() else None]
    if number_of_processes() > 1:
        with _deaths_explained():
            distributed.broadcast_object_list(values)
    return values[0]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for all processes: the first one locks it, and the others begin when it has."""
    with lock(folder) if is_first() else nullcontext():
        of_first(lambda: None)
        yield


def shared(parts: Sequence[P], costs: Sequence[float], work: Callable[[Sequence[P]], Iterable[R]]) -> list[R]:
    """A result for each of `parts`, in their order; `work(mine)` gives those of this process's share, tensors by
    `portable`."""
    processes = number_of_processes()
    if processes == 1:
        return list(work(parts))
    shares, own = share_of(costs, processes), rank()
    results = list(work([part for part, share in zip(parts, shares, strict=True) if share == own]))
    everyone: list[list[R]] = [[] for _ in range(processes)]
    with _deaths_explained():
        distributed.all_gather_object(everyone, results)
    return [result for of_one in everyone for result in of_one]


def share_of(costs: Sequence[float], processes: int) -> list[int]:
    """The process that does each part: runs of parts of about the same cost."""
    middles = np.cumsum(costs) - np.asarray(costs) / 2
    return (middles * processes / max(np.sum(costs), 1e-12)).astype(int).clip(0, processes - 1).tolist()


def cost_of(rows: Sequence[Mapping], kind: str) -> float:
    """About what a batch of rows costs, in tokens of its texts of this `kind` (a column)."""
    pictures = {image_id for row in rows for image_id in pictures_of(row)}
    return PICTURE * len(pictures) + sum(3 + len(row[kind].split()) for row in rows)


def portable(tensor: Tensor) -> Tensor:
    """A tensor as `shared` can give it to other processes."""
    return tensor if number_of_processes() == 1 else tensor.cpu()


def features_of(model, dataset: VQADataset, places: Sequence[tuple]) -> np.ndarray:
    """`picture_features` of the pictures at `places` of a data set (`row_of_picture`)."""
    parts = [places[start : start + PICTURES_AT_ONCE] for start in range(0, len(places), PICTURES_AT_ONCE)]

    def work(mine: Sequence[Sequence[tuple]]) -> Iterator[np.ndarray]:
        for part in mine:
            yield picture_features(model, (dataset.pixels(*place) for place in part))

    return np.concatenate(shared(parts, list(map(len, parts)), work))


@contextmanager
def _deaths_explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            "another of the processes ended before its share was done: what it said last, above or below, is why. What "
            "was written is whole: start again, and it goes on"
        ) from error
