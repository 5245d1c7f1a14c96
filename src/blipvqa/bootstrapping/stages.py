"""The runs that CapFilt is made of: their settings, checked before the first of them.

Notable:
- Each stage is an ordinary run folder beside `outputs/<name>`, trained by the one loop: it resumes like any run, and a
  finished one is not run again (`training.stages`).
- A stage begins with the weights that the one before exported.
"""

from __future__ import annotations

from dataclasses import dataclass

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.reading import merge_overrides, with_overrides
from blipvqa.config.task_knobs import TASK_DEFAULTS
from blipvqa.runs.run import Run
from blipvqa.tasks import task_of
from blipvqa.training import stages
from blipvqa.training.settings import check_stage

GROUP = "group"  # the column of who a picture is of, in the folder of kept texts
NO_CLEAN_PAIRS = (
    "bootstrap.clean says nothing: captioner and filter learn from pairs that are right. Give their `data`, e.g. "
    "bootstrap.clean: {source: folder}"
)
ONE_OTHER = (
    "data.without is of one other source, and bootstrap.clean holds out pictures or patients of data.source, too: take "
    "them out of data.source, or leave data.without out"
)


@dataclass(frozen=True)
class Round:
    """The stages of one round; the first round's `pretrained` is None where `bootstrap.start` names a model."""

    number: int  # from 1
    start: str  # the model that captioners and filters begin with
    pretrained: Config | None
    captioners: list[Config]
    filters: list[Config]
    writing: list[Config]  # of each captioner, with how its captions are written
    folder: str  # what is kept, from the project's root
    anew: Config  # the pre-training on what was kept

    @property
    def prefix(self) -> str:
        """What files of this round begin with."""
        return f"round{self.number}"


def plan(config: Config, apart: bool = False) -> list[Round]:
    """Every round's stages; `apart`: the first pre-training leaves out what the clean pairs hold out, which it would
    learn from the pairs in doubt. Raises ConfigError where a stage's settings are impossible, before anything slow."""
    settings = config.bootstrap
    if not settings.clean:
        raise ConfigError(NO_CLEAN_PAIRS)
    rounds, start, pretrained = [], settings.start, None
    if start is None:
        pretrained = _stage(config, "pretrained", "pretrain", _apart(config) if apart else None)
        start = exported(pretrained)
    for number in range(1, settings.rounds + 1):
        rounds.append(_round(config, number, start, pretrained))
        start, pretrained = exported(rounds[-1].anew), None
    return rounds


def exported(config: Config) -> str:
    """The export of a stage's run, from the project's root."""
    return f"outputs/{config.name}/model"


def clean_config(config: Config) -> Config:
    """Pre-training on the clean pairs: for their rows and pictures."""
    return _stage(config, "clean", "pretrain", data=_clean(config), where="bootstrap.clean")


def _round(config: Config, number: int, start: str, pretrained: Config | None) -> Round:
    settings, before = config.bootstrap, f"round{number}-" if number > 1 else ""
    begun = {"model.name": start, "model.revision": None}

    def members(kind: str, task: str, count: int, own: dict) -> list[Config]:
        return [
            _stage(
                config,
                f"{before}{kind}{f'-seed{config.seed + i}' if i else ''}",
                task,
                begun | {"seed": config.seed + i} | own,
                _clean(config, i),
                f"bootstrap.{kind}",
            )
            for i in range(count)
        ]

    if settings.shared:
        both = members("filter", "pretrain", max(settings.captioners, settings.filters), settings.filter)
        captioners, filters = both[: settings.captioners], both[: settings.filters]
    else:
        captioners = members("captioner", "caption", settings.captioners, settings.captioner)
        filters = members("filter", "retrieval", settings.filters, settings.filter)
    folder = f"outputs/{config.name}/bootstrapped{f'-{number}' if number > 1 else ''}"
    return Round(
        number,
        start,
        pretrained,
        captioners,
        filters,
        [_writing(config, captioner) for captioner in captioners],
        folder,
        _stage(config, f"{before}bootstrapped", "pretrain", data=_bootstrapped(config) | {"source": folder}),
    )


def _writing(config: Config, captioner: Config) -> Config:
    """The settings by which a captioner writes and reads; one that learnt by pre-training learnt without a prompt, and
    as much of a text as `retrieval` says."""
    own: dict = {"sample": config.bootstrap.write == "nucleus"}
    if captioner.task != "caption":
        own |= {"prompt": ""} | captioner.retrieval.model_dump(include={"max_words", "max_tokens"})
    return with_overrides(captioner.as_dict(), {"task": "caption", "caption": own})


def _stage(
    config: Config, name: str, task: str, own: dict | None = None, data: dict | None = None, where: str = "a stage"
) -> Config:
    """The run's settings for a stage of `task`, with its `own` and with other `data`: what keeps the best epoch, and
    what a loss is divided by, is that task's."""
    tree = config.as_dict() | {"name": f"{config.name}-{name}", "task": task, "bootstrap": {}}
    tree |= {} if data is None else {"data": data}
    if task != config.task:
        for knob in ("metric", "loss"):
            tree["train"].pop(knob)
        tree["train"] |= {k: v for k, v in TASK_DEFAULTS[task]["train"].items() if k in ("metric", "loss")}
    stage = with_overrides(tree, own, where)
    check_stage(stage, task_of(stage), where)
    return stage


def _clean(config: Config, member: int = 0) -> dict:
    """The clean pairs' `data`: held out from a member with another seed are those that are held out from the first."""
    cut = {"validation_seed": config.seed} if member else {}
    return merge_overrides(_plain(config) | cut, config.bootstrap.clean)


def _apart(config: Config) -> dict:
    if config.data.without is not None:
        raise ConfigError(ONE_OTHER)
    clean = merge_overrides({}, config.bootstrap.clean)
    clean.pop("without", None)  # it takes rows from their train alone
    return {"data.without": clean}


def _bootstrapped(config: Config) -> dict:
    """How the folder of kept texts is read: with groups where one of its two sources has them."""
    grouped = config.data.group_column or config.bootstrap.clean.get("group_column")
    return _plain(config) | ({"group_column": GROUP} if grouped else {})


def _plain(config: Config) -> dict:
    """A `data` section that says only where the cache lies."""
    return {"cache_dir": config.data.cache_dir, "cache_gigabytes": config.data.cache_gigabytes}


def run_stage(config: Config) -> Run:
    """`training.stages.run_stage` of the config's task."""
    return stages.run_stage(config, task_of(config))
