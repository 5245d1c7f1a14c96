"""A process that is killed before any of its writes loses nothing: what the next start makes is what would have been."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blipvqa import Run, evaluate, fine_tune, load_splits
from blipvqa.tasks import write_report
from blipvqa.vqa.stress import stress

LINUX = Path("/proc/self/fd").exists()
needs_linux = pytest.mark.skipif(not LINUX, reason="processes are forked, and their files are looked up in /proc")
AT_LEAST = {"reading": 40, "training": 300, "evaluation": 90, "report": 8}  # write points


def try_everywhere(script: str, root: Path, argument: int) -> dict:
    """What `script`, `write_points.py` or `power_cuts.py`, finds of each phase; its argument says how much it tries."""
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).with_name(script)), str(argument)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    result = json.loads(ended.stdout.splitlines()[-1])
    for phase, of in result.items():
        print(f"{phase}: {of['points']} points, {of['tried']} tried, {len(of['faults'])} faults")
    return result


def assert_nothing_is_lost(result: dict, at_least: dict[str, int]):
    assert [fault for of in result.values() for fault in of["faults"]] == []
    assert {phase: of["points"] for phase, of in result.items() if of["points"] < at_least[phase]} == {}


@needs_linux
def test_a_kill_before_every_hundredth_write_loses_nothing(tmp_path):
    """Weights, logs, checkpoints, answers, metrics, card and report are equal bit for bit but for times, and nothing
    unfinished stays in the run folder."""
    assert_nothing_is_lost(try_everywhere("write_points.py", tmp_path, 100), AT_LEAST)


@needs_linux
@pytest.mark.slow
def test_a_kill_before_any_write_loses_nothing(tmp_path):
    result = try_everywhere("write_points.py", tmp_path, 1)
    assert_nothing_is_lost(result, AT_LEAST)
    assert all(of["tried"] == of["points"] for of in result.values())


def leave_unfinished(run: Run) -> list[Path]:
    """What killed processes of this version and of 0.1.0 leave."""
    left = [
        run.folder / ".metrics-test.json.blipvqa-0123abcd.writing",
        run.folder / "answers" / ".test.jsonl.blipvqa-0123abcd.writing",
        run.folder / "answers" / ".test.jsonl.a1b2c3d4",
        run.folder / ".predictions-test.jsonl.a1b2c3d4",
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    return left


def test_every_door_removes_what_killed_processes_left_unfinished(tiny):
    config = tiny(train__epochs=1)
    run = fine_tune(config)
    doors = (
        lambda: fine_tune(config),
        lambda: evaluate(config, progress=False, resamples=20),
        lambda: write_report(run, load_splits(config)),
        lambda: stress(config, ["blur"], (1,), progress=False),
    )
    for door in doors:
        left = leave_unfinished(run)
        door()
        assert [path for path in left if path.exists()] == []


def test_a_finished_run_without_card_gets_one_and_loses_orphan_notes(tiny):
    """As a kill in an older version left it."""
    config = tiny(train__epochs=1)
    run = fine_tune(config)
    card = run.model_folder / "README.md"
    text = card.read_text()
    card.unlink()
    orphan = run.folder / "checkpoints" / "step-00000001.json"
    orphan.write_text("{}")
    fine_tune(config)
    assert card.read_text() == text
    assert not orphan.exists()
