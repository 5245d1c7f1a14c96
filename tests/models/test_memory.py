"""Memory that is kept: large pages where the system has them, and nothing taken before it is needed."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEASURE = """
import torch
from blipvqa.models.cpu import reuse_memory

def kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith(field))

before = kib("Rss:")
reuse_memory(torch.device("cpu"))
reserved = kib("Rss:") - before
held = torch.ones(2**26)  # 256 MiB
print(reserved, kib("AnonHugePages:"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps memory so")
@pytest.mark.skipif(not PAGES.exists() or "[never]" in PAGES.read_text(), reason="this system has no large pages")
def test_memory_comes_in_large_pages_and_is_not_taken_in_advance():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=120)
    reserved, large = map(int, done.stdout.split())
    assert reserved < 32 * 1024
    assert large > 64 * 1024
