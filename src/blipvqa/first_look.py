"""What is wrong with a command's input as far as a short look tells, before torch is imported, which takes ten seconds.

Notable:
- Nothing is refused here alone: those that read the data and the model refuse the same, in the same words.
- What takes long to read is left to them: large tables, zips, tars, and what only the `datasets` library reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blipvqa.config.kinds import names_of
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.config.reading import with_overrides
from blipvqa.data.checking import refuse_columns
from blipvqa.data.formats import refuse_missing
from blipvqa.data.parquet import number_of_rows
from blipvqa.data.split_names import TableFile, ending_of, tables_in
from blipvqa.data.tars import is_tar
from blipvqa.data.zips import is_zip
from blipvqa.models.folders import refuse_missing_model
from blipvqa.runs.run import Run, run_config
from blipvqa.vqa.own_files import check_file, refuse_input, refuse_output

QUICK = 20_000_000  # bytes of tables that are read in about a second
OF_A_ROW = 100  # bytes that count for a row of parquet, whose texts are read as they lie there
SAVED = ("dataset_dict.json", "state.json")  # of a set that `save_to_disk` wrote


def look_at_data(config: Config) -> None:
    """Raises SourceError or ConfigError where `data.source`, or what `data.without` names, is not there or lacks a
    column that the config names."""
    refuse_missing(config.data)
    if _reads_quickly(config.data.source):
        refuse_columns(config)
    if config.data.held_out:
        look_at_data(config.model_copy(update={"data": config.data.held_out}))


def look_at_training(config: Config, stages: Sequence[Config] = ()) -> None:
    """As `look_at_data`, of what a training reads: its data, or that of a sequence's `stages`, the clean pairs of
    CapFilt, and the models that it begins with."""
    for one in stages or (config,):
        look_at_data(one)
    if config.bootstrap.clean:
        look_at_data(with_overrides(config.as_dict() | {"data": {}, "bootstrap": {}}, {"data": config.bootstrap.clean}))
    if not _has_begun(config):  # a finished run needs its start no more
        for name in names_of(config.model.name):
            if name != "scratch":
                refuse_missing_model(name, config.model.revision)


def look_at_questions(source: str, questions: str | None, output: str) -> None:
    """Raises MissingFile, SourceError or InputError for what cannot be asked, or cannot be written to."""
    refuse_input(source, questions)
    refuse_output(output, source)


def look_at_predictions(path: str, config: Config) -> None:
    """As `look_at_data`, of a file of another program's predictions, too."""
    check_file(path)
    look_at_data(config)


def run_with_model(
    name: str | None, path: str | None = None, overrides: dict | None = None, task: str | None = None
) -> Config:
    """The settings of a run as `run_config` has them. Raises RunError where it has no model, or one of another task
    than `task`, too."""
    config = run_config(name, path, overrides)
    Run(config.folder).check_model(task)
    return config


def _has_begun(config: Config) -> bool:
    """Whether the run, or one of those that a sequence or CapFilt is made of, was started before."""
    parts = config.folder.parent.glob(f"{config.name}-*") if config.bootstrap.clean or config.continual.stages else ()
    return any(Run(folder).started for folder in (config.folder, *parts))


def _reads_quickly(source: str) -> bool:
    folder = project_path(source)
    if source == "synthetic" or not folder.exists():
        return False
    if not folder.is_dir():
        return not is_zip(folder) and not is_tar(folder)  # another file is no source
    if any((folder / name).exists() for name in SAVED):
        return False
    tables = tables_in(folder).values()
    if not tables:
        return not any(is_tar(path) for path in folder.rglob("*"))
    return sum(map(_cost, tables)) <= QUICK


def _cost(table: TableFile) -> int:
    if ending_of(table) == "parquet" and table.is_file():
        return OF_A_ROW * number_of_rows(table)
    return Path(table).stat().st_size
