"""`Task`: what one of BLIP's tasks hands to the loop, as plain values.

Notable:
- The loop knows no task by name: it turns rows into batches, batches into losses and epochs into numbers by the
  functions that stand here. Nobody inherits from a task and nothing registers itself; `blipvqa.tasks` lists them.
- A wing (`vqa`) builds its task in its own `task.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor, nn

from blipvqa.config.knobs import Config
from blipvqa.runs.run import Run
from blipvqa.training.comparison import Comparing

Batch = dict[str, Tensor]


class Collator(Protocol):
    """Rows to a batch: `input_ids [Q,L]` stands first, since accelerate takes a batch's size from its first tensor."""

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> Batch: ...

    def count_cut(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """How many texts of each kind are longer than the token limits and are cut."""
        ...


@dataclass(frozen=True)
class Losses:
    """What a forward pass costs: `per_row [Q]`, and what named parts, for the log, add to it, `[Q]` each."""

    per_row: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a step stands: for what changes from step to step, and for what is drawn over all processes together."""

    number: int  # of the step, from 0
    steps_an_epoch: int
    seed: int  # the step's own, the same in every process


@dataclass(frozen=True)
class Views:
    """How a task is looked at: what notebooks 01 and 02 show of it, and its report. Figures and HTML, from files."""

    split_table: Callable[[Mapping], Any]  # (splits): what each split holds
    texts: Callable[[Mapping], Any]  # (splits): what the texts of train say, drawn
    sample_grid: Callable[..., Any]  # (dataset, count, seed): pictures with their texts
    plot_history: Callable[..., Any]  # (run, reference curve): loss, scores, speed
    sample_progress: Callable[..., Any]  # (run, validation): the same rows before training and after epochs
    report: Callable[[Any], str]  # (training.trained.Results): the page
    asked: Callable[[Mapping], Sequence[str]]  # (prediction): what it is about, and what is right; the picture apart
    said: Callable[[Mapping], str]  # (prediction): what the model made of it


def nothing_told(_model: nn.Module, _config: Config, _splits: Mapping) -> None:
    """For a task whose exports say nothing of the rows that they were trained on."""


@dataclass(frozen=True)
class Task:
    """One task, as the loop sees it."""

    name: str  # of config.task
    texts: tuple[str, ...]  # the columns that every row needs
    model: type[nn.Module]  # the class that load_model returns
    collator: Callable[[Any, Config], Collator]  # (processor, config)
    losses: Callable[[nn.Module, Batch, Place], Losses]
    units: Callable[[Config, Batch], int]  # what a batch adds to the number that a step's loss is divided by
    validate: Callable[[Config, Mapping, Any, Accelerator], Callable[[nn.Module], tuple[dict, list[dict]]]]
    # (config, splits, processor, accelerator) -> model -> an epoch's numbers and samples
    measures: Mapping[str, str]  # what is counted on a split: names with their titles
    alone: bool  # whether a row's loss is independent of its batch; else a batch must not be cut into micro-batches,
    # and `losses` gathers the rows of all processes itself
    remembered: Callable[[nn.Module, Config], dict[str, Tensor]]
    # begins what training keeps beside the trained weights, once, on the model's device; checkpoints hold these tensors
    write_card: Callable[[Run], None]  # the model card, from what the run folder holds
    evaluate: Callable[..., Run]  # (config, split, **options): predictions and metrics of a trained run
    views: Callable[[], Views]  # how it is looked at; a call, so that no figure is loaded before one is drawn
    comparing: Comparing  # what two runs are compared by; tasks that share it can be compared with each other
    notebooks: tuple[str, ...]  # what `make run` executes, in order
    tell_model: Callable[[nn.Module, Config, Mapping], None] = nothing_told
    # (model, config, splits): before training, what config.json of the export says of the rows
    headline: tuple[str, ...] = ()  # names of `measures` that the board of all runs shows; empty: the first four

    @property
    def metrics(self) -> list[str]:
        """What `train.metric` may be: the loss, and measures of which more is better."""
        return ["loss", *(name for name in self.measures if self.comparing.measures[name].rises)]


def nothing_remembered(_model: nn.Module, _config: Config) -> dict[str, Tensor]:
    """For a task whose checkpoints need the trained weights only."""
    return {}
