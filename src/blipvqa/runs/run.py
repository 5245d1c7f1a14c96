"""The run folder `outputs/<name>`: written whole or not at all, read through `Run`.

Notable:
- `Run` is a view of files, not of live objects: notebooks, the report and other machines read the same thing.
- Every file is written beside its place, flushed to the disk and moved there, so a kill at any moment leaves the old
  file or the new one. Only `*.jsonl` logs grow in place; a torn last line is left out when they are read.
- One run at a time writes to a folder (`lock`); the operating system drops a dead process's lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from blipvqa.config.knobs import Config, ConfigError, project_root, read_yaml, settings_difference

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "peft", "pillow", "numpy")
_locked: set[Path] = set()  # by this process: the system's lock does not stop a process from taking it twice


class RunError(RuntimeError):
    """A run folder that cannot be used as asked; the message says what to do."""


class Run:
    """What a run folder holds. Reading never changes it."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {'finished' if self.finished else 'unfinished' if self.exists else 'not started'})"

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def exists(self) -> bool:
        return (self.folder / "config.yaml").exists()

    @property
    def finished(self) -> bool:
        """Whether training came to its end, by its epochs or early."""
        return bool(self.state.get("finished"))

    @property
    def config(self) -> dict:
        """The settings as resolved, or {}."""
        file = self.folder / "config.yaml"
        return read_yaml(file.read_text(encoding="utf-8"), f"{self.name}/config.yaml") if file.exists() else {}

    @property
    def environment(self) -> dict:
        """Versions, device, git commit, seed."""
        return self._json("environment.json")

    @property
    def state(self) -> dict:
        """How far training came: finished, epochs, the best epoch and its numbers."""
        return self._json("state.json")

    @property
    def history(self) -> list[dict]:
        """One dict a log step (`type: step`) and one an epoch (`type: epoch`)."""
        return read_lines(self.folder / "history.jsonl")

    @property
    def samples(self) -> list[dict]:
        """The fixed validation samples, answered before training (epoch 0) and after each epoch."""
        return read_lines(self.folder / "samples.jsonl")

    @property
    def model_folder(self) -> Path:
        """The export: loads in plain transformers."""
        return self.folder / "model"

    def has_predictions(self, split: str) -> bool:
        return (self.folder / f"predictions-{split}.jsonl").exists()

    def predictions(self, split: str) -> list[dict]:
        """Raises RunError, naming what to run, where there are none."""
        if not self.has_predictions(split):
            raise RunError(f"run '{self.name}' has no predictions on {split}: run notebook 03_evaluate first")
        return read_lines(self.folder / f"predictions-{split}.jsonl")

    def metrics(self, split: str) -> dict:
        """Raises RunError, naming what to run, where there are none."""
        file = self.folder / f"metrics-{split}.json"
        if not file.exists():
            raise RunError(f"run '{self.name}' has no metrics on {split}: run notebook 03_evaluate first")
        return json.loads(file.read_text(encoding="utf-8"))

    def _json(self, name: str) -> dict:
        file = self.folder / name
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


# ------------------------------------------------------------------------------------------------ writing


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends well, what it wrote is moved into place.

    `durable` flushes it to the disk first; what can be made again need not wait for that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        if durable:
            with open(beside, "rb") as file:
                os.fsync(file.fileno())
        beside.chmod(0o644)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """One JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """Add to a log in one write."""
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: str | Path) -> list[dict]:
    """The objects of a `.jsonl` file; a last line without its end was torn by a kill and is left out."""
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for a whole folder; the old one stays until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    old = beside.with_name(beside.name + ".old")
    try:
        yield beside
        beside.chmod(0o755)
        if path.exists():
            os.replace(path, old)
        os.replace(beside, path)
    finally:
        for rest in (beside, old):
            shutil.rmtree(rest, ignore_errors=True)


# ------------------------------------------------------------------------------------------------ one run a folder


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises RunError that names the process which holds it."""
    path = (folder.parent / f".{folder.name}.lock").resolve()  # beside it: the folder itself may be moved aside
    if path in _locked:
        raise RunError(f"run '{folder.name}' is already being written by this very process")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise RunError(
            f"run '{folder.name}' has nowhere to go: the folder '{folder.parent.name}' cannot be written "
            f"({error.strerror})"
        ) from None
    with opened as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RunError(
                f"run '{folder.name}' is being written by {holder}. Wait for it, stop it, or give this run "
                "another name."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        _locked.add(path)
        try:
            yield
        finally:
            _locked.discard(path)
            path.unlink(missing_ok=True)


def open_run(config: Config) -> Run:
    """The run folder for `config`: a new one, or the one of the same settings, to resume or to read.

    Changed settings raise ConfigError that shows the difference, unless `config.fresh` moves the old folder aside.
    """
    run = Run(config.folder)
    if run.exists:
        changed = settings_difference(run.config, config.as_dict())
        if changed and not config.fresh:
            lines = "\n".join(f"  {key}: {old!r} -> {new!r}" for key, (old, new) in changed.items())
            raise ConfigError(
                f"run '{run.name}' exists with other settings:\n{lines}\n"
                "Give another name, or fresh: true, which moves the old folder aside."
            )
        if changed:
            aside = run.folder.with_name(f"{run.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            os.replace(run.folder, aside)
            print(f"{run.name}: the folder of other settings is now {aside.name}")
    write_text(run.folder / "config.yaml", yaml.safe_dump(config.as_dict(), sort_keys=False, allow_unicode=True))
    return run


def sweep(folder: Path) -> None:
    """Remove what killed writers left beside the files they were writing."""
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def peak_memory_gib() -> float:
    """The most memory held so far: of the GPU's, or this process's on a CPU."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    unit = 1 if platform.system() == "Darwin" else 1024  # macOS counts bytes, Linux KiB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def describe_environment(config: Config, **more) -> dict:
    """What a run depended on: versions, platform, git commit, seed; nothing of the user or the machine's name."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git_commit": _git_commit(),
        "seed": config.seed,
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        **more,
    }


def _git_commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=project_root(), capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
