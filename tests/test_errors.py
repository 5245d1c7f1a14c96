"""What a person can mend is one message, in a notebook as in a shell."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from blipvqa.__main__ import main

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "blipvqa"
# Files whose built-in errors are caught by a caller that names the thing, or that only a programming error can reach.
CAUGHT_OR_PROGRAMMING = {
    "config/data_knobs.py",
    "config/kinds.py",
    "config/knobs.py",
    "config/plain_yaml.py",
    "config/synthetic_knobs.py",
    "config/task_knobs.py",
    "data/deep_tiff.py",
    "data/history.py",
    "data/image_files.py",
    "data/saved_sets.py",
    "data/several_answers.py",
    "data/shards.py",
    "data/synthetic.py",
    "data/values.py",
    "data/zips.py",
    "models/architecture.py",
    "models/captioner.py",
    "models/loading.py",
    "models/retriever.py",
    "models/vqa.py",
    "training/checkpoints.py",
}
BUILT_IN = {"ValueError", "RuntimeError", "TypeError", "KeyError", "OSError", "FileNotFoundError", "FloatingPointError"}


def test_no_room_raises_a_built_in_error_at_a_person():
    raising = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) in BUILT_IN
    }
    assert raising - CAUGHT_OR_PROGRAMMING == set()
    assert CAUGHT_OR_PROGRAMMING - raising == set(), "these raise no built-in error any more: take them out"


COMMANDS = (
    ["train", "configs/mistyped.yaml"],
    ["train", "configs/demo.yaml", "--set", "train.epohcs=3"],
    ["evaluate", "--name", "never-trained"],
    ["run", "configs/demo.yaml", "--set", "train.epochs=none"],
    ["page", "--name", "never-trained"],
    ["train", "configs/demo.yaml", "--set", "data.source=nowhere"],
    ["sweep", "configs/demo.yaml", "--grid", "sed=0,1"],
    ["compare", "never-trained", "nor-this"],
    ["ensemble", "never-trained", "nor-this", "--name", "both"],
    ["transfer", "--runs", "never-trained", "--on", "configs/demo.yaml"],
    ["score", "configs/mistyped.yaml", "--predictions", "theirs.jsonl", "--name", "theirs"],
    ["predictions", "--name", "never-trained", "--form", "table", "--output", "x.csv"],
    ["export", "--name", "never-trained"],
    ["push", "--name", "never-trained", "--repo", "owner/name"],
    ["shards", "nowhere", "shards"],
    ["learn-on", "configs/mistyped.yaml"],
)


def test_what_is_mistyped_is_said_before_torch_is_imported(root):
    """torch and transformers take five to eleven seconds; half of one is what the message takes."""
    (root / "configs").symlink_to(PACKAGE.parents[1] / "configs")
    code = (
        "import json, sys; from blipvqa.__main__ import main\n"
        "for command in json.loads(sys.argv[1]): print(main(command), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(COMMANDS)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root)
    outcomes = dict(zip(map(" ".join, COMMANDS), ended.stdout.splitlines(), strict=True))
    assert set(outcomes.values()) == {"2 False"}, (outcomes, ended.stderr)
    assert ended.stderr.count("Error: ") == len(COMMANDS)


def test_training_imports_nothing_that_it_does_not_use():
    """What draws figures and what reads the Hub's sets take seconds, at the beginning of every command."""
    code = "import sys, blipvqa.tasks; print(sys.modules.keys() & {'matplotlib', 'datasets', 'pandas', 'peft'})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


CELLS = {
    "ConfigError": "load_config(None, {'train.epohcs': 3})",
    "SourceError": "load_splits(load_config(None, {'data.source': 'nowhere/at/all'}))",
    "MissingFile": "ask(None, None, 'nowhere.png', 'what is it?')",
    "InputError": "ask(None, None, 'nowhere.png', '  ')",
    "RunError": "evaluate(load_config(None, name='never-trained'))",
}


@pytest.mark.parametrize("name", CELLS)
def test_a_notebook_shows_the_message_alone(root, name, capsys):
    shell = InteractiveShell.instance()
    shell.run_cell("from blipvqa import ask, evaluate, load_config, load_splits")
    outcome = shell.run_cell(CELLS[name])
    assert type(outcome.error_in_exec).__name__ == name
    shown = capsys.readouterr().out.strip()
    assert shown == f"{name}: {outcome.error_in_exec}"
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.yaml"], "ConfigError: config 'nowhere.yaml' cannot be read"),
        (["evaluate", "--name", "never-trained"], "RunError: there is no run 'never-trained'"),
        (["report", "--name", "never-trained"], "RunError: there is no run 'never-trained'"),
        (["stress", "--name", "a/b"], "ConfigError: name: 'a/b' is no run's name"),
        (["compare", "a", "b"], "RunError: "),
        (["train", "small.yaml", "--set", "train.epochs=many"], "train.epochs"),
    ],
)
def test_a_shell_gets_one_message_and_exit_2(root, arguments, message, capsys):
    (root / "small.yaml").write_text("{}\n")
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
