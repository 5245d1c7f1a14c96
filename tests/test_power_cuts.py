"""After a power cut a disk holds what was flushed and any part of the rest: the next start goes on from it."""

import os

import pytest
from test_kills import LINUX, assert_nothing_is_lost, try_everywhere

if not LINUX:
    pytest.skip("processes are forked, and their files are looked up in /proc", allow_module_level=True)

from power_cuts import Disk

AT_LEAST = {"reading": 25, "training": 200, "evaluation": 50, "report": 6}  # different states of the disk


@pytest.mark.slow
def test_a_power_cut_loses_nothing_that_was_said_to_be_there(tmp_path):
    """A sample of the states that a disk may be in, the last ones of each phase among them."""
    assert_nothing_is_lost(try_everywhere("power_cuts.py", tmp_path, 3), AT_LEAST)


@pytest.mark.slow
def test_no_power_cut_loses_what_was_said_to_be_there(tmp_path):
    result = try_everywhere("power_cuts.py", tmp_path, 0)
    assert_nothing_is_lost(result, AT_LEAST)
    assert all(of["tried"] == of["points"] for of in result.values())


def test_the_disk_of_these_tests_forgets_what_was_not_flushed(tmp_path):
    disk = Disk(tmp_path)
    (tmp_path / "a").write_bytes(b"flushed")
    for path in (tmp_path / "a", tmp_path):
        handle = os.open(path, os.O_RDONLY)
        disk.flush(handle)
    (tmp_path / "a").write_bytes(b"flushed, and more")
    (tmp_path / "b").write_bytes(b"never!")
    (tmp_path / "a").rename(tmp_path / "c")
    disk.cut("x")
    states = {name.split()[1]: state for name, state in disk.states.items()}
    assert states["late,"] == {"a": b"flushed"}
    assert states["early,"] == {"b": b"nev", "c": b"flushed, and"}
