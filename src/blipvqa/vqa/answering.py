"""`answer_all`: a table of one's own questions, or a folder of pictures, to a sheet of answers.

Notable:
- Answers come in the same batches of whole pictures as `predict` makes, each picture encoded once.
- Each finished batch is added to `<output>.partial`. Killed and started again it goes on, with the batches that are
  missing, and the sheet is the same, bit for bit (an Excel file, which holds the time, cell for cell). The sheet itself
  appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path

from blipvqa.config.knobs import APPLIED_AFTER, Config
from blipvqa.config.paths import project_path
from blipvqa.data.batches import whole_image_batches
from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.data.history import history_of
from blipvqa.data.images import DECODER
from blipvqa.errors import InputError
from blipvqa.models.folders import FOREIGN
from blipvqa.models.loading import load_model
from blipvqa.models.vqa import BlipForVQA
from blipvqa.models.weights import weights_digest
from blipvqa.pages.spreadsheets import write_sheet, write_workbook
from blipvqa.plural import of_all
from blipvqa.runs.files import append_lines, make_folder, read_lines, remove, write_lines
from blipvqa.runs.run import Run
from blipvqa.training.shares import cost_of, is_first, join_processes, locked, of_first, rank, shared
from blipvqa.training.trained import check_weights, trained_run, unknown_words
from blipvqa.vqa.answers import unfinished_notes
from blipvqa.vqa.batches import collator_for
from blipvqa.vqa.calibration import read_calibration
from blipvqa.vqa.confidence import abstain
from blipvqa.vqa.conformal import sets_for, without_candidates
from blipvqa.vqa.foreign import unlike_rows
from blipvqa.vqa.own_files import COLUMNS, refuse_output
from blipvqa.vqa.own_questions import left_out_note, own_questions
from blipvqa.vqa.predictions import answer_batches, candidate_texts, load_candidates
from blipvqa.vqa.selective import calibration_in_force, threshold_in_force
from blipvqa.vqa.turns import refuse_history

OTHERWISE = (
    "confidence is the model's own: the last evaluation calibrated that of answers which were found "
    "otherwise (generate.method, and its beams and length, or its candidates)"
)


def answer_all(
    config: Config,
    source: str | Path,
    output: str | Path,
    *,
    questions: str | Path | Sequence[str] | None = None,
    skip: bool = False,
    progress: bool = True,
) -> Path:
    """Answer the questions of `source` with the run's model, and write `output`, csv, xlsx or jsonl, in their order.

    `source` is a table (csv, jsonl, json) with the columns `image` and `question`, or a folder of pictures, each of
    which is asked all `questions` (a list, or a text file). A row of the output has the picture's path as it was given,
    the question, the answer, its calibrated confidence, whether it was withheld (`selective`), of a run that generates
    whether it stops at the limit of what is written (`unfinished`), of one that ranks the set that holds the right
    answer to 90 % of questions, how unlike those of training the picture is (above 1 is foreign), and the table's
    further columns.

    Raises RunError without a model, MissingFile, InputError, and SourceError that names the rows which cannot be
    asked; with `skip` they are left out and named.
    """
    join_processes()
    run, output = Run(config.folder), project_path(output)
    check_weights(run, "vqa")
    refuse_output(output, source)
    make_folder(output.parent)
    partial = output.with_name(f"{output.name}.partial")
    with locked(run.folder / partial.name):
        calibration = read_calibration(run.model_folder)
        threshold = threshold_in_force(config.generate, calibration)  # raises before anything slow
        holds = calibration_in_force(config.generate, calibration)
        otherwise = [OTHERWISE] if calibration and not holds else []
        dataset, wrong, notes = own_questions(source, config, questions, skip)
        for note in [*otherwise, *notes, *([left_out_note(wrong)] if wrong else [])] if is_first() else ():
            print(note)
        splits = _splits(config)
        texts = candidate_texts(config, splits)
        answers, model = _answered(config, run, dataset, partial, splits, progress)
        if (run.model_folder / FOREIGN).exists():
            unlike = unlike_rows(model or load_model(str(run.model_folder), config)[0], dataset)
            if not is_first():
                return output
            answers = [row | {"unlike": r} for row, r in zip(answers, unlike or [None] * len(answers), strict=True)]
            foreign = sum(r is not None and r > 1 for r in unlike or [])
            if foreign:
                print(
                    f"{of_all(foreign, len(dataset), 'question', 'is', 'are')} on pictures unlike those of "
                    "training: see `unlike`"
                )
        if not is_first():
            return output
        answers = abstain(answers, threshold, holds)
        for note in unfinished_notes(answers):
            print(note)
        sets = sets_for(run.model_folder, texts, config.generate)
        further = ["unfinished"] * (config.generate.method == "generate") + ["answer_set"] * (sets is not None)
        further += ["unlike"] * (run.model_folder / FOREIGN).exists()
        _write(output, dataset, without_candidates(answers, sets), further)
        for file in _partials(partial):
            remove(file)
    return output


def _partials(partial: Path) -> list[Path]:
    """The files of batches that are answered: one, or of several processes one each."""
    return [file for file in (partial, *sorted(partial.parent.glob(f"{escape(partial.name)}-*"))) if file.exists()]


def _answered(
    config: Config, run: Run, dataset: VQADataset, partial: Path, splits: Splits, progress: bool
) -> tuple[list[dict], BlipForVQA | None]:
    """The answer of each row: what `partial` holds, and the rest asked for and added to it; and the model, if asked."""
    made_by = _fingerprint(config, run, dataset, candidate_texts(config, splits))
    begun = of_first(lambda: _begun(partial, made_by))
    answers = {row: answer for line in begun for row, answer in zip(line["rows"], line["answers"], strict=True)}
    batches = whole_image_batches([row["image_id"] for row in dataset.rows], config.generate.batch_size)
    batches = [batch for batch in batches if batch[0] not in answers]
    if answers and is_first():
        print(f"{partial.name}: {len(answers):,} of {len(dataset):,} were answered before, going on")
    model = None
    if batches:
        model, processor = load_model(str(run.model_folder), config)
        _say_what_is_read(model, processor, dataset, config)
        for line in unknown_words(run, dataset, ("question",)) if is_first() else ():
            print(line)
        candidates = load_candidates(config, splits, processor)
        costs = [cost_of([dataset.rows[i] for i in rows], "question") for rows in batches]
        own = partial if is_first() else partial.with_name(f"{partial.name}-{rank()}")

        def work(mine: Sequence[list[int]]) -> Iterator[dict[int, dict]]:
            if not is_first():
                write_lines(own, [made_by])
            for rows, of_batch in answer_batches(model, processor, dataset, config, candidates, mine, progress):
                append_lines(own, [{"rows": rows, "answers": of_batch}])
                yield dict(zip(rows, of_batch, strict=True))

        for of_batch in shared(batches, costs, work):
            answers |= of_batch
    return [answers[i] for i in range(len(dataset))], model


def _begun(partial: Path, made_by: Mapping) -> list[dict]:
    """The batches that are answered, each a line; all of them in `partial` from now on, without a line that a kill
    tore. Raises InputError where they were made by something else."""
    lines = []
    for file in _partials(partial):
        begun = read_lines(file)
        if begun and begun[0] != made_by:
            changed = ", ".join(key for key in made_by if begun[0].get(key) != made_by[key])
            raise InputError(
                f"'{file.name}' was begun with another {changed}: go on with what it was begun with, give another "
                "output, or remove it"
            )
        lines += begun[1:]
    write_lines(partial, [made_by, *lines])
    for file in _partials(partial)[1:]:
        remove(file)
    return lines


def _say_what_is_read(model: BlipForVQA, processor, dataset: VQADataset, config: Config) -> None:
    """Says of how many questions a part has no room. Raises InputError for conversations before questions to a model
    that was trained without."""
    if any(history_of(row) for row in dataset.rows):
        refuse_history(model)
    if not is_first():
        return
    cut = collator_for(processor, config).count_cut(dataset.rows)
    if cut["question"]:
        print(
            f"{of_all(cut['question'], len(dataset), 'question', 'is', 'are')} longer than this model reads "
            "(data.max_question_tokens): the rest is cut off"
        )
    if cut.get("history"):
        print(
            f"{of_all(cut['history'], len(dataset), 'question', 'is', 'are')} answered without some oldest turns: "
            "there is no room"
        )


def _splits(config: Config) -> Splits:
    """The data that the run was trained on, where its answers are what is ranked; none where nothing needs it."""
    if config.generate.method != "rank" or config.generate.candidates != "train":
        return Splits({}, [])
    with trained_run(config) as trained:
        return trained.splits


def _fingerprint(config: Config, run: Run, dataset: VQADataset, candidates: list[str] | None) -> dict:
    """What the answers depend on, by content; what withholds them may change, as it is applied at the end."""
    generate = {k: v for k, v in config.generate.model_dump(mode="json").items() if k not in APPLIED_AFTER}
    rows = [(row["image_id"], row["question"], *filter(None, [history_of(row)])) for row in dataset.rows]
    return {
        "model": weights_digest(run.model_folder),
        "generate settings": generate,
        "question length": config.data.max_question_tokens,
        "image size": config.model.image_size,
        "precision": config.generate.precision or config.train.precision,
        "picture decoder": DECODER,
        "candidates": _digest(candidates),
        "list of questions or pictures": _digest(rows),
    }


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _write(output: Path, dataset: VQADataset, predictions: list[dict], further: list[str]) -> None:
    rows = (
        [
            dataset.image_path(i),
            row["question"],
            prediction["prediction"],
            prediction["confidence"],
            "withheld" in prediction,
            *(_cell(prediction.get(name)) for name in further),
            *(row[name] for name in dataset.columns),
        ]
        for i, (row, prediction) in enumerate(zip(dataset.rows, predictions, strict=True))
    )
    ours = [*COLUMNS, *further]
    columns = [*ours, *(f"{name} (data)" if name in ours else name for name in dataset.columns)]
    match output.suffix.lower():
        case ".csv":
            write_sheet(output, columns, rows)
        case ".xlsx":
            write_workbook(output, columns, rows)
        case _:
            write_lines(output, (dict(zip(columns, row, strict=True)) for row in rows))


def _cell(value):
    return "; ".join(value) if isinstance(value, list) else value
