"""What an installation promises: a command, type information, one version, and the same commands on every system."""

import ast
import fnmatch
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from test_floors import ROOT

from blipvqa.__main__ import main
from blipvqa.config.reading import load_config

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TINY_DRAWN = ["data.synthetic.images={train: 12, validation: 4, test: 4}", "model.scratch.layers=1", "train.epochs=1"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))


def test_the_console_script_is_the_command_line(capsys):
    module, function = PROJECT["project"]["scripts"]["blipvqa"].split(":")
    with pytest.raises(SystemExit, match="0"):
        getattr(importlib.import_module(module), function)(["--help"])
    assert "usage: blipvqa" in capsys.readouterr().out


def test_every_file_that_is_no_module_is_packaged():
    """setuptools installs modules by itself, and other files only where `package-data` names them."""
    package = ROOT / "src" / "blipvqa"
    others = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "py.typed" in others
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["blipvqa"]
    assert [name for name in others if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


def test_a_project_is_laid_out_from_the_package(root, capsys):
    for _ in range(2):  # again changes nothing
        assert main(["init", str(root / "my project")]) == 0
    for folder in ("configs", "notebooks"):
        copies = {path.name: path.read_bytes() for path in (root / "my project" / folder).iterdir()}
        assert copies == {path.name: path.read_bytes() for path in (ROOT / folder).glob("*.*")}
    assert load_config(root / "my project" / "configs" / "demo.yaml").name == "demo"
    (root / "my project" / "configs" / "demo.yaml").write_text("name: mine", encoding="utf-8")
    (root / "my project" / "configs" / "report.yaml").unlink()
    assert main(["init", str(root / "my project")]) == 2
    assert "demo.yaml: there already, with other content; nothing was copied" in capsys.readouterr().err
    assert not (root / "my project" / "configs" / "report.yaml").exists()


@pytest.mark.slow
def test_wheel_and_sdist_hold_all_that_a_project_needs(tmp_path):
    """Built by pip as from the index, then unpacked in an empty folder: a tiny run from what `init` laid out."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "--target", str(tmp_path / "tools"), "build"], check=True)
    tools = {**os.environ, "PYTHONPATH": str(tmp_path / "tools")}
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)], check=True, env=tools)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path / "sdist")
    unpacked = next((tmp_path / "sdist").iterdir())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    absent = {name for name in tracked if not (unpacked / name).exists()}
    assert absent <= {".gitignore", ".gitattributes", ".ci/run"}
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), tmp_path / "wheel", "zip")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "wheel")}
    for command in (
        ["init", "mine"],
        ["train", "configs/demo.yaml", "--set", *TINY_DRAWN],
        ["evaluate", "--name", "demo"],
        ["report", "--name", "demo"],
    ):
        where = tmp_path if command[0] == "init" else tmp_path / "mine"
        result = subprocess.run(
            [sys.executable, "-m", "blipvqa", *command], cwd=where, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / "mine" / "outputs" / "demo" / "report.html").exists()


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert citation["version"] == released[0] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]


ON_WINDOWS = """
import builtins, os, signal
import accelerate, datasets, matplotlib.pyplot, peft, sacrebleu, torch, transformers  # these know Windows

for place, names in (
    (os, "fork geteuid getuid getpgid killpg mkfifo nice sched_getaffinity setsid sysconf uname O_DIRECTORY O_NOFOLLOW"),
    (signal, "SIGALRM SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm pause setitimer"),
):
    for name in names.split():
        delattr(place, name)
usual = builtins.__import__

def without_unix(name, globals=None, *rest, **named):
    if (globals or {}).get("__name__", "").startswith("blipvqa") and name in ("fcntl", "resource", "pwd", "grp", "termios"):
        raise ModuleNotFoundError(f"no module {name} on Windows, imported by {globals['__name__']}")
    return usual(name, globals, *rest, **named)

builtins.__import__ = without_unix
del os.pread, os.pwrite, os.preadv, os.pwritev
import pkgutil, blipvqa
for module in pkgutil.walk_packages(blipvqa.__path__, "blipvqa."):
    __import__(module.name)
import io, sys, tarfile
from pathlib import Path
from blipvqa.runs.environment import peak_memory_gib
assert torch.cuda.is_available() or peak_memory_gib() is None
from blipvqa.data.tars import TarPictures, tar_tables

path = Path(sys.argv[1], "train-0.tar")
with tarfile.open(path, "w") as tar:
    for name, content in (("7.json", b'{"caption": "seven"}'), ("7.png", b"seven")):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
pictures = TarPictures([path])
rows = [row for table in tar_tables([path], pictures) for row in table.rows]
assert pictures.cell(0) == b"seven" and "seven" in str(rows)
"""


def test_every_module_imports_where_the_modules_of_unix_are_missing(tmp_path):
    """An import of one of them, or of a signal of theirs, at the top of a file would end every command on Windows."""
    result = subprocess.run([sys.executable, "-c", ON_WINDOWS, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def reads_in_the_systems_encoding(call: ast.Call) -> bool:
    """Whether a call opens a text without naming its encoding, which on Windows is not UTF-8."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    function = ast.unparse(call.func).split(".")[-1]
    if "encoding" in named or None in named:
        return False
    if isinstance(call.func, ast.Name) and function == "open":
        mode = call.args[1] if len(call.args) > 1 else named.get("mode")
        return not (isinstance(mode, ast.Constant) and "b" in mode.value)
    if function in ("read_text", "write_text") and isinstance(call.func, ast.Attribute):
        return len(call.args) < (1 if function == "read_text" else 2)
    return "text" in named and "subprocess" in ast.unparse(call.func)


def test_no_text_is_read_or_written_in_the_systems_encoding():
    places = [
        f"{path.relative_to(ROOT).as_posix()}:{node.lineno} {ast.unparse(node)[:60]}"
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and reads_in_the_systems_encoding(node)
    ]
    assert places == []


@pytest.mark.slow
def test_the_tiny_run_of_the_workflow_runs(root):
    """The commands for macOS and Windows: they train, evaluate and report on the sample of real pictures."""
    job = WORKFLOW["jobs"]["import-and-tiny-run"]
    assert "for step in train evaluate report; do blipvqa $step $TINY; done" in [
        step.get("run") for step in job["steps"]
    ]
    for folder in ("configs", "tests/data/vqa-rad"):
        shutil.copytree(ROOT / folder, root / folder)  # Windows lets few users make links
    for step in ("train", "evaluate", "report"):
        command = [sys.executable, "-m", "blipvqa", step, *job["env"]["TINY"].split()]
        result = subprocess.run(command, capture_output=True, text=True, cwd=root, env=dict(os.environ))
        assert result.returncode == 0, result.stderr[-2000:]
    assert (root / "outputs" / "tiny" / "report.html").exists()
