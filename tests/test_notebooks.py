"""The notebooks: executed as papermill does, from anywhere, and committed without outputs."""

import ast
import json
import os
import subprocess
import sys

import nbformat
import papermill
import pytest
import yaml
from conftest import TINY
from test_floors import FLOORS

from blipvqa import Run, load_config, load_results
from blipvqa.__main__ import main
from blipvqa.runs.run import RunError
from blipvqa.workflow import NOTEBOOKS

WINGS = 5  # their floor


@pytest.fixture
def notebooks(request):
    return {
        path.stem: nbformat.read(path, 4) for path in sorted((request.config.rootpath / "notebooks").glob("*.ipynb"))
    }


def test_notebooks_are_calls_and_pictures(notebooks):
    assert set(NOTEBOOKS) <= set(notebooks)
    for stem, notebook in notebooks.items():
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1, stem
        assert {"config_path", "name", "overrides"} <= {
            n.id for n in ast.walk(ast.parse(tagged[0].source)) if isinstance(n, ast.Name)
        }
        for cell in code:
            assert not cell.outputs, stem
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= 12
            banned = (ast.ClassDef, ast.FunctionDef, ast.Try, ast.With)
            assert not any(isinstance(node, banned) for node in ast.walk(ast.parse(cell.source))), stem
            last = ast.parse(cell.source).body[
                -1
            ]  # Jupyter shows a text in quotation marks, in lines that do not break
            arms = (last.value.body, last.value.orelse) if isinstance(getattr(last, "value", 0), ast.IfExp) else ()
            assert not any(isinstance(arm, ast.Constant | ast.JoinedStr) for arm in arms), (stem, cell.source)
        assert notebook.cells[0].cell_type == "markdown"


def test_notebooks_import_from_the_package_a_wing_and_the_pages(notebooks):
    """What stands between a wing and the disk may move without a notebook breaking."""
    faces = {
        "blipvqa",
        "blipvqa.pages",
        "blipvqa.bootstrapping",
        "blipvqa.continual",
        *(f"blipvqa.{wing}" for wing, floor in FLOORS.items() if floor == WINGS),
    }
    for stem, notebook in notebooks.items():
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert imports
        assert {ast.unparse(node) for node in imports if getattr(node, "module", None) not in faces} == set(), stem
        exec("\n".join(map(ast.unparse, imports)), {})  # what is imported is there: few notebooks run in this test


@pytest.fixture
def project(root, request):
    """The notebooks and a tiny config under a root of their own."""
    (root / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    (root / "configs").mkdir()
    (root / "configs" / "small.yaml").write_text(yaml.safe_dump({"train": {"epochs": 1}}))
    return root


WATCH = """
import os, sys

def note(text):
    with open(os.environ["NETWORK_LOG"], "a") as file:
        file.write(text + "\\n")

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        to = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = to[0] if isinstance(to, tuple) else to
        if isinstance(to, tuple) or event.startswith("socket.get"):  # else a socket in the file system
            if str(host) not in ("127.0.0.1", "::1", "localhost", "None", ""):
                note(f"attempt {event} {host}")
                raise OSError("no network in this test")

note("watched " + " ".join(sys.argv[:1]))
sys.addaudithook(watch)
"""


def test_make_run_executes_all_writes_the_report_and_asks_the_network_for_nothing(project, monkeypatch):
    """Every process, kernels too, is watched by an audit hook that forbids and notes connections beyond loopback."""
    (project / "watch").mkdir()
    (project / "watch" / "sitecustomize.py").write_text(WATCH)
    log = project / "network.log"
    monkeypatch.setenv("PYTHONPATH", str(project / "watch"), prepend=os.pathsep)
    monkeypatch.setenv("NETWORK_LOG", str(log))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    probe = [sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)"]
    assert "no network in this test" in subprocess.run(probe, capture_output=True, text=True).stderr
    assert "attempt socket.getaddrinfo 192.0.2.1" in log.read_text()
    log.write_text("")

    pairs = [f"{key}={json.dumps(value)}" for key, value in TINY.items()]
    command = [sys.executable, "-m", "blipvqa", "run", "configs/small.yaml", "--name", "whole", "--set", *pairs]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    run = Run(project / "outputs" / "whole")
    assert run.finished
    assert (run.folder / "report.html").exists()
    assert "outputs/whole/report.html" in done.stdout
    seen = log.read_text().splitlines()
    assert not [line for line in seen if line.startswith("attempt")]
    assert len(seen) >= 1 + len(NOTEBOOKS)
    for stem in NOTEBOOKS:
        notebook = nbformat.read(run.folder / "notebooks" / f"{stem}.ipynb", 4)
        assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
        streams = "".join(
            o.text
            for c in notebook.cells
            for o in c.get("outputs", [])
            if o.output_type == "stream" and o.name == "stderr"
        )
        assert "Warning" not in streams, streams
        shown = [
            set(o.data)
            for c in notebook.cells
            for o in c.get("outputs", [])
            if o.output_type in ("display_data", "execute_result")
        ]
        assert any("image/png" in kinds or "text/html" in kinds for kinds in shown), stem
    # by itself, from the notebooks folder, with parameters of its own
    single = papermill.execute_notebook(
        project / "notebooks" / "04_inspect_predictions.ipynb",
        project / "out.ipynb",
        kernel_name="python3",
        cwd=str(project / "notebooks"),
        progress_bar=False,
        parameters={
            "config_path": "configs/small.yaml",
            "name": "whole",
            "overrides": dict(TINY),
            "ranges": "0:5,900:1000",
            "columns": 3,
        },
    )
    assert "ends at the split" in str(single)


def test_a_failing_cell_fails_the_command_in_one_line(project, capsys):
    (project / "mine").mkdir()
    (project / "mine" / "train.jsonl").write_text('{"image": "none.png", "question": "a?", "answer": "b"}\n')
    assert main(["run", "configs/small.yaml", "--set", "data.source=mine", "model.name=scratch"]) == 2
    assert "row train/0: line 1 of train.jsonl: image 'none.png'" in capsys.readouterr().err
    (saved,) = (project / "outputs").rglob("01_explore_data.ipynb")
    outputs = [output for cell in nbformat.read(saved, 4).cells for output in cell.get("outputs", [])]
    (error,) = (output for output in outputs if output.output_type == "error")
    assert error.traceback == [f"{error.ename}: {error.evalue}"]  # none of our own frames
    assert main(["run", "configs/none.yaml"]) == 2
    assert main(["run", "configs/small.yaml", "--set", "train.epoch=3"]) == 2
    assert "train.epoch: unknown key" in capsys.readouterr().err


def test_a_look_too_early_names_what_to_run(root):
    with pytest.raises(RunError, match="03_evaluate"):
        load_results(load_config(None, dict(TINY)))


def test_bare_make_is_help(request):
    root = request.config.rootpath
    found = subprocess.run(["make", "-C", str(root)], capture_output=True, text=True, check=True).stdout
    for target in (
        "demo",
        "test",
        "test-slow",
        "run",
        "setup",
        "lab",
        "bench",
        "compare",
        "stress",
        "clean-cache",
        "lint",
    ):
        assert f"\n{target} " in f"\n{found}", target


def test_the_command_line_trains_evaluates_and_cleans(project, capsys):
    pairs = [f"{key}={json.dumps(value)}" for key, value in TINY.items()]
    for command in ("train", "evaluate", "report"):
        assert main([command, "configs/small.yaml", "--set", *pairs]) == 0
    assert main(["clean-cache"]) == 0
    assert "removed" in capsys.readouterr().out
    assert main(["compare", "small", "none"]) == 2
    assert sys.modules["blipvqa"]
