"""The run folder `outputs/<name>`, read through `Run`: a view of files, not of live objects.

Notebooks, the report and other machines read the same thing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from blipvqa.config.kinds import NAME_PATTERN
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.config.reading import load_config, read_yaml, settings_difference, with_overrides
from blipvqa.errors import UserError
from blipvqa.runs.files import read_json, read_lines, sweep
from blipvqa.runs.identity import Rows, read_rows, row_changes, write_rows
from blipvqa.runs.names import move_aside, refuse_second_name
from blipvqa.runs.seals import digest_of_file, read_sealed, read_sealed_text, write_sealed_text

NEW_NAME = "Give another name, or fresh: true, which moves the old folder aside."


# where data lies: rows are compared one by one
PLACES = ("data.source: ", "data.revision: ", "data.without.source: ", "data.without.revision: ")
USE = {
    "vqa": "ask and answer_all answer questions",
    "caption": "describe captions pictures",
    "retrieval": "search finds pictures and texts",
    "pairs": "judge says whether a statement about two pictures is true",
}


class RunError(UserError, RuntimeError):
    """A run folder that cannot be used as asked; the message says what to do."""


class Run:
    """What a run folder, named from the project's root, holds. Reading never changes it."""

    def __init__(self, folder: str | Path):
        self.folder = project_path(folder)  # a notebook's kernel works in another folder than the root

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

    def _meant(self) -> str:
        """Runs that a name without one may mean: those of a sequence or of CapFilt, or of a similar name."""
        names = [file.parent.name for file in sorted(self.folder.parent.glob("*/config.yaml"))]
        parts = [name for name in names if name.startswith(f"{self.name}-")] if self.folder.is_dir() else []
        if parts:
            return f" '{self.name}' holds what several runs made: {', '.join(parts)}. Name one of these."
        similar = difflib.get_close_matches(self.name, names, 3, 0.6)
        return f" Did you mean {' or '.join(similar)}?" if similar else ""

    @property
    def config(self) -> Config:
        """The settings as resolved. A key that an older version did not write has its default.

        Raises RunError where there are none, and where they hold keys or values that this version does not know.
        """
        file = self.folder / "config.yaml"
        if not file.exists():
            raise RunError(
                f"there is no run '{self.name}' yet: run notebook 02_finetune, then 03_evaluate, or all by make run."
                f"{self._meant()}"
            )
        settings = read_yaml(read_sealed_text(file), f"{self.name}/config.yaml")
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
        return self._json("state.json", read_sealed)

    @property
    def history(self) -> list[dict]:
        """One dict a log step (`type: step`) and one an epoch (`type: epoch`)."""
        return read_lines(self.folder / "history.jsonl", ("type", "step"))

    @property
    def samples(self) -> list[dict]:
        """The fixed validation samples, answered before training (epoch 0) and after each epoch."""
        return read_lines(self.folder / "samples.jsonl", ("epoch",))

    @property
    def model_folder(self) -> Path:
        """The export: loads in plain transformers."""
        return self.folder / "model"

    def check_model(self, task: str | None = None) -> None:
        """Raise RunError unless the run has a model, and is of `task` where one is named."""
        if not (self.model_folder / "config.json").exists():
            raise RunError(f"run '{self.name}' has no model yet: run notebook 02_finetune first")
        if task is not None:
            self.check_task(task)

    def check_task(self, task: str) -> None:
        """Raise RunError unless the run is of `task`."""
        if self.config.task != task:
            use = f"; {USE[self.config.task]} with this one" if self.config.task in USE else ""
            raise RunError(
                f"run '{self.name}' is of task {self.config.task}, expected {task}: name a run whose config says "
                f"task: {task}{use}"
            )

    def settings_changes(self, config: Config) -> list[str]:
        """A line `key: old -> new` for every setting of `config` that differs and is not safe to change."""
        changed = settings_difference(self.config.as_dict(), config.as_dict())
        return [f"{key}: {old!r} -> {new!r}" for key, (old, new) in changed.items()]

    def row_changes(self, rows: Rows) -> list[str]:
        """A line for every kind of difference between the data that made this run and `rows`.

        None for a run of an older version, which did not keep what its data was.
        """
        before = read_rows(self.folder)
        return [] if before is None else row_changes(before, rows)

    def has_predictions(self, split: str) -> bool:
        return (self.folder / f"predictions-{split}.jsonl").exists()

    @property
    def evaluated_split(self) -> str:
        """The split that was scored: test, or validation. Raises RunError, naming what to run."""
        for split in ("test", "validation"):
            if self.has_predictions(split) and (self.folder / f"metrics-{split}.json").exists():
                return split
        raise RunError(f"run '{self.name}' has no predictions yet: run notebook 03_evaluate first")

    def predictions(self, split: str) -> list[dict]:
        """Raises RunError, naming what to run, where there are none, or where they are not those that were scored."""
        if not self.has_predictions(split):
            raise RunError(f"run '{self.name}' has no predictions on {split}: run notebook 03_evaluate first")
        if (self.folder / f"metrics-{split}.json").exists():
            self.metrics(split)
        return read_lines(self.folder / f"predictions-{split}.jsonl", ("id", "image_id"))

    def metrics(self, split: str) -> dict:
        """Raises RunError, naming what to run, where there are none, or where they are of other weights or predictions
        than the run has."""
        file = self.folder / f"metrics-{split}.json"
        if not file.exists():
            raise RunError(f"run '{self.name}' has no metrics on {split}: run notebook 03_evaluate first")
        scores = read_sealed(file, ("overall", "by", "warnings"))
        made_by, weights = scores.get("made_by", {}), self.state.get("weights")  # neither: of an older version
        predictions = self.folder / f"predictions-{split}.jsonl"
        if weights and (made_by.get("weights") or weights) != weights:
            raise RunError(
                f"run '{self.name}' was scored on {split} with other weights than it has now: evaluate again"
            )
        if made_by and predictions.exists() and made_by["predictions"] != digest_of_file(predictions):
            raise RunError(
                f"'{self.name}/{predictions.name}' is not what {file.name} was computed from: evaluate again, which "
                "writes both"
            )
        return scores

    def scored_config(self, split: str) -> Config:
        """The settings that `split` was scored with: the run's own, but for what is safe to change."""
        made_by = self.metrics(split).get("made_by", {})
        return with_overrides(self.config.as_dict(), made_by.get("settings", {}))

    def _json(self, name: str, read: Callable[[Path], dict] = read_json) -> dict:
        file = self.folder / name
        return read(file) if file.exists() else {}


def open_run(config: Config, rows: Rows) -> Run:
    """The run folder for `config` and the data's `rows`: a new one, or the one of the same settings and data.

    Other settings raise ConfigError, other data RunError that counts what changed, unless `config.fresh` moves the old
    folder aside. A folder whose start failed before anything was made is taken over. What killed writers left is swept.
    """
    run = Run(config.folder)
    sweep(run.folder)
    if run.exists and run.started and (has_other_settings(config) or _has_other_data(run, config, rows)):
        print(f"{run.name}: the folder of other settings or other data is now {move_aside(run.folder).name}")
    if run.started and read_rows(run.folder) is None:  # what is there now proves nothing
        print(f"{run.name}: an older version made this run and did not keep its rows; the data is not compared")
    else:
        write_rows(run.folder, rows)
    write_sealed_text(run.folder / "config.yaml", write_yaml(config.as_dict()))
    return run


def has_other_settings(config: Config) -> bool:
    """Whether a run of this name was started with other settings and `config.fresh` lets it be moved aside.

    Raises ConfigError with the difference, or RunError for a run of another version, where it does not.
    """
    refuse_second_name(config.folder)
    run = Run(config.folder)
    if not (run.exists and run.started):
        return False
    try:
        changed = run.settings_changes(config)
    except RunError:
        if config.fresh:
            return True
        raise
    if changed and not config.fresh:
        raise ConfigError(f"run '{run.name}' exists with other settings:\n{indented(changed)}\n{NEW_NAME}")
    return bool(changed)


def _has_other_data(run: Run, config: Config, rows: Rows) -> bool:
    changed = run.row_changes(rows)
    if changed and not config.fresh:
        raise RunError(
            f"run '{run.name}' was made with other data:\n{indented(changed)}\nPut the data back as it was. To train "
            f"with the data as it is now: {NEW_NAME[0].lower()}{NEW_NAME[1:]}"
        )
    return bool(changed)


def run_config(name: str | None, path: str | Path | None = None, overrides: dict | None = None) -> Config:
    """The settings of the run `name` (None: that of the config, or "demo"), to evaluate it or to look at it.

    With `path` (a config file) they must be those of the run, but for what is safe to change. `overrides` change what
    is safe, such as `generate`. Raises RunError where there is no such run, ConfigError with the difference.
    """
    if path is None and name is None:
        name = "demo"
    if path is not None:
        config = load_config(path, overrides, name)
    else:
        own = named_run(name).config.as_dict()
        config = with_overrides(own, {**(overrides or {}), "name": name})  # its folder may have been renamed since
    refuse_other_settings(config)
    return config


def named_run(name: str) -> Run:
    """The run `name`, as a shell gives it. Raises ConfigError for a path, or what is else no run's own name."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"name: {name!r} is no run's name. Give the name of a folder in outputs/, or a config.")
    refuse_second_name(project_path("outputs") / name)
    return Run(project_path("outputs") / name)


def refuse_other_settings(config: Config) -> Run:
    """The run of `config`, which must have these settings, but for what is safe to change and where the data lies: its
    rows are compared one by one. Raises RunError where there is no run, ConfigError with the difference."""
    refuse_second_name(config.folder)
    run = Run(config.folder)
    changed = [line for line in run.settings_changes(config) if not line.startswith(PLACES)]
    if changed:
        raise ConfigError(
            f"run '{run.name}' was trained with other settings:\n{indented(changed)}\nGive its name alone: its own "
            "settings are used then. What it may differ in is `generate` and where its data lies."
        )
    return run


def indented(lines: list[str]) -> str:
    """The lines of an error's list."""
    return "\n".join(f"  {line}" for line in lines)
