"""Killed before a write of any stage, learning on and CapFilt go on to the same end, bit for bit."""

import pytest
from test_kills import assert_nothing_is_lost, needs_linux, try_everywhere

EVERY = 40  # of some hundreds of writes: a kill in each stage and between all


@needs_linux
@pytest.mark.slow
def test_a_kill_in_any_stage_of_a_sequence_or_of_capfilt_loses_nothing(tmp_path):
    """Weights of every stage, mixed and kept rows, answers and numbers are those of an unbroken sequence, and nothing
    unfinished stays."""
    result = try_everywhere("sequence_points.py", tmp_path, EVERY)
    assert_nothing_is_lost(result, {"learning": 300, "bootstrapping": 300})
