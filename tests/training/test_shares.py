"""Several processes evaluate, answer, caption and search as one: the same files, byte for byte; one that dies is told of."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from blipvqa import answer_all, evaluate, fine_tune, load_splits, run_config
from blipvqa.config.paths import project_path
from blipvqa.runs.files import read_lines, write_lines
from blipvqa.training.shares import share_of

SETTINGS = {"train.epochs": 1, "generate.batch_size": 4, "train.precision": "fp32"}


def launched(root, processes: int, command: list[str], script: str = "", place=None) -> subprocess.CompletedProcess:
    """`blipvqa` with `command` in so many CPU processes, as `accelerate launch` starts it; `script` runs before."""
    file = (place or root) / "launched.py"
    file.write_text(f"import os, sys\n{script}\nfrom blipvqa.__main__ import main\nsys.exit(main(sys.argv[1:]))\n")
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": threads, "ACCELERATE_USE_CPU": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), str(file)]
    return subprocess.run([*launcher, *command], env=environment, capture_output=True, text=True, timeout=600)


def files_of(folder) -> dict[str, bytes]:
    """What evaluation writes, by name; what holds the time is left out."""
    files = [path for path in folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


LEAVES = """
import atexit
from torch import distributed
atexit.register(lambda: print(f"still in the group at the end: {distributed.is_initialized()}", flush=True))
"""


def same_files(root, config, processes: int) -> None:
    """`evaluate` by one process and by several leaves the same run folder."""
    run = fine_tune(config)
    shutil.copytree(run.folder, root / "trained")
    evaluate(config, progress=False)
    one = files_of(run.folder)
    shutil.rmtree(run.folder)
    shutil.move(root / "trained", run.folder)
    done = launched(root, processes, ["evaluate", "--name", run.name], LEAVES)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("still in the group at the end: False") == processes
    several = files_of(run.folder)
    assert one.keys() == several.keys()
    assert [name for name in one if one[name] != several[name]] == []


@pytest.mark.slow
def test_two_processes_evaluate_as_one(root, tiny):
    same_files(root, tiny(**{key.replace(".", "__"): value for key, value in SETTINGS.items()}), 2)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval", "pairs"])
def test_three_processes_evaluate_every_task_as_one(root, tiny, task):
    settings = {key.replace(".", "__"): value for key, value in SETTINGS.items()}
    further = {"generate__method": "rank"} if task == "vqa" else {"retrieval__queue": 24} if task == "retrieval" else {}
    same_files(root, tiny(task=task, **settings, **further), 3)


def test_shares_are_runs_of_about_the_same_cost():
    costs = [1, 1, 9, 1, 1, 1, 1, 3, 1, 1, 1, 1]
    shares = share_of(costs, 2)
    assert shares == sorted(shares) and set(shares) == {0, 1}
    of_each = [sum(cost for cost, share in zip(costs, shares, strict=True) if share == one) for one in (0, 1)]
    assert max(of_each) <= 1.2 * sum(costs) / 2
    assert share_of([], 3) == []


DIES = """
import signal
from blipvqa.vqa import predictions
usual, calls = predictions.Answerer.answering, []
def dies(self, batch):
    calls.append(1)
    if os.environ["RANK"] == "1" and len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(self, batch)
predictions.Answerer.answering = dies
"""


def told_of_a_death(done: subprocess.CompletedProcess) -> bool:
    told = "another of the processes ended" in done.stderr or "ended with the other processes" in done.stderr
    return done.returncode != 0 and told


@pytest.mark.slow
def test_a_killed_process_is_told_of_and_the_sheet_goes_on(done, tmp_path):
    """Of three processes that answer a sheet one is killed; one process ends it, with what the others had answered."""
    root = project_path("")
    rows = [
        {"image": f"{i}.png", "question": question}
        for i in range(6)
        for question in ("is there a nodule?", "what is this?", "how many are there?")
    ]
    for i in range(6):
        load_splits(done)["test"].image(i * 3).save(tmp_path / f"{i}.png")
    write_lines(tmp_path / "table.jsonl", rows)
    config = run_config("tiny", None, {"generate.batch_size": 3})
    whole = answer_all(config, tmp_path / "table.jsonl", tmp_path / "whole.csv", progress=False)
    command = ["predict", "--name", "tiny", "--input", str(tmp_path / "table.jsonl"), "--set", "generate.batch_size=3"]
    sheet = tmp_path / "sheet.csv"
    died = launched(root, 3, [*command, "--output", str(sheet)], DIES.format(at=2), tmp_path)
    assert told_of_a_death(died), died.stderr[-3000:]
    assert not sheet.exists()
    answered = [len(line["rows"]) for file in tmp_path.glob("sheet.csv.partial*") for line in read_lines(file)[1:]]
    assert 3 <= sum(answered) < len(rows)
    answer_all(config, tmp_path / "table.jsonl", sheet, progress=False)
    assert sheet.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("sheet.csv.partial*"))


@pytest.mark.slow
def test_an_evaluation_of_which_a_process_was_killed_goes_on(root, tiny):
    config = tiny(**{key.replace(".", "__"): value for key, value in SETTINGS.items()})
    run = fine_tune(config)
    shutil.copytree(run.folder, root / "trained")
    evaluate(config, progress=False)
    one = files_of(run.folder)
    shutil.rmtree(run.folder)
    shutil.move(root / "trained", run.folder)
    died = launched(root, 2, ["evaluate", "--name", run.name], DIES.format(at=8))
    assert told_of_a_death(died), died.stderr[-3000:]
    assert not (run.folder / "metrics-test.json").exists()
    half = files_of(run.folder)
    assert half.pop("model/README.md") != one["model/README.md"]  # the card gets the numbers when there are any
    assert {name: one[name] for name in half} == half  # what is there is whole
    assert launched(root, 2, ["evaluate", "--name", run.name]).returncode == 0
    assert files_of(run.folder) == one
