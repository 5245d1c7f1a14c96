"""Which data sets are learnt in which order, and every run that this takes: settings, checked before the first of them.

Notable:
- Each run is an ordinary run folder beside `outputs/<name>`, trained by the one loop (`training.stages`): it resumes
  like any run, and a finished one is not run again.
- Every method begins as plain fine-tuning: the first stage is one run that all of them go on from.
- All that is wrong with a sequence is one message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.reading import load_config, merge_overrides, with_overrides

SEQUENCES = ("plain", "replay", "questions", "distil", "interpolate", "lora")  # methods that learn stage by stage
OWN_SETTINGS = ("name", "data", "train")  # what a stage may say
READ_BY_MODEL = ("max_question_tokens", "max_answer_tokens")  # of `data`: the sequence's, as the rest of the model
GROUP = "group"  # the column of who a picture is of, in folders of mixed rows
NO_STAGES = (
    "continual.stages names no data set: give configs in the order in which they are learnt, e.g. continual.stages: "
    "[a.yaml, b.yaml]"
)


@dataclass(frozen=True)
class Stage:
    """One data set of a sequence."""

    name: str
    config: Config  # the sequence's settings with this stage's data


@dataclass(frozen=True)
class Step:
    """One model of a method: what is trained for it, and where it lies."""

    method: str
    number: int  # of its stage, from 1; 0 where it learns all of them
    label: str  # of what it answers
    config: Config  # of its training
    folder: (
        str | None
    )  # the folder of mixed rows that it is trained on, from the project's root; None: the stage's data
    model: str  # the export, from the project's root


@dataclass(frozen=True)
class Plan:
    """A sequence, ready to run."""

    config: Config
    stages: list[Stage]
    start: str  # the model that the first stage begins with: a folder from the project's root, or a Hub id
    steps: dict[str, list[Step]]  # by method, in order


def plan(config: Config) -> Plan:
    """Every run of a sequence. Raises ConfigError that lists all that is wrong with its stages."""
    if not config.continual.stages:
        raise ConfigError(NO_STAGES)
    stages, problems = [], []
    for number, entry in enumerate(config.continual.stages, 1):
        try:
            stages.append(_stage(config, entry))
        except ConfigError as error:
            problems.append(f"stage {number}: {error}")
    problems += _doubled(stages)
    if problems:
        raise ConfigError(f"continual.stages of '{config.name}':\n" + "\n".join(f"  {each}" for each in problems))
    # what is drawn, put together or of one revision has no name by which later stages could ask for it again
    own = not isinstance(config.model.name, str) or config.model.name == "scratch" or config.model.revision is not None
    start = f"outputs/{config.name}/start" if own else config.model.name
    steps = {method: _steps(config, stages, start, method) for method in config.continual.methods}
    return Plan(config, stages, start, steps)


def _stage(config: Config, entry: str | dict) -> Stage:
    if isinstance(entry, str):
        other = load_config(entry)
        if other.task != config.task:
            raise ConfigError(f"'{entry}' is of task {other.task}, and the sequence of task {config.task}")
        name, own = other.name, {"data": other.data.model_dump(mode="json")}
    else:
        strange = sorted({str(key).split(".")[0] for key in entry} - set(OWN_SETTINGS))
        if strange or not isinstance(entry.get("name"), str):
            raise ConfigError(
                f"may say {', '.join(OWN_SETTINGS)} and needs a name, found {', '.join(map(str, entry)) or 'nothing'}: "
                "model and all else are the sequence's"
            )
        name, own = entry["name"], {key: value for key, value in entry.items() if key != "name"}
    tree = config.as_dict() | {"continual": {}, "name": name}
    if isinstance(entry, str):
        tree["data"], own = own["data"] | {key: tree["data"][key] for key in READ_BY_MODEL}, {}
    return Stage(name, with_overrides(tree, own, f"stage '{name}'"))


def _doubled(stages: list[Stage]) -> list[str]:
    names = Counter(stage.name for stage in stages)
    problems = [f"{n} stages are called '{name}': each needs a name of its own" for name, n in names.items() if n > 1]
    for i, stage in enumerate(stages):
        same = [other.name for other in stages[:i] if other.config.data == stage.config.data]
        if same and names[stage.name] == 1:
            problems.append(f"stage '{stage.name}' has the data of stage '{same[0]}'")
    return problems


def _steps(config: Config, stages: list[Stage], start: str, method: str) -> list[Step]:
    if method == "joint":
        folder = f"outputs/{config.name}/rows/joint"
        own = {**_begun(config, start), "name": f"{config.name}-joint"}
        joint = _mixed(stages[0].config, folder, any(stage.config.data.group_column for stage in stages))
        joint = with_overrides(joint, {**own, "train": config.train.model_dump(mode="json")}, "joint")
        return [Step(method, 0, "joint", joint, folder, f"outputs/{joint.name}/model")]
    steps = [_trained(config, stages[0], 1, "", start)]
    for number, stage in enumerate(stages[1:], 2):
        begin = start if method == "alone" else steps[-1].model
        steps.append(_trained(config, stage, number, method, begin, stages[: number - 1]))
    return steps


def _trained(
    config: Config, stage: Stage, number: int, method: str, start: str, before: list[Stage] | None = None
) -> Step:
    """The step that learns a stage; the first one is no method's own."""
    label = "-".join(filter(None, (method, str(number), stage.name)))
    own = {**_begun(config, start), "name": f"{config.name}-{label}"}
    tree, folder, model = stage.config.as_dict(), None, f"outputs/{config.name}-{label}/model"
    match method:
        case "replay" | "questions":
            folder = f"outputs/{config.name}/rows/{label}"
            tree = _mixed(stage.config, folder, any(s.config.data.group_column for s in (*(before or []), stage)))
        case "distil":
            settings = config.continual
            own["continual"] = {
                "methods": ["distil"],
                "distil": settings.distil,
                "temperature": settings.temperature,
            }
        case "lora":
            own["model.lora.rank"] = config.continual.lora_rank
        case "interpolate":
            model = f"outputs/{config.name}/mixed/{label}"
    return Step(method or "first", number, label, with_overrides(tree, own, f"stage '{label}'"), folder, model)


def _begun(config: Config, start: str) -> dict:
    return {} if start == config.model.name else {"model.name": start, "model.revision": None}


def _mixed(config: Config, folder: str, grouped: bool) -> dict:
    """Settings with the data of a folder of mixed rows."""
    data = {key: getattr(config.data, key) for key in ("cache_dir", "cache_gigabytes", "history", *READ_BY_MODEL)}
    return config.as_dict() | {
        "data": merge_overrides(data, {"source": folder} | ({"group_column": GROUP} if grouped else {}))
    }
