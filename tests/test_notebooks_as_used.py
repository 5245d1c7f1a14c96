"""Notebooks as people use them: papermill with its log, a cell run twice, three rows a split, a copy elsewhere."""

import json
import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import papermill
import pytest
import yaml
from conftest import TINY
from PIL import Image

from blipvqa import Run
from blipvqa.__main__ import main

NOTEBOOK_02 = "02_finetune.ipynb"


@pytest.fixture
def project(root, request):
    """The notebooks and a tiny config under a root of their own."""
    (root / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    (root / "configs").mkdir()
    (root / "configs" / "small.yaml").write_text(yaml.safe_dump({"train": {"epochs": 1}}))
    return root


@pytest.mark.slow
def test_bars_move_in_papermill_s_log_and_end_whole_in_the_saved_notebook(project):
    parameters = yaml.safe_dump({"config_path": "configs/small.yaml", "overrides": {**TINY, "train.epochs": 60}})
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--log-output",
        "--no-progress-bar",
        "-k",
        "python3",
        "-y",
        parameters,
    ]
    made = project / "out.ipynb"
    done = subprocess.run(
        [*command, str(project / "notebooks" / NOTEBOOK_02), str(made)], capture_output=True, text=True, check=True
    )
    shares = [int(share) for share in re.findall(r"fine-tune: +(\d+)%", done.stdout + done.stderr)]
    assert shares[0] == 0 and shares[-1] == 100 and len(set(shares)) > 3
    text = "".join(
        output.text
        for cell in nbformat.read(made, 4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    assert "fine-tune: 100%" in text


@pytest.mark.slow
def test_the_training_cell_of_notebook_02_runs_again_after_a_stop_and_after_the_end(project):
    notebook = nbformat.read(project / "notebooks" / NOTEBOOK_02, 4)
    (place,) = (
        i for i, cell in enumerate(notebook.cells) if "fine_tune(config" in cell.source and "import" not in cell.source
    )
    training = notebook.cells[place]
    interrupt = nbformat.v4.new_code_cell(
        "import os, signal, threading\n"
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    fine_tune(config, processes)\nexcept KeyboardInterrupt as stop:\n    print('stopped:', stop)"
    )
    again, last = (nbformat.v4.new_code_cell(training.source) for _ in range(2))
    notebook.cells[place : place + 1] = [interrupt, training, again, last]
    nbformat.write(notebook, project / "twice.ipynb")
    made = papermill.execute_notebook(
        project / "twice.ipynb",
        project / "out.ipynb",
        kernel_name="python3",
        progress_bar=False,
        parameters={"config_path": "configs/small.yaml", "overrides": {**TINY, "train.epochs": 40}},
    )
    assert Run(project / "outputs" / "small").finished
    assert str(made).count("Run('small', finished)") == 3


@pytest.mark.slow
@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval"])
def test_splits_of_three_rows_go_through_every_notebook(project, task):
    own = project / "own"
    (own / "images").mkdir(parents=True)
    number = 0
    for split, count in (("train", 12), ("validation", 3), ("test", 3)):
        lines = []
        for i in range(count):
            noise = np.random.default_rng(number).integers(0, 255, (60, 60, 3), dtype=np.uint8)
            Image.fromarray(noise).save(own / "images" / f"{number}.png")
            texts = {
                "question": ("is it red?", "what is it?", "where?")[i % 3],
                "answer": ("yes", "gland", "left")[i % 3],
            }
            texts = texts if task == "vqa" else {"caption": f"a {('red', 'blue', 'green')[i % 3]} gland"}
            lines.append(json.dumps({"image": f"images/{number}.png", **texts}))
            number += 1
        (own / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    settings = {key: value for key, value in TINY.items() if key != "data.synthetic"}
    settings |= {"data.source": "own", "task": task, "train.batch_size": 4, "retrieval.queue": 8}
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    assert main(["run", "configs/small.yaml", "--set", *pairs]) == 0
    if task == "vqa":
        assert main(["stress", "--name", "small"]) == 0


@pytest.mark.slow
def test_a_notebook_that_lies_elsewhere_finds_the_project_by_its_variable_or_says_so(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    copied = elsewhere / "mine.ipynb"
    copied.write_bytes((project / "notebooks" / "01_explore_data.ipynb").read_bytes())
    parameters = yaml.safe_dump({"config_path": "configs/small.yaml", "overrides": TINY})
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3", "-y", parameters, str(copied)]
    command += [str(elsewhere / "out.ipynb")]

    def run(**environment: str) -> subprocess.CompletedProcess:
        variables = {key: value for key, value in os.environ.items() if key != "BLIPVQA_ROOT"} | environment
        return subprocess.run(command, cwd=elsewhere, env=variables, capture_output=True, text=True)

    assert run(BLIPVQA_ROOT=str(project)).returncode == 0
    lost = run()
    assert lost.returncode != 0 and "BLIPVQA_ROOT" in lost.stderr
