"""The run folder `outputs/<name>`, read through `Run`: a view of files, not of live objects.

Notebooks, the report and other machines read the same thing.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from pydantic import ValidationError

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.config.reading import read_yaml, settings_difference
from blipvqa.errors import UserError
from blipvqa.runs.files import flush_folder, move, read_lines, sweep, write_text


class RunError(UserError, RuntimeError):
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
    def started(self) -> bool:
        """Whether anything was made here beside the settings: a start can fail before that."""
        made = [self.folder / name for name in ("state.json", "history.jsonl", "samples.jsonl")]
        made += [*self.folder.glob("checkpoints/*"), *self.folder.glob("predictions-*.jsonl")]
        return self.model_folder.exists() or any(file.stat().st_size for file in made if file.exists())

    @property
    def config(self) -> Config:
        """The settings as resolved. A key that an older version did not write has its default.

        Raises RunError where there are none, and where they hold keys or values that this version does not know.
        """
        file = self.folder / "config.yaml"
        if not file.exists():
            raise RunError(f"there is no run '{self.name}': its config.yaml is missing. Train it first.")
        settings = read_yaml(file.read_text(encoding="utf-8"), f"{self.name}/config.yaml")
        try:
            return Config.model_validate(settings)
        except ValidationError as error:
            keys = ", ".join(".".join(str(part) for part in e["loc"]) or "config" for e in error.errors())
            raise RunError(
                f"run '{self.name}' is of another version: this one does not understand {keys} in its config.yaml. "
                "Use the version that made it, or give another name."
            ) from None

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


def open_run(config: Config) -> Run:
    """The run folder for `config`: a new one, or the one of the same settings, to resume or to read.

    Changed settings raise ConfigError that shows the difference, unless `config.fresh` moves the old folder aside. A
    folder whose start failed before anything was made is taken over. What killed writers left is swept up.
    """
    run = Run(config.folder)
    sweep(run.folder)
    if run.exists and run.started and _differs(run, config):
        aside = run.folder.with_name(f"{run.name}.{time.strftime('%Y%m%d-%H%M%S')}")
        move(run.folder, aside)
        flush_folder(run.folder.parent)
        print(f"{run.name}: the folder of other settings is now {aside.name}")
    write_text(run.folder / "config.yaml", write_yaml(config.as_dict()))
    return run


def _differs(run: Run, config: Config) -> bool:
    """Whether the settings differ and `config.fresh` allows it. Raises ConfigError or RunError where it does not."""
    try:
        changed = settings_difference(run.config.as_dict(), config.as_dict())
    except RunError:
        if config.fresh:
            return True
        raise
    if changed and not config.fresh:
        lines = "\n".join(f"  {key}: {old!r} -> {new!r}" for key, (old, new) in changed.items())
        raise ConfigError(
            f"run '{run.name}' exists with other settings:\n{lines}\n"
            "Give another name, or fresh: true, which moves the old folder aside."
        )
    return bool(changed)
