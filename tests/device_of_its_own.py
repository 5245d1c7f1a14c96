"""A device that is none: tensors that say `meta`, hold their numbers on the CPU, and tell when a GPU would be waited for.

Notable:
- Every operation on such a tensor is computed, so what runs on it gives numbers; one that mixes it with a tensor of the
  CPU fails, as on a GPU, and so does one in float64, as on Apple's.
- `waits` holds a line for each time that the CPU would stand still until all that was asked of a GPU is computed: a
  number that is read, a size that follows from values (nonzero, a boolean index, unique), a copy to or from it, but
  for one of the loader's, which are pinned and `non_blocking`, and an event after which it was not asked for `ENOUGH`.
  The device is as far behind as it can be: an event has not happened until it is waited for.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from accelerate import Accelerator
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")
SOURCE = Path(__file__).resolve().parents[1] / "src"
SIZE_OF_VALUES = {  # what is allocated follows from values, which a GPU must have computed before
    "nonzero",
    "nonzero_numpy",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "isin",
    "equal",
    "is_nonzero",
    "repeat_interleave",
    "_local_scalar_dense",
}


ENOUGH = 50  # operations that keep a device busy while the CPU reads: a token of two layers has some 60


class OnDevice(torch.Tensor):
    """A tensor that says it is on `DEVICE`; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise RuntimeError(f"{function} outside of `pretend_device`")


def _name(function) -> str:
    return function.overloadpacket.__name__


def _has_bool(indices) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)


class _Dispatch(TorchDispatchMode):
    def __init__(self, waits: list[Wait], operations: list[str]):
        super().__init__()
        self.waits, self.operations = waits, operations
        self.computed = 0  # of the operations, those that the CPU has seen the end of

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        wrappers, plain = [], []

        def unwrapped(x):
            if isinstance(x, OnDevice):
                wrappers.append(x)
                return x.inner
            if isinstance(x, torch.Tensor):
                plain.append(x)
            return x

        inner_args, inner_kwargs = tree_map(unwrapped, args), tree_map(unwrapped, kwargs)
        name, to = _name(function), kwargs.get("device")
        goes = to is not None and torch.device(to).type == DEVICE.type
        if goes:
            inner_kwargs["device"] = torch.device("cpu")
        if not wrappers and not goes:
            return function(*args, **kwargs)
        self.operations.append(name)
        self._look(name, function, args, kwargs, wrappers, plain, to)
        if name == "_to_copy" and to is not None and not goes:  # to the CPU
            return function(*inner_args, **inner_kwargs)
        if name == "_fused_sdp_choice":
            return 0  # the composed one: no fused one knows this device
        result = function(*inner_args, **inner_kwargs)
        of = {id(wrapper.inner): wrapper for wrapper in wrappers}
        if name == "copy_" and not isinstance(args[0], OnDevice):
            return args[0]

        def wrapped(x):
            if not isinstance(x, torch.Tensor):
                return x
            if x.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{name}: {x.dtype} on the device, at {Wait.here('').line}; mps has none")
            return of[id(x)] if id(x) in of else OnDevice(x)  # what works in place returns what it was given

        return tree_map(wrapped, result)

    def _look(self, name, function, args, kwargs, wrappers, plain, to) -> None:
        if name in SIZE_OF_VALUES and not (name == "repeat_interleave" and kwargs.get("output_size") is not None):
            return self.note(name)
        if name in ("index", "index_put_", "index_put", "_index_put_impl_"):
            if _has_bool(args[1]):
                self.note(f"{name} by a mask")
            if any(isinstance(i, torch.Tensor) and not isinstance(i, OnDevice) for i in args[1]):
                self.note(f"{name} by an index of the CPU")
            return None
        if name == "_to_copy" and to is not None:
            if not kwargs.get("non_blocking"):
                self.note("copy to the device" if torch.device(to).type == DEVICE.type else "copy to the CPU")
            return None
        if name == "copy_":
            if isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice) and not (len(args) > 2 and args[2]):
                self.note("copy to the device" if isinstance(args[0], OnDevice) else "copy to the CPU")
            return None
        if wrappers and any(x.ndim for x in plain):
            raise RuntimeError(f"{function}: tensors of two devices, at {Wait.here('').line}")
        return None

    def note(self, what: str) -> None:
        self.waits.append(Wait.here(what))
        self.computed = len(self.operations)


class _Functions(TorchFunctionMode):
    """Calls that make a tensor of a list where no dispatch sees them, or that skip it."""

    def __init__(self, dispatch: _Dispatch):
        super().__init__()
        self.dispatch = dispatch

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = torch.device(kwargs.pop("device"))
            made = function(*args, **kwargs)
            return made.to(device)  # a copy of pageable memory
        if function is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        return function(*args, **kwargs)


@dataclass(frozen=True)
class Wait:
    """A wait: the innermost line of ours that asked for it, for what, and the functions it was called from."""

    line: str
    what: str
    called_from: tuple[str, ...]

    @classmethod
    def here(cls, what: str) -> Wait:
        ours, frame = [], sys._getframe(1)
        while frame:
            if frame.f_code.co_filename.startswith(str(SOURCE)):
                ours.append(
                    (f"{Path(frame.f_code.co_filename).relative_to(SOURCE)}:{frame.f_lineno}", frame.f_code.co_name)
                )
            frame = frame.f_back
        return cls(ours[0][0] if ours else "tests", what, tuple(name for _, name in ours))


def table(waits: list[Wait]) -> str:
    """A line for each line of ours that waits: how often, where, for what."""
    counts = Counter(f"{wait.line} {wait.what}" for wait in waits)
    return "\n".join(f"{count:5} {line}" for line, count in counts.most_common())


class Pretended:
    """What happened on the device: `waits`, and the names of all `operations`."""

    def __init__(self):
        self.waits: list[Wait] = []
        self.operations: list[str] = []


@contextmanager
def pretend_device() -> Iterator[Pretended]:
    """Within, `DEVICE` is a device that computes, and the one that is picked."""
    seen = Pretended()
    dispatch = _Dispatch(seen.waits, seen.operations)
    with ExitStack() as patches:
        for place, name, value in _told_of_the_device(dispatch):
            patches.enter_context(mock.patch.object(place, name, value))
        patches.enter_context(dispatch)
        patches.enter_context(_Functions(dispatch))
        yield seen


def _event_of(dispatch: _Dispatch) -> type:
    class Event:
        """It has happened when it, or something later, was waited for."""

        def __init__(self, device):
            self.place = 0  # among the operations

        def record(self) -> None:
            self.place = len(dispatch.operations)

        def query(self) -> bool:
            return self.place <= dispatch.computed

        def synchronize(self) -> None:
            behind = len(dispatch.operations) - self.place
            if not self.query() and behind < ENOUGH:
                dispatch.note(f"event with {behind} operations after it")
            dispatch.computed = max(dispatch.computed, self.place)

    return Event


def _told_of_the_device(dispatch: _Dispatch) -> list[tuple]:
    """(place, name, what stands there meanwhile), where torch and we do not know such a device."""
    optimizer, autocast = sys.modules["torch.optim.optimizer"], torch.autocast
    fused_on = optimizer._get_fused_kernels_supported_devices()
    rooms = [module for name, module in sys.modules.items() if name.startswith("blipvqa.")]
    return [
        (torch, "autocast", lambda kind, *a, **k: nullcontext() if kind == "meta" else autocast(kind, *a, **k)),
        (torch.__future__, "get_swap_module_params_on_conversion", lambda: True),  # an optimizer keeps its parameters
        (optimizer, "_get_fused_kernels_supported_devices", lambda: [*fused_on, "meta"]),
        (torch, "Event", _event_of(dispatch)),
        (Accelerator, "device", property(lambda _: DEVICE)),
        *((room, "pick_device", lambda: DEVICE) for room in rooms if hasattr(room, "pick_device")),
    ]
