"""`learn_on`: every method's models, asked about every data set, and what was measured; stopped, it goes on.

Notable:
- What was trained, mixed or answered before is used again where all that it was made of is as it was.
- Methods that begin alike share runs: the first stage is one run, and "alone" and "plain" share it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.continual.distillation import Distilled
from blipvqa.continual.mixing import mix_models
from blipvqa.continual.rows import (
    QUESTION,
    REPLAYED,
    answered,
    asked_about,
    kept_questions,
    lines_of,
    replayed_rows,
    write_rows,
)
from blipvqa.continual.scores import Asked, score_sequence
from blipvqa.continual.stages import GROUP, SEQUENCES, Plan, Step, plan
from blipvqa.continual.words import check_words
from blipvqa.data.dataset import Splits, load_splits
from blipvqa.data.held_out import Names, held_out_names
from blipvqa.models.loading import load_model, save_model
from blipvqa.models.processes import number_of_processes
from blipvqa.models.weights import weights_digest
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.files import read_json, read_lines, replacing_folder, sweep, write_json, write_lines
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError
from blipvqa.runs.seals import read_sealed, write_sealed
from blipvqa.tasks import task_of
from blipvqa.training.settings import check_stage
from blipvqa.training.stages import run_stage
from blipvqa.training.trained import held_out, refuse_other_summary, rows_of
from blipvqa.vqa.elsewhere import answers_of

SUMMARY = "continual.json"


@dataclass(frozen=True)
class Learnt:
    """What `outputs/<name>` holds of a sequence: what was measured, and what each method forgot."""

    config: Config
    data: dict[str, Splits]  # of every stage, by its name
    scores: dict  # see `scores.score_sequence`
    forgotten: dict[str, list[dict]]  # by method: questions right after their stage and wrong at the end

    @property
    def folder(self) -> Path:
        return self.config.folder


def learn_on(config: Config, *, resamples: int = 1000, progress: bool = True) -> Learnt:
    """Learn `config.continual.stages` one after the other by each of its methods, and measure, in `outputs/<name>`.

    Raises ConfigError that lists what is wrong with the stages, before anything slow; what `fine_tune` raises; and
    RunError where what a run was made of changed and `config.fresh` is not set.
    """
    if number_of_processes() > 1:
        raise RunError("a sequence is learnt in one process: start blipvqa learn-on without accelerate launch")
    planned = plan(config)
    for step in (step for steps in planned.steps.values() for step in steps):
        check_stage(step.config, task_of(step.config), f"stage '{step.label}'")
    data = [load_splits(stage.config) for stage in planned.stages]
    with lock(config.folder):
        sweep(config.folder)
        learning = _Learning(planned, data, progress)
        warnings = learning.begin()
        models = {method: learning.models(method) for method in config.continual.methods}
        asked = [Asked("start", planned.start, number) for number in range(len(data))]
        asked += [one for method in models for one in _questions_to(method, planned.steps[method], len(data))]
        answers = {(one.label, one.number): learning.answers(one) for one in asked}
        bootstrap = Bootstrap("image_id", resamples, config.seed)
        scores, forgotten = score_sequence(planned, data, answers, bootstrap)
        mixes = {
            step.label: mix for step in planned.steps.get("interpolate", ()) if (mix := learning.mixes.get(step.label))
        }
        for method, rows in forgotten.items():
            write_lines(config.folder / f"forgotten-{method}.jsonl", rows)
        by_name = {stage.name: splits for stage, splits in zip(planned.stages, data, strict=True)}
        scores |= {"config": config.as_dict(), "mixes": mixes, "warnings": warnings + scores["warnings"]}
        write_sealed(config.folder / SUMMARY, scores | {"rows": rows_of(by_name)})
    return load_learnt(config, by_name)


def load_learnt(config: Config, data: dict[str, Splits] | None = None) -> Learnt:
    """What a sequence left in `outputs/<name>`, to look at it; `data` is that of its stages, where it was read already.

    Raises RunError where there is nothing yet, or other data than there is now; ConfigError where the settings differ.
    """
    file = config.folder / SUMMARY
    if not file.exists():
        raise RunError(f"'{config.name}' was not learnt yet: run notebook 09_continue, or blipvqa learn-on")
    scores = read_sealed(file)
    data = data or {stage.name: load_splits(stage.config) for stage in plan(config).stages}
    refuse_other_summary(config.name, scores, config, data)
    methods = [method for method in scores["methods"] if method in SEQUENCES]
    return Learnt(config, data, scores, {m: read_lines(config.folder / f"forgotten-{m}.jsonl") for m in methods})


def _questions_to(method: str, steps: list[Step], sets: int) -> list[Asked]:
    """Which models are asked about which sets: each alone about its own, the others about all."""
    return [
        Asked(step.label, step.model, number)
        for step in steps
        for number in range(sets)
        if method != "alone" or step.number == number + 1
    ]


class _Learning:
    """The runs of a sequence under way."""

    def __init__(self, planned: Plan, data: list[Splits], progress: bool):
        self.plan, self.data, self.progress = planned, data, progress
        self.config, self.folder = planned.config, planned.config.folder
        self.mixes: dict[str, dict] = {}
        self.done: set[str] = set()  # labels of steps whose model stands

    def begin(self) -> list[str]:
        """Write the model that all begin with, where it is drawn, and look whether it knows the stages' words."""
        config, start = self.config, self.plan.start
        if start != config.model.name:
            texts = [text for splits in self.data for text in splits["train"].texts]
            made_of = {"weights": weights_digest(config.model.name, config, texts)}
            beside, place = self.folder / "start.json", project_path(start)
            if not (place.is_dir() and beside.exists() and read_json(beside) == made_of):
                model, processor = load_model(config.model.name, config, texts)
                with replacing_folder(place) as new:
                    save_model(model, processor, new)
                write_json(beside, made_of)
        return check_words(self.plan, self.data)

    def models(self, method: str) -> list[str]:
        """Train a method's models that there are not yet."""
        steps = self.plan.steps[method]
        for before, step in zip([None, *steps], steps, strict=False):
            if step.label not in self.done:
                self._take(step, before)
                self.done.add(step.label)
        return [step.model for step in steps]

    def _take(self, step: Step, before: Step | None) -> None:
        task = task_of(step.config)
        if step.folder is not None:
            self._write_rows(step, before)
            if not Run(step.config.folder).finished:
                print(f"{step.config.name}: {self._where_scored(step)}")
        if step.method == "distil":
            task = replace(task, losses=Distilled(step.config))
        run = run_stage(step.config, task)
        if step.method == "interpolate":
            so_far = self.plan.stages[: step.number], self.data[: step.number]
            new = f"outputs/{run.name}/model"
            self.mixes[step.label] = mix_models(self.config, before.model, new, project_path(step.model), *so_far)

    def _where_scored(self, step: Step) -> str:
        """A run on mixed rows says that it has no test split: where its model is scored then."""
        stages = zip(self.plan.stages, self.data, strict=True)
        places = ", ".join(f"{held_out(splits)} of '{stage.name}'" for stage, splits in stages)
        return f"its mixed rows are train and validation alone: the sequence scores its model on {places}"

    def _write_rows(self, step: Step, before: Step | None) -> None:
        """The folder of mixed rows that a step is trained on."""
        names = [stage.name for stage in self.plan.stages]
        grouped = step.config.data.group_column == GROUP
        number = step.number - 1  # of its stage, from 0
        own = range(len(names)) if step.method == "joint" else [number]
        splits = {
            split: [line for j in own for line in lines_of(self.data[j][split], names[j], grouped=grouped)]
            for split in ("train", "validation")
        }
        if step.method == "replay":
            for j in range(number):
                rows = self._replayed(j)
                splits["train"] += lines_of(self.data[j]["train"], names[j], REPLAYED, rows, grouped)
        elif step.method == "questions":
            splits["train"] += lines_of(self._asked(step, before), names[number], QUESTION, grouped=grouped)
        write_rows(project_path(step.folder), splits)

    def _replayed(self, j: int) -> list[int]:
        held_out = frozenset().union(*(names for i, names in enumerate(self._held_out) if i != j))
        return replayed_rows(self.data[j]["train"], self.config.continual.replay, self.config.seed + j, held_out)

    @cached_property
    def _held_out(self) -> list[Names]:
        """What each stage holds out."""
        return [held_out_names([splits]) for splits in self.data]

    def _asked(self, step: Step, before: Step):
        """Earlier stages' questions about the new stage's pictures, as the last model answers them."""
        share, seed, number = self.config.continual.replay, self.config.seed, step.number - 1
        questions = [
            question for j in range(number) for question in kept_questions(self.data[j]["train"], share, seed + j)
        ]
        dataset = asked_about(self.data[number]["train"], questions, seed + number)
        asked = self.plan.stages[number].config
        name = f"{step.label}-asked"
        answers = answers_of(before.model, asked, dataset, self.folder / "answers", name, self._all, self.progress)
        return answered(dataset, answers)

    def answers(self, one: Asked) -> list[dict]:
        """What a model answers to the held-out rows of a set, kept."""
        stage, splits = self.plan.stages[one.number], self.data[one.number]
        name = f"{one.label}-on-{stage.name}"
        dataset = splits[held_out(splits)]
        return answers_of(one.model, stage.config, dataset, self.folder / "answers", name, self._all, self.progress)

    @property
    def _all(self) -> Mapping:
        """The training rows of all stages, whose answers are ranked where the config ranks."""
        return {"train": _Rows([row for splits in self.data for row in splits["train"].rows])}


@dataclass(frozen=True)
class _Rows:
    rows: list[dict]
