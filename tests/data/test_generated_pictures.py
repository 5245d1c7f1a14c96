"""Pictures drawn from a seed, whole and damaged, through the loader: refused by name or read, in bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("picture_damages.py")


@pytest.mark.parametrize(
    ("count", "seed"), [(40, 0), pytest.param(600, 1, marks=pytest.mark.slow)], ids=["40 pictures", "600 pictures"]
)
def test_drawn_pictures_load_or_are_refused_by_name(tmp_path, count, seed):
    command = [sys.executable, str(PROGRAM), str(tmp_path), str(count), str(seed)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr[-2000:]
    assert "Warning" not in process.stderr and "Error" not in process.stderr  # libtiff has a line for a broken strip
    result = json.loads(process.stdout)
    for i, (kind, outcome) in enumerate(zip(result["kinds"], result["outcomes"], strict=True)):
        assert not outcome or outcome.startswith("ImageError: row train/0: line 1 of train.jsonl: "), (i, kind, outcome)
        assert (i in result["loaded"]) == (not outcome), (i, kind, outcome)  # both modes agree
        if kind.startswith("none: "):
            assert not outcome, (i, kind, outcome)
        if kind.startswith(("foreign", "several pictures", "head only")):
            assert outcome, (i, kind)
    assert result["started"] == []
    assert result["taken"] == 0
    assert result["peak"] < result["budget"]
    refused = sum(map(bool, result["outcomes"]))
    assert sum(int(note.split()[1]) for note in result["notes"] if "left out" in note) == refused > count // 4
