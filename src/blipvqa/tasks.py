"""The only list of tasks, and what a person does with one: `fine_tune`, `evaluate`, `write_report`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from blipvqa.captions.task import CAPTION
from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits, load_splits
from blipvqa.models import loading
from blipvqa.pages.reporting import write_reporting
from blipvqa.pairs.task import PAIRS
from blipvqa.pretraining import PRETRAIN
from blipvqa.retrieval.task import RETRIEVAL
from blipvqa.runs.files import sweep, write_text
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError
from blipvqa.training import loop
from blipvqa.training.task import Collator, Task, Views
from blipvqa.training.trained import results_of
from blipvqa.vqa.task import VQA


def task_of(config: Config) -> Task:
    """The task that a config names."""
    match config.task:
        case "caption":
            return CAPTION
        case "pairs":
            return PAIRS
        case "pretrain":
            return PRETRAIN
        case "retrieval":
            return RETRIEVAL
        case _:
            return VQA


def fine_tune(config: Config, processes: int = 1) -> Run:
    """Train as `config` says and return its run folder, with the best weights exported to `model/`.

    See `training.loop.fine_tune` for resuming, several processes and what is raised.
    """
    return loop.fine_tune(config, task_of(config), processes)


def evaluate(config: Config, split: str | None = None, **options) -> Run:
    """Answer or describe `split` (None: test, or validation) with the run of `config`; write predictions and metrics.

    `options` are the task's: see `vqa.evaluation.evaluate` and `captions.evaluation.evaluate`.
    """
    return task_of(config).evaluate(config, split, **options)


def collator_for(processor, config: Config) -> Collator:
    """What turns rows into the batches of a config's task."""
    return task_of(config).collator(processor, config)


def views(config: Config) -> Views:
    """How the task of `config` is looked at: the figures, tables and galleries of notebooks 01 and 02."""
    return task_of(config).views()


def write_report(run: Run, splits: Splits) -> Path:
    """Write `outputs/<name>/report.html`, and `reporting.md` beside it, from what the run folder holds.

    Raises RunError where the run was not trained or not evaluated yet.
    """
    if not run.exists:
        raise RunError(f"run '{run.name}' does not exist: run notebook 02_finetune first")
    with lock(run.folder):
        sweep(run.folder)
        path = run.folder / "report.html"
        results = results_of(run, splits)
        write_text(path, views(run.config).report(results))
        write_reporting(run, splits, results.scores, task_of(run.config).measures)
        return path


def load_model(name_or_path: str | Towers, config: Config | None = None, texts: Iterable[str] | None = None):
    """A model and its processor; see `models.loading.load_model`.

    Who asks for "scratch" and has no texts at hand gets those of the config's train split.
    """
    if name_or_path == "scratch" and config is not None and texts is None:
        texts = load_splits(config)["train"].texts
    return loading.load_model(name_or_path, config, texts)
