"""Two processes never hold one run folder, and a dead one holds none."""

import errno
import subprocess
import sys

import pytest

from blipvqa.runs import lock as locks
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError

CONTENDER = """
import os, sys, time
from pathlib import Path
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError
folder, wanted, end = Path(sys.argv[1]), int(sys.argv[2]), time.time() + 120
held = twice = 0
while held < wanted and time.time() < end:
    try:
        with lock(folder):
            held += 1
            try:
                os.close(os.open(folder.parent / "inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                twice += 1
            else:
                time.sleep(0.001)
                os.unlink(folder.parent / "inside")
    except RunError:
        pass
print(held, twice)
"""


def test_six_processes_never_hold_it_together(tmp_path):
    command = [sys.executable, "-c", CONTENDER, str(tmp_path / "run"), "10"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    counts = [tuple(map(int, process.communicate()[0].split())) for process in processes]
    assert counts == [(10, 0)] * 6


def test_it_stays_on_release_and_is_named_when_held(tmp_path):
    with (
        lock(tmp_path / "run"),
        pytest.raises(RunError, match=r"'run' is being written by process \d+ on"),
        lock(tmp_path / "run"),
    ):
        pass
    assert (tmp_path / ".run.lock").exists()
    with lock(tmp_path / "run"):
        pass


def test_a_disk_without_locks_is_called_that(tmp_path, monkeypatch):
    def refused(_self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.FileLock, "_acquire", refused)
    with pytest.raises(RunError, match="has no locks"), lock(tmp_path / "run"):
        pass
