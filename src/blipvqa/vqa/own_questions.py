"""One's own questions, which have no answers: a table, or a folder of pictures and a list of questions.

Notable:
- They become a data set like any other, by the same checks: each picture is looked at once, pictures with equal bytes
  are one, and all that is wrong is said by file and line before the first answer.
- Rows are held in memory, pictures are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.columns import column_called, image_and_texts
from blipvqa.data.dataset import VQADataset
from blipvqa.data.formats import SourceError, read_texts
from blipvqa.data.own_pictures import own_dataset, picture_names, rows_of_pictures
from blipvqa.data.raw import RawSplit
from blipvqa.data.text_tables import read_text_table
from blipvqa.vqa.own_files import listed_questions, refuse_input

MOST = 1_000_000  # questions at once: a few hundred bytes of memory each
SHOWN = 10  # wrong rows that a message names
TEXTS = ("question",)  # what a row needs beside its picture


def own_questions(
    source: str | Path, config: Config, questions: str | Path | Sequence[str] | None = None, skip: bool = False
) -> tuple[VQADataset, dict[str, str], list[str]]:
    """The questions of a table (columns `image`, a path from the table's folder, and `question`) or, each of
    `questions` about each picture, of a folder; the rows left out, each with what is wrong with it; and notes.

    `questions` are a list, or a text file with one a line. With `skip` wrong rows are left out.
    Raises MissingFile, and SourceError or InputError that name the lines.
    """
    refuse_input(source, questions)
    path = project_path(source)
    if path.is_dir():
        raw, folder, data = _of_folder(path, listed_questions(questions), config.data), path, config.data
    else:
        data = _columns_that_are_there(path, config.data)
        raw, folder = _of_table(path, data), path.parent
    if len(raw.rows) > MOST:
        raise SourceError(f"{path.name}: {len(raw.rows):,} questions, at most {MOST:,} are answered at once: split it")
    dataset, left_out, notes = own_dataset(raw, folder, config, TEXTS, data)
    if left_out and not skip:
        raise SourceError(f"{_lines(left_out)}\nMend them, or have them left out: skip=True, in a shell --skip.")
    dataset.rows = [{**row, "answer": ""} for row in dataset.rows]  # what is to be found
    return dataset, left_out, notes


def _lines(wrong: dict[str, str]) -> str:
    lines = [f"  {place}: {problem}" for place, problem in list(wrong.items())[:SHOWN]]
    rest = [f"  and {len(wrong) - SHOWN:,} more"] if len(wrong) > SHOWN else []
    return "\n".join([f"{len(wrong):,} rows cannot be asked:", *lines, *rest])


def left_out_note(wrong: dict[str, str]) -> str:
    """What a person should know of the rows that were skipped; empty without any."""
    return f"left out: {_lines(wrong)}" if wrong else ""


# ------------------------------------------------------------------------------------------------ a table


def _columns_that_are_there(path: Path, data: DataConfig) -> DataConfig:
    """`data` with those renames that this table has a use for: it may be named as the run's data, or as we do."""
    first = list(next((row for _, row in read_text_table(path) if isinstance(row, dict)), {}))
    renames = {
        column_called(name, first): ours
        for name, ours in data.columns.items()
        if column_called(name, first) in first and ours != "answer" and column_called(ours, first) not in first
    }
    return data.model_copy(update={"columns": renames})


def _of_table(path: Path, data: DataConfig) -> RawSplit:
    image, _ = image_and_texts(data, TEXTS)
    raw = read_texts([path], image)
    if not raw.rows:
        raise SourceError(f"{path.name} has no row")
    raw.rows = raw.rows.renamed({"answer": "answer (data)"})  # a reference, perhaps: it stays beside ours
    raw.columns = ["answer (data)" if name == "answer" else name for name in raw.columns]
    return raw


# ------------------------------------------------------------------------------------------------ a folder


def _of_folder(folder: Path, questions: list[str], data: DataConfig) -> RawSplit:
    """Every question about every picture, whose names are taken in alphabetical order, those in folders below too."""
    pictures = picture_names(folder, data)
    if len(pictures) * len(questions) > MOST:
        count = f"{len(pictures):,} pictures with {len(questions):,} questions each"
        raise SourceError(f"'{folder.name}': {count}, at most {MOST:,} are answered at once: split it")
    asked = [(picture, question) for picture in pictures for question in questions]
    return rows_of_pictures(folder, [name for name, _ in asked], [{"question": question} for _, question in asked])
