"""A trained model on questions of another source: answered once, scored, and kept beside the run's own numbers.

Notable:
- What is written has names of its own, `elsewhere-<set>-<split>.json` and `.jsonl`: the run's metrics stay as they are.
- Only `data` is the other config's. How pictures and texts are read, and how an answer is found, is the model's own.
- Rows that the run was trained on are counted, whatever further columns stand beside them, and rows of its pictures: a
  score with them says nothing of another source. So are pictures that look like one of its training. Where its own
  data cannot be read, that is said in place of a count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from blipvqa.config.kinds import NAME_PATTERN
from blipvqa.config.knobs import APPLIED_AFTER, Config, ConfigError
from blipvqa.config.reading import with_overrides
from blipvqa.data.dataset import Splits, VQADataset, load_splits
from blipvqa.data.duplicates import look_alike_line, near_duplicates
from blipvqa.data.fingerprint import fingerprint, row_digest
from blipvqa.data.images import DECODER
from blipvqa.data.several_pictures import pictures_of
from blipvqa.errors import UserError
from blipvqa.models.loading import load_model, load_processor
from blipvqa.models.weights import weights_digest
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.plural import of_all
from blipvqa.runs.files import sweep, write_lines
from blipvqa.runs.identity import read_rows, rows_digest
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError, refuse_other_settings
from blipvqa.runs.seals import digest_of_file, read_sealed, write_sealed
from blipvqa.text import normalize
from blipvqa.training.cut_texts import cut_notes, read_of_scored
from blipvqa.training.starts import learnt_before
from blipvqa.training.stored import content_digest, stored
from blipvqa.training.trained import check_weights, held_out, unknown_words
from blipvqa.vqa.answers import same_question
from blipvqa.vqa.batches import collator_for
from blipvqa.vqa.predictions import candidate_texts, load_candidates, predict
from blipvqa.vqa.scores import Scores, score

COSTS = {  # what it costs that a set shows pictures of the run's own split
    "train": "scores are flattered by what was memorized",
    "validation": "it chose the epoch and the temperature",
}
MODEL_READS = ("max_question_tokens", "max_answer_tokens")  # of `data`: what the model was trained to read


def read_elsewhere(config: Config, other: Config) -> Config:
    """The run's settings with the other config's data, read as the run's model reads."""
    own, data = config.as_dict(), other.as_dict()["data"]
    return with_overrides(own | {"data": data | {key: own["data"][key] for key in MODEL_READS}}, {})


def evaluate_elsewhere(
    config: Config, other: Config, split: str | None = None, *, resamples: int = 1000, progress: bool = True
) -> Scores:
    """Answer `split` (None: the held-out one) of `other`'s data with the run of `config`; write and return the scores.

    The set is called as `other` is. Raises RunError without a model, where another process writes to the run or there
    is no such split; ConfigError where the settings are not the run's, or where one of the two is no task: vqa.
    """
    run = Run(config.folder)
    check_pair(config, other)
    check_weights(run, "vqa")
    refuse_other_settings(config)
    with lock(run.folder):
        sweep(run.folder)
        asked = read_elsewhere(config, other)
        splits = load_splits(asked)
        split = split or held_out(splits)
        if split not in splits:
            raise RunError(f"'{other.name}' has no split '{split}', only {', '.join(splits)}")
        ranked = config.generate.method == "rank" and config.generate.candidates == "train"
        own, notes = _own_data(config, run, ranked)
        folder, name = run.folder / "answers", f"elsewhere-{other.name}-{split}"
        digest = rows_digest({split: fingerprint(splits)[split]})
        _refuse_another_set(run, name, digest)
        learnt = own if ranked else splits  # what the model chooses from is what it learnt
        predictions = answers_of(run.model_folder, asked, splits[split], folder, name, learnt, progress)
        scores = score(
            predictions,
            train=splits["train"].rows,
            breakdown=splits[split].breakdown,
            bootstrap=Bootstrap(asked.data.group, resamples, config.seed),
        )
        seen = rows_seen(run, own, splits[split])
        pictures = {} if own is None else pictures_seen(own, splits[split])
        notes += [f"{of_all(seen, len(predictions), 'row', 'is one', 'are some')} that the run was trained on"] * bool(
            seen
        )
        notes += [
            f"{of_all(count, len(predictions), 'row', 'shows', 'show')} pictures of the run's {held}: {COSTS[held]}"
            for held, count in pictures.items()
            if count
        ]
        if count := 0 if own is None else pictures_alike(own, splits[split]):
            notes.append(look_alike_line(count, f"{split} of '{other.name}'", "the run's train"))
        notes += learnt_before(config, splits, split)
        cut = collator_for(load_processor(str(run.model_folder)), asked).count_cut(splits[split].rows)
        notes += cut_notes("vqa", {split: read_of_scored("vqa", cut)})
        notes += unknown_words(run, splits[split], asked.texts)
        notes += [note for note in splits.notes if note.startswith(f"{split}: ")]
        scores = scores | {"set": other.name, "split": split, "seen": seen, "warnings": notes + scores["warnings"]}
        scores |= {"seen_pictures": pictures or None, "digest": digest}
        write_lines(run.folder / f"{name}.jsonl", predictions)
        made_by = {
            "weights": weights_digest(run.model_folder),
            "predictions": digest_of_file(run.folder / f"{name}.jsonl"),
        }
        write_sealed(run.folder / f"{name}.json", scores | {"made_by": made_by})
    return scores


def _refuse_another_set(run: Run, name: str, digest: str) -> None:
    """Raises RunError where numbers of other rows stand under a set's name: they would be lost."""
    file = run.folder / f"{name}.json"
    if file.exists() and read_sealed(file).get("digest", digest) != digest:
        raise RunError(
            f"'{run.name}/{file.name}' holds numbers of other rows than the set has now: give the set's config another "
            f"`name`, or remove {name}.json and .jsonl"
        )


def check_pair(config: Config, other: Config) -> None:
    """Raises ConfigError where a run of `config` cannot be asked about the data of `other`."""
    for one in (config, other):
        if one.task != "vqa":
            raise ConfigError(f"'{one.name}' is of task {one.task}: runs are asked about other data in task vqa only")
    if not re.fullmatch(NAME_PATTERN, other.name):
        raise ConfigError(f"'{other.name}' is no name for a set: give its config a `name` of letters, digits and -")


def answers_of(
    model_folder: Path,
    asked: Config,
    dataset: VQADataset,
    folder: Path,
    name: str,
    own: Splits | Mapping[str, VQADataset],
    progress: bool = True,
) -> list[dict]:
    """What the model of a folder answers to a dataset, kept in `folder/name.jsonl`; `own` is what it was trained on,
    whose answers are ranked where `asked` ranks."""
    generate = asked.as_dict()["generate"]
    made_of = {
        "weights": weights_digest(model_folder),
        "generate": {key: value for key, value in generate.items() if key not in ("batch_size", *APPLIED_AFTER)},
        "candidates": content_digest(candidate_texts(asked, own)),
        "tokens": [getattr(asked.data, key) for key in MODEL_READS],
        "image_size": asked.model.image_size,
        "pictures": DECODER,
        "rows": content_digest(list(dataset.rows)),
    }

    def ask() -> list[dict]:
        model, processor = load_model(str(model_folder), asked)
        return predict(model, processor, dataset, asked, load_candidates(asked, own, processor), progress)

    return stored(folder, name, made_of, ask)


def _own_data(config: Config, run: Run, needed: bool) -> tuple[Splits | None, list[str]]:
    """The run's own data, and what to know of it; None where it cannot be read, an error where it is `needed`."""
    try:
        own = load_splits(config)
    except UserError as error:
        if needed:
            raise
        return None, [f"Pictures that the run was trained on are not counted: its own data cannot be read ({error})"]
    changes = run.row_changes(fingerprint(own))
    said = (
        f"The run's own data is not as it was in training ({'; '.join(changes)}): what it saw is counted as it is now"
    )
    return own, [said] * bool(changes)


def rows_seen(run: Run, own: Splits | None, dataset: VQADataset) -> int:
    """How many rows of a dataset the run was trained on: the same picture and texts, whatever the split is called.

    Without its own data, by the digests that the run's folder keeps, of rows with all their columns.
    """
    if own is None:
        digests = set((read_rows(run.folder) or {}).get("train", {}).values())
        return sum(row_digest(row) in digests for row in dataset.rows)
    trained_on = {(*same_question(row), normalize(row["answer"])) for row in own["train"].rows}
    return sum((*same_question(row), normalize(row["answer"])) in trained_on for row in dataset.rows)


def pictures_seen(own: Splits, dataset: VQADataset) -> dict[str, int]:
    """How many rows of a dataset show a picture of the run's train, and of its validation."""
    shown = [set(pictures_of(row)) for row in dataset.rows]
    held = {split: {image_id for row in own[split].rows for image_id in pictures_of(row)} for split in COSTS}
    return {split: sum(not pictures.isdisjoint(held[split]) for pictures in shown) for split in COSTS}


def pictures_alike(own: Splits, dataset: VQADataset) -> int:
    """How many pictures of a dataset look like another one of the run's train."""
    return sum(near_duplicates({"train": own["train"], "asked": dataset}).images.values())
