"""The files that a person names to have questions answered, looked at before anything slow begins: what is asked, where
the answers go, and predictions that another program made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from blipvqa.config.paths import project_path
from blipvqa.data.sheets import sheet_rows
from blipvqa.data.split_names import SourceError, ending_of
from blipvqa.errors import InputError, MissingFile

TABLES = (".csv", ".tsv", ".xlsx", ".jsonl", ".json")
OUTPUTS = (".csv", ".xlsx", ".jsonl")
COLUMNS = ("image", "question", "answer", "confidence", "withheld")  # that a sheet of answers begins with
PREDICTIONS = ("csv", "tsv", "json", "jsonl", "xlsx")  # endings of other programs' files


def refuse_input(source: str | Path, questions: str | Path | Sequence[str] | None = None) -> None:
    """Raises MissingFile, SourceError or InputError unless `source` is a table, or a folder with `questions`."""
    path = project_path(source)
    if path.is_dir():
        listed_questions(questions)
    elif not path.exists():
        raise MissingFile(f"there is no table or folder '{source}'")
    elif questions is not None:
        raise InputError(f"'{path.name}' is a table and has its own questions: give a folder of pictures, or no list")
    elif path.suffix.lower() not in TABLES:
        excel = ": save it as xlsx or CSV UTF-8" if path.suffix.lower() in (".xls", ".ods") else ""
        raise SourceError(f"'{path.name}' is no table of {', '.join(TABLES)}{excel}")


def listed_questions(questions: str | Path | Sequence[str] | None) -> list[str]:
    """Each question once: those of a list, or of a text file with one a line. Raises InputError where there is none."""
    if questions is None:
        raise InputError(
            "a folder of pictures needs questions: a list, or a text file with one a line (in a shell --questions FILE)"
        )
    if isinstance(questions, str | Path):
        path = project_path(questions)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InputError(f"questions '{questions}' cannot be read ({reason}): give one question a line") from None
        questions = [line.strip() for line in lines if line.strip()]
    if not questions:
        raise InputError("the list of questions is empty")
    return list(dict.fromkeys(questions))


def refuse_output(output: str | Path, source: str | Path) -> None:
    """Raises InputError unless answers to `source` may be written there: nobody's own file is replaced."""
    output, source = project_path(output), project_path(source)
    if output.suffix.lower() not in OUTPUTS:
        raise InputError(f"output '{output.name}': answers are written as {', '.join(OUTPUTS)}")
    if output.exists() and (output.resolve() == source.resolve() or not _is_ours(output)):
        raise InputError(f"output '{output.name}' is there and holds no answers of ours: give another name")


def _is_ours(output: Path) -> bool:
    """Whether a file begins as a sheet of answers begins."""
    if output.suffix.lower() == ".xlsx":
        try:
            return next(iter(sheet_rows(output)), (1, []))[1][: len(COLUMNS)] == list(COLUMNS)
        except SourceError:
            return False
    with open(output, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(1_000_000).rstrip("\n")
    if output.suffix.lower() == ".csv":
        return first.split(",")[: len(COLUMNS)] == list(COLUMNS)
    try:
        return list(json.loads(first))[: len(COLUMNS)] == list(COLUMNS)
    except (ValueError, TypeError):
        return False


def check_file(path: str | Path) -> Path:
    """The path. Raises MissingFile or InputError where it cannot be a file of predictions."""
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"predictions '{path.name}': there is no such file")
    if ending_of(path) not in PREDICTIONS:
        raise InputError(f"predictions '{path.name}': the ending is none of {', '.join(PREDICTIONS)}")
    return path
