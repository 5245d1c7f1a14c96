"""What a person can mend is one message, in a notebook as in a shell."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import load_config
from blipvqa.first_look import look_at_training

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
    messages = messages_before_torch(root, COMMANDS)
    assert len(messages) == len(COMMANDS)


def messages_before_torch(root, commands):
    """What each command says of its input, a message each; none of them may import torch."""
    code = (
        "import json, sys; from blipvqa.__main__ import main\n"
        "for command in json.loads(sys.argv[1]): print(main(command), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(commands)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=root, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    outcomes = dict(zip(map(" ".join, commands), ended.stdout.splitlines(), strict=True))
    assert set(outcomes.values()) == {"2 False"}, (outcomes, ended.stderr)
    return re.findall(r"^\w*Error: .*|^MissingFile: .*", ended.stderr, re.M)


TRAIN, PREDICT = ["train", "mine.yaml", "--set"], ["predict", "--name", "trained", "--input"]
LACKING = (  # a command, and what it says of files that are not there or lack something
    (["evaluate", "--name", "untrained"], "run 'untrained' has no model yet"),
    (["stress", "--name", "untrained"], "run 'untrained' has no model yet"),
    (["page", "--name", "untrained"], "run 'untrained' has no model yet"),
    (["page", "--name", "trained", "--nearest", "trained"], "run 'trained' is of task vqa, expected retrieval"),
    (["predict", "--name", "untrained", "--input", "mine", "--output", "a.csv"], "run 'untrained' has no model yet"),
    (["export", "--name", "untrained"], "run 'untrained' has no model yet"),
    (["push", "--name", "untrained", "--repo", "owner/name"], "run 'untrained' has no model yet"),
    (["ensemble", "untrained", "trained", "--name", "both"], "run 'untrained' has no model yet"),
    (["transfer", "--runs", "untrained", "--on", "mine.yaml"], "run 'untrained' has no model yet"),
    (["compare", "untrained", "trained"], "run 'untrained' has no predictions yet"),
    (["report", "--name", "untrained"], "run 'untrained' has no predictions yet"),
    (["predictions", "--name", "untrained", "--form", "table", "--output", "x.csv"], "has no predictions yet"),
    ([*PREDICT, "nowhere.csv", "--output", "a.csv"], "there is no table or folder 'nowhere.csv'"),
    ([*PREDICT, "mine", "--output", "a.csv"], "a folder of pictures needs questions"),
    ([*PREDICT, "mine", "--output", "a.csv", "--questions", "none.txt"], "questions 'none.txt' cannot be read"),
    ([*PREDICT, "mine/train.csv", "--output", "a.pdf"], "output 'a.pdf': answers are written as"),
    (["score", "mine.yaml", "--predictions", "none.csv", "--name", "theirs"], "predictions 'none.csv': there is no"),
    (["learn-on", "mine.yaml"], "continual.stages names no data set"),
    (["learn-on", "stages.yaml"], "data.source 'mine', train: no column image; found img, question, answer, organ."),
    (["run", "stages.yaml"], "data.source 'mine', train: no column image"),
    ([*TRAIN, "name=new"], "data.source 'mine', train: no column image"),
    ([*TRAIN, "data.columns={imag: image}"], "data.columns: train has no column imag, did you mean img?"),
    ([*TRAIN, "data.columns={img: image}", "data.where={orgn: liver}"], "data.where: train has no column 'orgn'"),
    ([*TRAIN, "data.columns={img: image}", "data.breakdown=[stain]"], "data.breakdown: no split has a further column"),
    ([*TRAIN, "data.columns={img: image}", "data.without={source: mine}"], "data.source 'mine', train: no column im"),
    ([*TRAIN, "data.source=mine/train.csv"], "is a file, expected the folder in which it lies"),
    ([*TRAIN, "data.source=empty"], "data.source 'empty' holds no <split>.parquet"),
    ([*TRAIN, "data.source=synthetic", "model.name=a/b/model"], "model 'a/b/model': no such folder"),
    ([*TRAIN, "data.source=synthetic", "model.name=nobody/nothing"], "and the Hub gave none"),
    ([*TRAIN, "data.source=synthetic", "model.name=empty"], "has no config.json"),
    (["train", "capfilt.yaml"], "data.source 'mine', train: no column image, caption"),
    (["evaluate", "--name", "trained", "--on", "mine.yaml"], "data.source 'mine', train: no column image"),
)


def test_what_files_lack_is_said_before_torch_is_imported(root):
    for folder in ("mine", "empty", "outputs/untrained", "outputs/trained/model"):
        (root / folder).mkdir(parents=True)
    for run in ("untrained", "trained"):
        (root / f"outputs/{run}/config.yaml").write_text(f"name: {run}\ndata: {{source: synthetic}}\n")
    (root / "outputs/trained/model/config.json").write_text("{}")
    (root / "mine/train.csv").write_text("img,question,answer,organ\na.png,is it?,yes,liver\n")
    (root / "mine.yaml").write_text("data: {source: mine}\n")
    (root / "stages.yaml").write_text("continual: {stages: [{name: a, data: {source: mine}}, b.yaml]}\n")
    (root / "b.yaml").write_text("data: {source: synthetic}\n")
    (root / "capfilt.yaml").write_text(
        "task: pretrain\ndata: {source: synthetic}\nbootstrap: {clean: {source: mine}}\n"
    )
    messages = messages_before_torch(root, [command for command, _ in LACKING])
    assert len(messages) == len(LACKING)
    for (command, expected), message in zip(LACKING, messages, strict=True):
        assert expected in message, command


def test_a_finished_run_needs_its_start_no_more(root):
    (root / "outputs/done").mkdir(parents=True)
    config = load_config(None, {"data.source": "synthetic", "model.name": "gone/from/here"}, "done")
    with pytest.raises(ConfigError, match="no such folder"):
        look_at_training(config)
    (root / "outputs/done/config.yaml").write_text("name: done\n")
    (root / "outputs/done/state.json").write_text("{}")
    look_at_training(config)


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
