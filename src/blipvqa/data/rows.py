"""One split's rows, checked: each has its texts and a picture that decodes, or is named.

Notable:
- `image_id` is the digest of the image's bytes: equal pictures are one image whatever the files say.
- Each distinct picture is decoded once, into the image store; what lies there has been seen to decode.
- A row may show several pictures, which are looked at one by one (`several_pictures`).
- A value of another kind than the rest of its column (a number among texts) is named by file, line and column; with
  `data.on_error: skip` its row is left out and counted, as every broken row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from blipvqa.bars import progress_bar
from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.config.knobs import DataConfig
from blipvqa.data.candidates import join_candidates
from blipvqa.data.columns import ColumnNames
from blipvqa.data.history import join_history
from blipvqa.data.image_files import PictureFolder
from blipvqa.data.images import ImageError, ImageStore
from blipvqa.data.looks import Looks
from blipvqa.data.medical_files import View, view_of
from blipvqa.data.raw import ListedPictures, Pictures, RawSplit
from blipvqa.data.several_answers import join_answers
from blipvqa.data.several_pictures import cells_of, list_id
from blipvqa.data.split_names import SourceError
from blipvqa.data.texts import lost_letter_notes, text_problem
from blipvqa.data.values import kind_of, plain_value
from blipvqa.text import encodable


@dataclass
class CheckedSplit:
    """`rows` with `id`, `image_id` (and `image_ids`, where one shows several), the task's `texts` and the source's
    further `columns`; the picture of `rows[i]` is `pictures.cell(source_rows[i])`."""

    rows: list[dict]
    source_rows: list[int]
    columns: list[str]
    pictures: Pictures
    folder: PictureFolder  # where paths among the pictures count
    texts: tuple[str, ...] = ("question", "answer")  # the columns that the task needs
    views: dict[int, View] = field(default_factory=dict)  # by source row: what is shown of a DICOM file or slide
    files: dict[str, str] = field(default_factory=dict)  # of pictures that are parts of a file: its digest, by image_id
    left_out: dict[str, str] = field(default_factory=dict)  # by its place ("line 6 of train.jsonl"), what was wrong

    def chosen(self, rows: Iterable[int]) -> CheckedSplit:
        """These rows only."""
        rows = list(rows)
        return replace(self, rows=[self.rows[i] for i in rows], source_rows=[self.source_rows[i] for i in rows])


def check_split(
    raw: RawSplit, split: str, data: DataConfig, store: ImageStore, texts: tuple[str, ...]
) -> tuple[CheckedSplit, list[str]]:
    """The rows of a split that can be used, and notes on the others. Fills `store`.

    Raises SourceError or ImageError that name the row; with `data.on_error: skip` such rows are left out and counted.
    """
    return _Check(raw, split, data, store, texts).result()


class _Check:
    """One split on its way: `problems` are what is wrong, by row of the source."""

    def __init__(self, raw: RawSplit, split: str, data: DataConfig, store: ImageStore, texts: tuple[str, ...]):
        self.texts, self.raw, self.split, self.data, self.store = texts, raw, split, data, store
        self.problems: dict[int, str] = {}
        self.nonfinite: Counter = Counter()
        self.values: dict[int, dict] = {}  # each row's texts and further values, by our names
        self.rows = list(range(len(raw.rows)))
        self.views: dict[int, View] = {}
        self.files: dict[str, str] = {}

    def result(self) -> tuple[CheckedSplit, list[str]]:
        for row, problem in self.raw.broken.items():
            self._refuse(row, problem)
        if len(self.raw.broken) == len(self.raw.rows):
            self._refuse_all()
        self.names = ColumnNames(self.raw.columns, self.split, self.data, self.texts)
        self._convert()
        self._filter()
        self._check_texts()
        self._check_kinds()
        image_ids = self._image_ids([row for row in self.rows if row not in self.problems])
        usable = [row for row in self.rows if row not in self.problems]
        if not usable:
            self._refuse_all()
        columns = [name for name in self.names.final.values() if name not in ("image", *self.texts)]
        if self.data.answer_separator and "answer" in self.texts and "answers" not in columns:
            columns.append("answers")
        rows = [self._row(row, image_ids[row], columns) for row in usable]
        pictures, folder = self.raw.pictures, self.raw.folder
        checked = CheckedSplit(rows, usable, columns, pictures, folder, self.texts, self.views, self.files)
        checked.left_out = self._left_out()
        return checked, self._notes()

    def _left_out(self) -> dict[str, str]:
        return {self.raw.place(row): problem for row, problem in sorted(self.problems.items())}

    def _row(self, row: int, image_ids: list[str], columns: list[str]) -> dict:
        values = self.values[row]
        several = {"image_ids": image_ids} if len(image_ids) > 1 else {}
        return {"id": f"{self.split}/{row}", "image_id": list_id(image_ids), **several} | {
            name: values.get(name) for name in (*self.texts, *columns)
        }

    def _notes(self) -> list[str]:
        usable = {self.raw.place(row): self.values[row] for row in self.rows if row not in self.problems}
        first: dict[str, int] = {}
        for row, problem in sorted(self.problems.items()):
            first.setdefault(_kind_of_problem(problem), row)
        counts = Counter(map(_kind_of_problem, self.problems.values()))
        left_out = [
            f"{self.split}: {count} of {len(self.rows)} rows left out: {kind} (first: {self.raw.place(first[kind])})"
            for kind, count in counts.items()
        ]
        nulls = [
            f"{self.split}: column {name}: {count} values that are NaN or infinite became null"
            for name, count in self.nonfinite.items()
        ]
        lost = lost_letter_notes(self.split, self.texts, usable)
        return [*self.raw.notes, *self.names.notes, *left_out, *nulls, *lost]

    def _refuse(self, row: int, problem: str, kind: type = SourceError) -> None:
        if self.data.on_error == "raise":
            where = f"row {self.split}/{row}: {self.raw.place(row)}"
            raise kind(f"{where}: {problem}. Mend it, or set data.on_error: skip.")
        self.problems[row] = problem

    def _refuse_all(self) -> None:
        row, problem = min(self.problems.items())
        where = f"data.source '{self.data.source}', {self.split}"
        raise SourceError(f"{where}: every row is broken, e.g. {self.raw.place(row)}: {problem}")

    # -------------------------------------------------------------------------------------------- values

    def _convert(self) -> None:
        """Every cell as a plain value, under our name of its column."""
        for row in self.rows:
            if row in self.problems:
                continue
            values: dict[str, Any] = {}
            for theirs, value in self.raw.rows[row].items():
                name = self.names.final[theirs]
                if name in self.texts:  # checked as they came: a date is no answer
                    values[name] = encodable(value) if isinstance(value, str) else value
                    continue
                try:
                    values[name] = plain_value(value, self.nonfinite, name)
                except (ValueError, RecursionError) as error:
                    self._refuse(row, f"column {theirs}: {error or 'nested too deeply'}")
                    break
            else:
                if "answer" in self.texts and (problem := join_answers(values, self.data.answer_separator)):
                    self._refuse(row, problem)
                if "answer" in self.texts and (problem := join_candidates(values)):
                    self._refuse(row, problem)
                if "question" in self.texts and self.data.history and (problem := join_history(values)):
                    self._refuse(row, problem)
                self.values[row] = values

    def _filter(self) -> None:
        """Leave the rows that `data.where` keeps, and broken ones, of which nobody knows."""
        for column, wanted in self.data.where.items():
            name = self.names.ours(column, "data.where")
            allowed = wanted if isinstance(wanted, list) else [wanted]
            before = self.rows
            kinds = [(kind_of(value), value) for value in allowed]  # True is no 1
            self.rows = [row for row in before if row in self.problems or self._kind_and_value(row, name) in kinds]
            if not [row for row in self.rows if row not in self.problems]:
                seen = Counter(str(self._value(row, name))[:40] for row in before if row not in self.problems)
                common = ", ".join(value for value, _ in seen.most_common(5))
                kinds = {kind_of(self._value(row, name)) for row in before if row not in self.problems}
                raise SourceError(
                    f"data.source '{self.data.source}', {self.split}: no row where data.where holds: column '{column}' "
                    f"is none of {allowed!r:.80}. It holds {' and '.join(sorted(kinds))}, most often {common}"
                )

    def _kind_and_value(self, row: int, name: str) -> tuple[str, Any]:
        value = self._value(row, name)
        return kind_of(value), value

    def _value(self, row: int, name: str) -> Any:
        if name == "image" and isinstance(self.raw.pictures, ListedPictures):
            return self.raw.pictures.cell(row)
        return self.values[row].get(name)

    def _check_texts(self) -> None:
        for row in self.rows:
            if row in self.problems:
                continue
            values = self.values[row]
            texts = [(name, values.get(name)) for name in self.texts]
            if "answer" in self.texts:
                texts += [("answer", one) for one in values.get("answers") or ()]
            problems = (problem for name, text in texts if (problem := text_problem(name, text)))
            if problem := next(problems, None):
                self._refuse(row, problem)

    def _check_kinds(self) -> None:
        """The further values of a column are of one kind, the most frequent one, or nothing."""
        kinds: dict[str, Counter] = {}
        for row in self.rows:
            if row not in self.problems:
                for name, value in self.values[row].items():
                    kinds.setdefault(name, Counter())[kind_of(value)] += value is not None
        expected = {name: counts.most_common(1)[0][0] for name, counts in kinds.items()}
        mixed = [name for name, counts in kinds.items() if sum(count > 0 for count in counts.values()) > 1]
        for row in self.rows if mixed else ():
            if row in self.problems:
                continue
            for name in mixed:
                value = self.values[row].get(name)
                if value is not None and kind_of(value) != expected[name]:
                    rest = f"the column holds {expected[name]}"
                    self._refuse(row, f"column {name}: found {kind_of(value)} ({value!r:.40}), {rest} elsewhere")
                    break

    # -------------------------------------------------------------------------------------------- pictures

    def _image_ids(self, rows: list[int]) -> dict[int, list[str]]:
        """The digests of each row's pictures, by row; new ones are decoded into the store, on all cores."""
        window = self.data.window
        seen = {view: view for row in rows if (view := view_of(self.values[row], window)) != View()}
        views = {row: seen.get(view_of(self.values[row], window), View()) for row in rows} if seen else {}
        self.views = {row: view for row, view in views.items() if view != View()}
        looks = Looks(self.store, self.raw.folder, self.views, self.files)
        image_ids: dict[int, dict[int, str]] = {}
        bar = progress_bar(total=len(rows), desc=f"read images of {self.split}", unit="row", leave=False, delay=2)
        with bar:
            for row, place, outcome in looks.at(self._cells(rows)):
                bar.update(place == 0)
                if isinstance(outcome, ImageError):
                    self._refuse(row, str(outcome), ImageError)
                else:
                    image_ids.setdefault(row, {})[place] = outcome
        return {row: [of_row[place] for place in sorted(of_row)] for row, of_row in image_ids.items()}

    def _cells(self, rows: list[int]) -> Iterator[tuple[int, int, Any]]:
        """(row, place, cell) of each picture of these rows."""
        most = MOST_PICTURES if "question" in self.texts else 1
        for row, cell in zip(rows, self.raw.pictures.cells(rows), strict=True):
            cells = cells_of(cell)
            if len(cells) > most:
                of_task = f"at most {most} are read" if most > 1 else "only task: vqa takes several"
                self._refuse(row, f"column image: a list of {len(cells)} pictures, {of_task}")
                continue
            yield from ((row, place, one) for place, one in enumerate(cells))


def _kind_of_problem(problem: str) -> str:
    """A problem without its particulars, to count by."""
    return problem.split("(")[0].split("'")[0].strip(" :")[:80]
