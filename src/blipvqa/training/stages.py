"""A run that begins with the weights of another: trained, gone on with, or left as it is where nothing changed.

Notable:
- What a stage begins with stands in `start.json` of its run folder, by digest. Where that is something else now, the
  stage counts as changed, as it does where its settings or rows are others.
"""

from __future__ import annotations

from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.models.weights import weights_digest
from blipvqa.runs.files import read_json, write_json
from blipvqa.runs.names import move_aside
from blipvqa.runs.run import Run, RunError
from blipvqa.training.loop import fine_tune
from blipvqa.training.shares import is_first, of_first
from blipvqa.training.task import Task

START = "start.json"  # in a stage's run folder


def run_stage(config: Config, task: Task) -> Run:
    """Train a stage, go on with it, or leave it as it is, where all that it depends on is as it was.

    Raises ConfigError or RunError where something changed, unless `config.fresh`, which moves its folder aside.
    """
    start = of_first(lambda: _begin(config))
    done = fine_tune(config, task)
    if start and is_first() and not (done.folder / START).exists():  # a new folder: the old one was moved aside
        write_json(done.folder / START, start)
    if not done.finished:
        raise RunError(f"run '{done.name}' stopped before its end: start again, and it goes on from there.")
    return done


def _begin(config: Config) -> dict | None:
    """The weights of a folder, or of several put together, that a stage begins with, noted in its run folder, or
    compared with the note there."""
    run, start, source = Run(config.folder), None, config.model.name
    if isinstance(source, Towers) or project_path(source).is_dir():
        start = {"weights": weights_digest(source, config)}
        if run.started and _began_otherwise(run, start):
            if not config.fresh:
                raise RunError(
                    f"run '{run.name}' began with other weights than {source} holds now: give another name, "
                    "or fresh: true, which moves the old folder aside and runs it anew."
                )
            move_aside(run.folder)
    if start and not run.started:
        write_json(run.folder / START, start)
    return start


def _began_otherwise(run: Run, start: dict) -> bool:
    file = run.folder / START
    return file.exists() and read_json(file) != start
