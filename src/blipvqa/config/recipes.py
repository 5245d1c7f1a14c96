"""Which settings a result depends on: what makes two runs the same run, or seeds of one recipe."""

from __future__ import annotations

import json
from typing import Any

from blipvqa.config.knobs import APPLIED_AFTER, TEXTS, Config, GenerateConfig
from blipvqa.config.reading import every_difference, flatten, settings_difference

# Knobs that change neither weights nor scores: runs that differ in these alone are one run.
WITHOUT_RESULT = (
    "name",
    "fresh",
    "reference_curve",
    "data.cache_dir",
    "data.cache_gigabytes",
    "train.workers",
    "train.samples",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.max_minutes",
    "train.tracker",
    "generate.batch_size",
)


def result_settings(config: Config) -> dict[str, Any]:
    """The settings that weights and scores depend on, {dotted key: value}."""
    unread = [f"{task}." for task in TEXTS if task != config.task]  # a section with a task's name is that task's
    unread += ["data.synthetic."] * (config.data.source != "synthetic")
    unread += ["model.scratch."] * (config.model.name != "scratch")
    unread += ["model.lora.alpha", "model.lora.dropout", "model.lora.towers"] * (config.model.lora.rank == 0)
    unread += ["bootstrap."] * (not config.bootstrap.clean)
    unread += ["continual."] * (config.continual.methods != ["distil"])  # a stage's loss has it; `stages` are runs
    of_questions = ["data.synthetic.dialogues", "data.synthetic.descriptions"]
    unread += ["data.synthetic.caption_noise"] if config.task == "vqa" else of_questions
    if "answer" not in config.texts:
        unread += [f"generate.{knob}" for knob in GenerateConfig.model_fields if knob != "precision"]
    elif config.generate.method != "rank":
        unread += ["generate.candidates", "generate.closed_yes_no", "generate.shortlist"]
    settings = flatten(config.as_dict())
    settings["generate.precision"] = config.generate.precision or config.train.precision
    return {k: v for k, v in settings.items() if k not in WITHOUT_RESULT and not k.startswith(tuple(unread))}


def result_difference(old: dict, new: dict) -> dict[str, tuple]:
    """As `settings_difference` of two `Config.as_dict()` trees, with what may be changed while a run goes on, and which
    changes what a model says: texts that were kept are of the old one."""
    without = (*WITHOUT_RESULT, *(f"generate.{knob}" for knob in APPLIED_AFTER))
    return settings_difference(old, new) | {
        key: values
        for key, values in every_difference(old, new).items()
        if key.startswith(("generate.", "caption.", "train.epochs", "train.patience")) and key not in without
    }


def recipe(config: Config) -> str:
    """What two runs have in common that differ in their seed alone, as one text; data are compared by their rows."""
    settings = {key: value for key, value in result_settings(config).items() if key not in ("seed", "data.source")}
    return json.dumps(settings, sort_keys=True)
