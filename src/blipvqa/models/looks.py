"""Values of a device, read while it goes on.

On a CPU they are there at once. Elsewhere they are copied as soon as they are computed: who reads them stands still
until then, and not until all is computed that the device was asked for later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

AHEAD = 9  # looks that may be under way: so many tokens at most are written after the last text has ended


class Look:
    """Values on their way to the CPU."""

    def __init__(self, *values: Tensor):
        devices = [value.device for value in values if value.device.type != "cpu"]
        self.values = tuple(map(_copy, values))
        self.event = torch.Event(devices[0]) if devices else None
        if self.event is not None:
            self.event.record()

    def is_there(self) -> bool:
        return self.event is None or self.event.query()

    def read(self) -> tuple[Tensor, ...]:
        if self.event is not None:
            self.event.synchronize()
        return self.values


def _copy(values: Tensor) -> Tensor:
    if values.device.type == "cpu":
        return values
    # a copy to memory that is not pinned would be waited for
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.device.type == "cuda")
    return copy.copy_(values, non_blocking=True)


class Looks:
    """Looks that are sent one after the other, and read in that order."""

    def __init__(self):
        self.under_way: deque[Look] = deque()

    def send(self, *values: Tensor) -> None:
        self.under_way.append(Look(*values))

    def arrived(self, everything: bool = False) -> Iterator[tuple[Tensor, ...]]:
        """The values of those that are there; what is under way beyond `AHEAD`, or `everything`, is waited for."""
        while self.under_way and (everything or len(self.under_way) > AHEAD or self.under_way[0].is_there()):
            yield self.under_way.popleft().read()


Result = TypeVar("Result")
Work = Generator[Look, tuple[Tensor, ...], Result]  # it yields a look where it needs the values, and is sent them


class _Begun:
    """A work that is under way."""

    def __init__(self, work: Work):
        self.work, self.look, self.result, self.is_done = work, None, None, False
        self.go_on()

    def go_on(self) -> None:
        """With the values that it waits for, until it needs some that are not there yet."""
        while not self.is_done:
            try:
                self.look = self.work.send(None if self.look is None else self.look.read())
            except StopIteration as end:
                self.result, self.is_done = end.value, True
                return
            if not self.look.is_there():
                return


def in_turns(works: Iterable[Work[Result]]) -> Iterator[Result]:
    """The results of works, in their order.

    Where one needs values that are not there yet, the next one is begun, so that the device has something to do
    meanwhile. Two are under way at most.
    """
    begun: deque[_Begun] = deque()
    late: deque[_Begun] = deque()  # those of them that wait for values, who asked first in front
    for work in works:
        begun.append(_Begun(work))
        if not begun[-1].is_done:
            late.append(begun[-1])
        while len(late) == 2:
            _go_on(late)
        while begun and begun[0].is_done:
            yield begun.popleft().result
    while late:
        _go_on(late)
    yield from (each.result for each in begun)


def _go_on(late: deque[_Begun]) -> None:
    first = late.popleft()
    first.go_on()
    if not first.is_done:
        late.append(first)
