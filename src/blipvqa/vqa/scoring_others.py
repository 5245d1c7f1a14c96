"""`score_others`: a run folder of somebody else's predictions, with the whole page of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.config.reading import with_overrides
from blipvqa.data.dataset import Splits, load_splits
from blipvqa.data.fingerprint import fingerprint
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages.reporting import write_reporting
from blipvqa.runs.files import write_json, write_text
from blipvqa.runs.identity import rows_digest, write_rows
from blipvqa.runs.lock import lock
from blipvqa.runs.names import refuse_second_name
from blipvqa.runs.run import Run, RunError, indented
from blipvqa.runs.seals import write_sealed, write_sealed_text
from blipvqa.training.trained import Results, held_out, write_results
from blipvqa.vqa.measures import MEASURES
from blipvqa.vqa.notes import all_notes
from blipvqa.vqa.others import read_others
from blipvqa.vqa.own_files import check_file
from blipvqa.vqa.published import published
from blipvqa.vqa.report import report
from blipvqa.vqa.scores import score
from blipvqa.vqa.slices import slices

MARK = "predictions of "  # before who made them, in `model.name`: these are seeds of no recipe of ours


def score_others(config: Config, path: str | Path, split: str | None = None, resamples: int = 1000) -> Run:
    """Score the predictions in a file against `split` of a config's data, as the run `config.name`, and write its page.

    What needs a model is absent: confidence, grounding, explanations. Raises RunError where the name is that of a run
    with a model, or there is no such split; see `others.read_others` for what the file must hold.
    """
    if config.task != "vqa":
        raise ConfigError(f"task: predictions of others are answers to questions, and this config is of {config.task}")
    config = made_by(config, check_file(path).name)  # told before the data is read
    refuse_other_predictions(config)
    splits = load_splits(config)
    split = split or held_out(splits)
    if split not in splits:
        raise RunError(f"there is no split '{split}', only {', '.join(splits)}")
    predictions = read_others(path, splits[split])
    said = f"These are predictions of '{Path(path).name}', made elsewhere: what they were trained on is not known here."
    return write_predictions_of(config, splits, split, predictions, said, resamples)


def made_by(config: Config, maker: str) -> Config:
    """The settings of a run without a model, of predictions that `maker` made."""
    return with_overrides(config.as_dict(), {"model.name": f"{MARK}{maker}"})


def refuse_other_predictions(config: Config) -> None:
    """Raises RunError where the name is that of a run with a model, or of predictions of others or on other data, which
    would be lost."""
    refuse_second_name(config.folder)
    run = Run(config.folder)
    if run.exists and not str(run.config.model.name).startswith(MARK):
        raise RunError(f"'{run.name}' is a run with a model: give the predictions another name (--name)")
    if run.exists and (changed := run.settings_changes(config)):
        raise RunError(f"'{run.name}' holds other predictions:\n{indented(changed)}\nGive these another name (--name).")


def write_predictions_of(
    config: Config,
    splits: Splits,
    split: str,
    predictions: list[dict],
    said: str,
    resamples: int,
    further: Callable[[Bootstrap], dict] = lambda _bootstrap: {},
    warnings: Sequence[str] = (),
) -> Run:
    """The run `config.name`, without a model, of predictions that somebody made (`made_by`): its scores, with `further`
    ones, and its page, which says first what is `said` of them, and `warnings`."""
    run, bootstrap = Run(config.folder), Bootstrap(config.data.group, resamples, config.seed)
    train, rows = splits["train"].rows, fingerprint(splits)
    axes = splits[split].breakdown
    scores = dict(score(predictions, train=train, breakdown=axes, bootstrap=bootstrap))
    scores["published"] = published(predictions, bootstrap)
    scores["slices"] = slices(predictions, train=train, breakdown=axes, bootstrap=bootstrap)
    scores["split"] = split
    scores["data"] = all_notes(splits) | {"digest": rows_digest(rows), "changes": []}
    scores["warnings"] = [said, *warnings, *scores["data"]["leaks"], *scores["warnings"]]
    scores |= further(bootstrap)
    with lock(run.folder):
        write_sealed_text(run.folder / "config.yaml", write_yaml(config.as_dict()))
        write_rows(run.folder, rows)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(run.folder / "environment.json", {"started": started, "notes": [said]})
        write_sealed(run.folder / "state.json", {"finished": True, "epoch": 0, "why": "predictions of others"})
        write_results(run, scores, predictions, config, None)
        page = report(Results(run, splits, split, scores, predictions))
        write_text(run.folder / "report.html", page)
        write_reporting(run, splits, scores, {name: MEASURES.title(name) for name in MEASURES})
    return run
