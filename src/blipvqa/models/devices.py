"""Which device and number format to compute with."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from contextlib import nullcontext
from functools import cache

import torch

from blipvqa.config.knobs import ConfigError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
MADV_HUGEPAGE = 14  # of Linux's mman.h
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(wanted: str, device: torch.device) -> str:
    """`train.precision` for `device`: "auto" is bf16 where the hardware computes it, fp16 on older GPUs, fp32 on CPU.

    `is_bf16_supported()` alone also counts emulation, which is slower than fp32 (FACTS 1.16).
    Raises ConfigError for what the device cannot do.
    """
    gpu = device.type == "cuda"
    real_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return "bf16" if real_bf16 else "fp16" if gpu else "fp32"
    if wanted == "fp16" and not gpu:
        raise ConfigError("train.precision: fp16 needs a GPU; found none. Use fp32, or auto.")
    return wanted


def autocast(precision: str, device: torch.device):
    """A context in which matrix products run in `precision`."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


@cache
def reuse_memory(device: torch.device) -> None:
    """On a CPU with glibc, keep freed memory instead of giving it back: by default every large tensor is mapped and
    zeroed anew, page by page, which costs a seventh of a full-size training step. Elsewhere nothing is done."""
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
        _prefer_large_pages(libc)


def _prefer_large_pages(libc: ctypes.CDLL) -> None:
    """Ask for pages of 2 MiB in the part of the heap that tensors will come from: a block as large as half of the
    machine's memory is taken and freed untouched, so that addresses are reserved, and no memory. Where addresses are
    rationed, not."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    page = os.sysconf("SC_PAGE_SIZE")
    size = os.sysconf("SC_PHYS_PAGES") * page // 2
    block = libc.malloc(size)
    if block:
        libc.free(block)
        start = -(-block // page) * page
        libc.madvise(
            start, size - 2 * page, MADV_HUGEPAGE
        )  # refused where the system has no such pages: nothing changes


def describe_device(device: torch.device) -> str:
    """For people: the GPU's name and memory, or the CPU's threads."""
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
