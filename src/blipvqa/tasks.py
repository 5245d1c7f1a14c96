"""The only list of tasks, and what a person does with one: `fine_tune` and `evaluate`."""

from __future__ import annotations

from blipvqa.config.knobs import Config
from blipvqa.runs.run import Run
from blipvqa.training import loop
from blipvqa.training.task import Task
from blipvqa.vqa.task import VQA


def task_of(config: Config) -> Task:
    """The task that a config names."""
    return VQA


def fine_tune(config: Config, processes: int = 1) -> Run:
    """Train as `config` says and return its run folder, with the best weights exported to `model/`.

    See `training.loop.fine_tune` for resuming, several processes and what is raised.
    """
    return loop.fine_tune(config, task_of(config), processes)
