"""The doors to a trained run: to answer with its model, and to look at what it answered.

Notable:
- A run is more than its name. Both doors compare settings and data with those that made it, so that nobody's numbers
  are replaced by those of other data, and no question is shown under another's picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.reading import SAFE_TO_CHANGE
from blipvqa.config.recipes import result_difference, result_settings
from blipvqa.data.dataset import Splits, VQADataset, load_splits
from blipvqa.data.duplicates import duplicate_notes, near_duplicates
from blipvqa.data.fingerprint import fingerprint
from blipvqa.models.loading import load_processor
from blipvqa.models.tokenizer import prepare_caption, unknown_texts
from blipvqa.models.weights import weights_digest
from blipvqa.runs.environment import files_read
from blipvqa.runs.files import sweep, write_lines
from blipvqa.runs.identity import rows_digest
from blipvqa.runs.run import Run, RunError, indented, refuse_other_settings
from blipvqa.runs.seals import digest_of_file, write_sealed
from blipvqa.text import encodable
from blipvqa.training.cut_texts import cut_notes, read_of_scored
from blipvqa.training.shares import join_processes, locked, of_first
from blipvqa.training.starts import learnt_before
from blipvqa.training.task import Collator


@dataclass(frozen=True)
class Trained:
    """A run with a model, and the data to ask it about."""

    run: Run
    splits: Splits
    split: str  # the one to answer
    changes: list[str]  # what of the data is not as it was in training; empty, but where new data was asked for
    digest: str  # of all rows, as they are now

    @property
    def warnings(self) -> list[str]:
        """What a score of this data says first."""
        changes = "; ".join(self.changes)
        return [f"Evaluated as new data: it is not as it was in training ({changes})."] if changes else []


@dataclass(frozen=True)
class Results:
    """What a run answered on one split, with the data that it answered."""

    run: Run
    splits: Splits
    split: str
    scores: dict  # metrics-<split>.json
    predictions: list[dict]  # predictions-<split>.jsonl


@contextmanager
def trained_run(
    config: Config, split: str | None = None, new_data: bool = False, task: str | None = None
) -> Iterator[Trained]:
    """The run of `config` to answer `split` (None: the held-out one), held by its lock: nobody trains it meanwhile.

    Raises RunError where there is no model, or one of another task than `task`, or no such split, where another
    process writes to the run, and where the data is not as it was in training, unless `new_data`; ConfigError where the
    settings differ.
    """
    join_processes()
    run = Run(config.folder)
    check_weights(run, task)
    refuse_other_settings(config)
    with locked(run.folder):
        of_first(lambda: sweep(run.folder))
        splits = load_splits(config)
        split = split or held_out(splits)
        if split not in splits:
            raise RunError(f"there is no split '{split}', only {', '.join(splits)}")
        rows = fingerprint(splits)
        changes = run.row_changes(rows)
        if changes and not new_data:
            raise RunError(
                f"the data is not as it was when run '{run.name}' was trained:\n{indented(changes)}\nPut it back, "
                "train anew with fresh: true, or evaluate it as new data, which the report then says: new_data=True in "
                "Python and in notebook 03, --new-data in a shell."
            )
        yield Trained(run, splits, split, changes, rows_digest(rows))


def check_weights(run: Run, task: str | None = None) -> None:
    """Raises RunError unless a run has a model, of `task` where one is named, and of a finished run the one that
    training exported; an older version did not keep what that was."""
    run.check_model(task)
    exported = run.state.get("weights")
    if run.finished and exported and exported != weights_digest(run.model_folder):
        raise RunError(
            f"'{run.name}/model' is not what training wrote there: a file in it was changed. Put it back, or use it "
            "by itself: load_model takes a folder, and so does model.name of a config"
        )


def write_scores(
    trained: Trained,
    scores: dict,
    predictions: list[dict],
    config: Config,
    weights: str,
    collator_for: Callable[[Any, Config], Collator],
) -> None:
    """Write predictions and metrics of a split, with what is known of its data, whose warnings come first, and by which
    settings and weights they were made."""
    look_alikes = near_duplicates(trained.splits)
    leaks = trained.splits.notes + duplicate_notes(look_alikes)
    about_data = {
        "leaks": leaks,
        "look_alikes": look_alikes.counts,
        "digest": trained.digest,
        "changes": trained.changes,
    }
    warnings = trained.warnings + changed_since_training(trained.run, scores, config) + leaks
    warnings += epoch_notes(trained.run) + learnt_before(config, trained.splits, trained.split)
    warnings += texts_cut(trained, config, collator_for)
    warnings += unknown_words(trained.run, trained.splits[trained.split], config.texts) + scores["warnings"]
    scores = scores | {"data": about_data, "warnings": warnings, "split": trained.split}
    write_results(trained.run, scores, predictions, config, weights)


def changed_since_training(run: Run, scores: dict, config: Config) -> list[str]:
    """A line for each file, and for the base model, that is not what it was when the run was trained."""
    before, now = run.environment.get("files"), files_read(config)
    lines = [
        f"{knob}: the file is not the one of the training, whose own numbers (history.jsonl) do not compare with these"
        for knob in now
        if before is not None and before.get(knob) != now[knob]
    ]
    start = run.state.get("start")
    if start and "start" in scores and start != weights_digest(config.model.name, config):
        lines.append(
            f"The numbers before training are of other weights than this run began with: model.name "
            f"({config.model.name}) holds others now. Put them back and evaluate again"
        )
    return lines


def epoch_notes(run: Run) -> list[str]:
    """A line where `train.metric` was the same after every epoch: it chose none, and the first of them was kept."""
    metric = run.config.train.metric
    values = [row.get(metric) for row in run.history if row["type"] == "epoch" and row["epoch"]]
    if len(values) < 2 or len(set(values)) > 1:
        return []
    was, which = ("undefined", "last") if values[0] is None else (f"{values[0]:.4g}", "first")
    return [
        f"train.metric: '{metric}' was {was} after each of {len(values)} epochs, so it chose none of them: the {which} "
        "was kept. Set another, or give validation more rows"
    ]


def texts_cut(trained: Trained, config: Config, collator_for: Callable[[Any, Config], Collator]) -> list[str]:
    """A line for each of train and the evaluated split with texts that are longer than is read: of the training's data
    as training counted them, of other data anew."""
    counts = dict(trained.run.environment.get("texts_cut", {}))
    if trained.changes:
        collator = collator_for(load_processor(str(trained.run.model_folder)), config)
        counts[trained.split] = collator.count_cut(trained.splits[trained.split].rows)
    told = {"train": counts.get("train", {})}
    if trained.split != "train":
        told[trained.split] = read_of_scored(config.task, counts.get(trained.split, {}))
    return cut_notes(config.task, told)


def unknown_words(run: Run, dataset: VQADataset, columns: Iterable[str]) -> list[str]:
    """A line for each of these columns with words that the model's vocabulary has no token for: it reads [UNK] there,
    and can write none of them."""
    tokenizer, lines = load_processor(str(run.model_folder)).tokenizer, []
    for column in columns:
        texts = [row[column] for row in dataset.rows]
        read = texts if column == "answer" else [prepare_caption(text, 10**6) for text in texts]  # signs are not read
        unknown = unknown_texts(tokenizer, read)
        if unknown:
            first = next(text for text, prepared in zip(texts, read, strict=True) if prepared in unknown)
            count = sum(prepared in unknown for prepared in read)
            writes = column == "answer" or (column == "caption" and run.config.task != "retrieval")
            does = "can neither tell nor write it" if writes else "cannot tell it from another"
            lines.append(
                f"{dataset.split}: {count:,} of {len(texts):,} in column {column} hold what the model's vocabulary has "
                f"no word for, such as {encodable(first)!r:.80}: it {does}"
            )
    return lines


def write_results(run: Run, scores: dict, predictions: list[dict], config: Config, weights: str | None) -> None:
    """Write `predictions-<split>.jsonl`, and `metrics-<split>.json`, which says what its numbers were computed from."""
    file = run.folder / f"predictions-{scores['split']}.jsonl"
    write_lines(file, predictions)
    settings = {key: value for key, value in result_settings(config).items() if key.startswith(SAFE_TO_CHANGE)}
    files = files_read(config)
    made_by = {"settings": settings, "weights": weights, "predictions": digest_of_file(file), "files": files}
    write_sealed(run.folder / f"metrics-{scores['split']}.json", scores | {"made_by": made_by})


def held_out(splits: Splits) -> str:
    """The split to score: test, or validation where there is none."""
    return "test" if "test" in splits else "validation"


def load_results(config: Config, split: str | None = None) -> Results:
    """What the run of `config` answered on `split` (None: the one that was scored), to look at it.

    Raises RunError where nothing was scored, or other data than there is now; ConfigError where the settings differ.
    """
    run = refuse_other_settings(config)
    split = split or run.evaluated_split  # said before the data is read
    return results_of(run, load_splits(config), split)


def results_of(run: Run, splits: Splits, split: str | None = None) -> Results:
    """As `load_results`, where the data is at hand."""
    split = split or run.evaluated_split
    scores, predictions = run.metrics(split), run.predictions(split)
    refuse_other_pictures(run, scores, splits)
    _refuse_other_files(run, scores, split)
    return Results(run, splits, split, scores, predictions)


def _refuse_other_files(run: Run, scores: dict, split: str) -> None:
    """Raises RunError where a file was edited that the numbers were counted by: pages would mark other things."""
    before, now = scores.get("made_by", {}).get("files"), files_read(run.scored_config(split))
    changed = [knob for knob in {**(before or {}), **now} if before is not None and before.get(knob) != now.get(knob)]
    if changed:
        raise RunError(
            f"run '{run.name}' was scored on {split} with another file {', '.join(changed)} than there is now: put it "
            "back, or evaluate again"
        )


def refuse_other_summary(name: str, summary: Mapping, config: Config, data: Mapping[str, Splits]) -> None:
    """Raises ConfigError or RunError where what several runs led to, in `outputs/<name>`, is of other settings or other
    data than `config` and `data` (see `rows_of`) are: pictures would stand at others' texts."""
    changed = result_difference(summary["config"], config.as_dict())
    if changed:
        lines = [f"{key}: {old!r} -> {new!r}" for key, (old, new) in changed.items()]
        raise ConfigError(f"'{name}' was made with other settings:\n{indented(lines)}")
    before, now = summary.get("rows", {}), rows_of(data)  # an older version kept none
    others = [which for which in now if before.get(which, now[which]) != now[which]]
    if others:
        raise RunError(
            f"'{name}' was made with other data than there is now ({', '.join(others)}): put it back, or run it again."
        )


def rows_of(data: Mapping[str, Splits]) -> dict[str, str]:
    """A digest of the rows of each of several sources, by its name."""
    return {which: rows_digest(fingerprint(splits)) for which, splits in data.items()}


def refuse_other_pictures(run: Run, scores: dict, splits: Splits) -> None:
    """Raises RunError where `splits` are not the data that was scored: pictures would stand at others' questions."""
    scored = scores["data"].get("digest")
    rows = fingerprint(splits)
    if scored is not None and scored != rows_digest(rows):
        changes = run.row_changes(rows) or ["it is as it was in training, but other data was evaluated"]
        raise RunError(
            f"run '{run.name}' was scored on other data than there is now:\n{indented(changes)}\nPut it back, or "
            "evaluate again."
        )
