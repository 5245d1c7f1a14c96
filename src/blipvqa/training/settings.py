"""Settings that only a task or what is installed can judge, checked before anything slow begins."""

from __future__ import annotations

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.runs.run import Run, has_other_settings
from blipvqa.training.task import Task


def check_stage(config: Config, task: Task, where: str) -> None:
    """As `check_settings`, of one of several runs, before the first of them; `where` is what an error calls it."""
    try:
        check_settings(config, task)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def check_settings(config: Config, task: Task) -> None:
    """Raises ConfigError for a metric that the task does not have, or of which more is not better, a batch that cannot
    be cut, a missing tracker; but for a finished run of these settings, which an older version may have trained."""
    try:
        _check_training(config, task)
    except ConfigError:
        run = Run(config.folder)
        if not run.finished or has_other_settings(config) or more_epochs(run, config):
            raise


def more_epochs(run: Run, config: Config) -> bool:
    """Whether a finished run goes on, since `config` asks for more epochs than it was trained for."""
    return run.state["why"] == "epochs" and run.state["epoch"] < config.train.epochs


def _check_training(config: Config, task: Task) -> None:
    train = config.train
    check_choice(config, task)
    if train.micro_batch_size and not task.alone:
        raise ConfigError(
            f"train.micro_batch_size: a row's loss in {task.name} depends on the other rows of its batch, so a batch "
            "cannot be cut into smaller ones. Leave it out, or lower train.batch_size."
        )
    if train.tracker:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        if train.tracker not in map(str, get_available_trackers()):
            package = LOGGER_TYPE_TO_CLASS[train.tracker].name
            raise ConfigError(f"train.tracker: {train.tracker} is not installed: pip install {package}")


def check_choice(config: Config, task: Task) -> None:
    """Raises ConfigError where `train.metric` can choose nothing: the task does not have it, or more is not better."""
    metric = config.train.metric
    if metric not in task.metrics:
        why = "is no measure of which more is better, and" if metric in task.measures else "is"
        raise ConfigError(f"train.metric: '{metric}' {why} none of {', '.join(task.metrics)}")
