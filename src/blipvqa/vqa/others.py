"""Predictions of other programs against our split, and ours in their forms.

lmms-eval     `--log_samples` writes one JSON object a line: `doc_id` (the row of the split, from 0), `target`,
              `filtered_resps` (a list; first the answer), `resps` where it differs, and without `doc` and `arguments`
              (lmms_eval/loggers/evaluation_tracker.py, `save_results_samples`, read in November 2026)
MedEvalKit    `results.json`, one list of objects in the order of the split, without ids: the source's own columns
              (`question`, `answer`) and `response`, from which its scorer takes what stands in `\\boxed{}` or
              `<answer>` (utils/base_dataset.py and utils/VQA_RAD/VQA_RAD.py, read in November 2026)
table         any csv or jsonl with `question_id` (or `id`) and `prediction`; an id is ours ("test/12") or its row (12)

Each question of the split needs exactly one prediction; what is missing, doubled or unknown is refused with its count.
What only a model can say (confidence, grounding) is absent from the scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from blipvqa.data.dataset import VQADataset
from blipvqa.data.split_names import ending_of
from blipvqa.data.text_tables import read_text_table
from blipvqa.errors import InputError
from blipvqa.pages.spreadsheets import unguard, write_sheet
from blipvqa.plural import how_many
from blipvqa.runs.files import write_json, write_lines
from blipvqa.text import normalize, same_text, words
from blipvqa.vqa.answers import Prediction, spelled_answers
from blipvqa.vqa.own_files import check_file

FORMS = {"lmms-eval": "jsonl", "medevalkit": "json", "table": "csv"}  # ours to write, with their endings
BOXED, TAGGED = re.compile(r"\\boxed\{([^{}]*)\}"), re.compile(r"<answer>(.*?)(?:</answer>|$)", re.S)


def read_others(path: str | Path, dataset: VQADataset) -> list[Prediction]:
    """One prediction a row of `dataset`, in its order, from a file in one of the forms above.

    Raises InputError, with counts and the first case, for what is missing, doubled, unknown or about other questions.
    """
    path = check_file(path)
    rows = list(read_text_table(path))
    unreadable = [f"line {line}: {row}" for line, row in rows if not isinstance(row, dict)]
    if unreadable:
        raise InputError(
            f"predictions '{path.name}': {how_many(len(unreadable), 'row')} cannot be read, the first is "
            f"{unreadable[0]}"
        )
    table = [row for _, row in rows]
    columns = set().union(*table)
    if {"doc_id", "filtered_resps"} <= columns:
        answers = _by_id(path, dataset, table, ("doc_id",), _first_response, "target")
    elif {"response", "question"} <= columns:
        answers = _by_order(path, dataset, table)
    elif "prediction" in columns and columns & {"question_id", "id"}:
        said = _unguarded if ending_of(path) == "csv" else _said
        answers = _by_id(path, dataset, table, ("question_id", "id"), said, "answer")
    else:
        raise InputError(
            f"predictions '{path.name}' have the columns {', '.join(sorted(map(str, columns))) or 'none'}; expected "
            "doc_id and filtered_resps (lmms-eval), question, answer and response (MedEvalKit), or question_id and "
            "prediction"
        )
    return [{**row, "prediction": answers[row["id"]]} for row in dataset.rows]


def _by_id(path: Path, dataset: VQADataset, table: Sequence[dict], names, prediction, reference: str) -> dict[str, str]:
    ids = {row["id"]: row for row in dataset.rows}
    by_number = _short_ids(dataset, names)
    answers: dict[str, str] = {}
    unknown, doubled, empty, no_texts, others = [], [], [], [], []
    for row in table:
        named = next((row[name] for name in names if row.get(name) is not None), None)
        row_id = str(named) if str(named) in ids else by_number.get(str(named), "")
        text = prediction(row)
        if not row_id:
            unknown.append(named)
        elif row_id in answers:
            doubled.append(row_id)
        elif text is None:
            empty.append(row_id)
        elif not _is_text(text):
            no_texts.append(f"{row_id}: {text!r:.60}")
        else:
            answers[row_id] = str(text)
            stated = row.get(reference)
            if stated is not None and not _is_reference(stated, ids[row_id]):
                others.append((row_id, stated, ids[row_id]["answer"]))
    missing = [row_id for row_id in ids if row_id not in answers and row_id not in empty] if not no_texts else []
    problems = [
        f"{how_many(len(cases), one, several)}, the first is {cases[0]!r}"
        for one, several, cases in (
            ("id is unknown", "ids are unknown", unknown),
            ("id stands there twice", "ids stand there twice", doubled),
            ("row has no prediction", "rows have no prediction", empty),
            ("prediction is no text", "predictions are no texts", no_texts),
            ("question is missing", "questions are missing", missing),
        )
        if cases
    ]
    if others:
        row_id, stated, ours = others[0]
        problems.append(f"{len(others):,} have another reference, the first is {row_id}: {stated!r}, here {ours!r}")
    if problems:
        raise InputError(f"predictions '{path.name}' do not fit {dataset.split}: {'; '.join(problems)}")
    return answers


def _is_reference(stated: object, row: dict) -> bool:
    """Whether a file's reference is a row's: one of its right answers, or all of them, as a list or in one cell."""
    right = spelled_answers(row)
    texts = list(map(str, stated)) if isinstance(stated, list) else [str(stated)]
    every = words(" ".join(row.get("answers") or ()))  # a cell as the source has it, whatever parts its answers
    return all(normalize(text) in right for text in texts) or (bool(every) and words(" ".join(texts)) == every)


def _is_text(said: object) -> bool:
    """Whether it can be compared with an answer: a list in brackets or "True" would be wrong whatever it holds."""
    return isinstance(said, str) or (isinstance(said, int | float) and not isinstance(said, bool) and said == said)


def _said(row: dict) -> object:
    return row.get("prediction")


def _unguarded(row: dict) -> object:
    """Our own sheets guard what a spreadsheet would calculate: "-5" stands there as "'-5"."""
    said = row.get("prediction")
    return unguard(said) if isinstance(said, str) else said


def _short_ids(dataset: VQADataset, names: Sequence[str]) -> dict[str, str]:
    """{what a row may be called: its id}: by a column of the data that has the name, else by its number in the split.

    A row of number 3 may have the `question_id` 4 in the data, and the next one 5.
    """
    rows = dataset.rows
    for name in (name for name in names if name != "doc_id"):  # lmms-eval's is always the number
        for column in (name, f"{name} (data)"):
            own = {str(row[column]): row["id"] for row in rows if row.get(column) is not None and column != "id"}
            if own and len(own) == len(rows):
                return own
    return {row["id"].rpartition("/")[2]: row["id"] for row in rows}


def _first_response(row: dict) -> str | None:
    responses = row["filtered_resps"]
    while isinstance(responses, list):
        responses = responses[0] if responses else None
    return responses


def _by_order(path: Path, dataset: VQADataset, table: Sequence[dict]) -> dict[str, str]:
    """MedEvalKit keeps no ids, so every row must hold the question and answer of the row in its place."""
    if len(table) != len(dataset):
        raise InputError(f"predictions '{path.name}' hold {len(table):,} answers, {dataset.split} has {len(dataset):,}")
    answers = {}
    for number, (row, own) in enumerate(zip(table, dataset.rows, strict=True), 1):
        for key in ("question", "answer"):
            same = _is_reference(row.get(key), own) if key == "answer" else same_text(str(row.get(key)), own[key])
            if not same:
                raise InputError(
                    f"predictions '{path.name}', element {number}: the {key} is {row.get(key)!r}, but row {own['id']} "
                    f"has {own[key]!r}. The file has no ids, so its order must be the split's; several chunks are not"
                )
        if row.get("response") is None:
            raise InputError(f"predictions '{path.name}', element {number}: there is no response")
        if not _is_text(row["response"]):
            raise InputError(
                f"predictions '{path.name}', element {number}: the response is no text: {row['response']!r:.60}"
            )
        response = str(row["response"])
        inner = BOXED.search(response) or TAGGED.search(response)
        answers[own["id"]] = inner[1].strip() if inner else response
    return answers


def write_others(predictions: Sequence[Prediction], path: str | Path, form: str) -> Path:
    """Write predictions in a form of FORMS. Raises InputError for another form, for an ending that is not the form's,
    and for a file that is there: it may be somebody's."""
    path = Path(path)
    if form not in FORMS:
        raise InputError(f"form '{form}' is none of {', '.join(FORMS)}")
    if ending_of(path) != FORMS[form]:
        raise InputError(f"'{path.name}': predictions for {form} are a .{FORMS[form]} file")
    if path.exists():
        raise InputError(f"'{path.name}' is there already: name a new file, or remove it")
    if form == "table":
        write_sheet(path, ["question_id", "prediction"], [(row["id"], row["prediction"]) for row in predictions])
    elif form == "medevalkit":
        write_json(path, [{**_texts(row), "response": row["prediction"]} for row in predictions])
    else:
        write_lines(path, [_sample(row) for row in predictions])
    return path


def _texts(row: Prediction) -> dict:
    return {key: row[key] for key in ("question", "answer")}


def _sample(row: Prediction) -> dict:
    number = row["id"].rpartition("/")[2]
    return {
        "doc_id": int(number) if number.isdigit() else number,
        "input": row["question"],
        "target": row["answer"],
        "filtered_resps": [row["prediction"]],
    }
