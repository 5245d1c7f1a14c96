"""What `make` hands on is what a person wrote: braces, spaces and quotes in SET arrive as they are."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blipvqa.config.reading import parse_overrides

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["run", "stress", "page"])
def test_set_arrives_as_it_was_written(tmp_path, target):
    place = tmp_path / "venv"
    (place / "bin").mkdir(parents=True)
    python = place / "bin" / "python"
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    python.chmod(0o755)
    settings = "data.source=my folder/a 'set' data.columns={img_name: image} data.window=[40, 400]"
    (place / ".ready").touch()
    done = subprocess.run(
        ["make", "-s", "-C", ROOT, target, f"VENV={place}", "NAME=mine", f"SET={settings}"],
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = json.loads(done.stdout.splitlines()[-1])
    assert parse_overrides([arguments[arguments.index("--set") + 1]]) == {
        "data.source": "my folder/a 'set'",
        "data.columns": {"img_name": "image"},
        "data.window": [40, 400],
    }


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("task", "configs"), [("", ["demo"]), ("caption", ["caption-demo"]), ("pairs", ["demo", "pairs-demo"])]
)
def test_a_demo_that_begins_with_another_one_trains_that_first(tmp_path, task, configs):
    (tmp_path / ".ready").touch()
    said = subprocess.run(
        ["make", "-n", "-C", ROOT, "demo", f"VENV={tmp_path}", f"TASK={task}"],
        capture_output=True,
        text=True,
        check=True,
    )
    commands = [line for line in said.stdout.splitlines() if "-m blipvqa" in line]
    assert [line.split("configs/")[1] for line in commands] == [f"{name}.yaml" for name in configs]
    assert [" train " in line for line in commands] == [False] * len(configs) if task != "pairs" else [True, False]
