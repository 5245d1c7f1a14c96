"""The only list of tasks, and what a person does with one: `fine_tune` and `evaluate`."""

from __future__ import annotations

from collections.abc import Iterable

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import load_splits
from blipvqa.models import loading
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


def load_model(name_or_path: str, config: Config | None = None, texts: Iterable[str] | None = None):
    """A model and its processor; see `models.loading.load_model`.

    Who asks for "scratch" and has no texts at hand gets those of the config's train split.
    """
    if name_or_path == "scratch" and config is not None and texts is None:
        texts = load_splits(config)["train"].texts
    return loading.load_model(name_or_path, config, texts)
