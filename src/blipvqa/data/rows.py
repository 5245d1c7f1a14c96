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
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from blipvqa.bars import progress_bar
from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.kinds import Needs
from blipvqa.data.candidates import join_candidates
from blipvqa.data.columns import ColumnNames
from blipvqa.data.frames import Frames
from blipvqa.data.history import join_history
from blipvqa.data.image_files import PictureFolder
from blipvqa.data.images import ImageStore
from blipvqa.data.labels import join_label
from blipvqa.data.looks import Looks
from blipvqa.data.medical_files import View
from blipvqa.data.plain_columns import ImageIds, plain_columns, views_of, whole_notes
from blipvqa.data.raw import InFiles, ListedPictures, Pictures, RawSplit
from blipvqa.data.row_table import SPAN, Column, RowTable, RowTableBuilder, numbered, repacked
from blipvqa.data.seen import SeenPictures
from blipvqa.data.several_answers import join_answers
from blipvqa.data.split_names import SourceError
from blipvqa.data.texts import sign_notes, text_problem
from blipvqa.data.values import kind_of, plain_value
from blipvqa.plural import how_many
from blipvqa.text import encodable


@dataclass
class CheckedSplit:
    """`rows` with `id`, `image_id` (and `image_ids`, where one shows several), the task's `texts` and the source's
    further `columns`; the picture of `rows[i]` is `pictures.cell(source_rows[i])`."""

    rows: RowTable
    source_rows: np.ndarray
    columns: list[str]
    pictures: Pictures
    folder: PictureFolder  # where paths among the pictures count
    texts: tuple[str, ...] = ("question", "answer")  # the columns that the task needs
    views: dict[int, View] = field(default_factory=dict)  # by source row: what is shown of a DICOM file or slide
    files: dict[str, str] = field(default_factory=dict)  # of pictures that are parts of a file: its digest, by image_id
    frames: Frames | None = None  # how many a row shows of a film
    group_column: str | None = None  # of `columns`: who or what a row is of
    left_out: dict[str, str] = field(default_factory=dict)  # by its place ("line 6 of train.jsonl"), what was wrong

    def chosen(self, rows: Iterable[int]) -> CheckedSplit:
        """These rows only."""
        rows = np.fromiter(rows, np.int64)
        return replace(self, rows=self.rows.chosen(rows), source_rows=self.source_rows[rows])


def check_split(
    raw: RawSplit, split: str, data: DataConfig, store: ImageStore, needs: Needs
) -> tuple[CheckedSplit, list[str]]:
    """The rows of a split that can be used, and notes on the others. Fills `store`.

    Raises SourceError or ImageError that name the row; with `data.on_error: skip` such rows are left out and counted.
    """
    return _Check(raw, split, data, store, needs).result()


class _Check:
    """One split on its way: `problems` are what is wrong, by row of the source."""

    def __init__(self, raw: RawSplit, split: str, data: DataConfig, store: ImageStore, needs: Needs):
        self.needs, self.texts = needs, needs.texts
        self.raw, self.split, self.data, self.store = raw, split, data, store
        self.frames = Frames(data.frames, data.frames_by) if data.frames else None
        self.problems: dict[int, str] = {}
        self.nonfinite: Counter = Counter()
        self.text_problems: dict[int, str] = {}  # of rows that data.where may leave out yet
        self.rows = np.arange(len(raw.rows))
        self.views: dict[int, View] = {}
        self.files: dict[str, str] = {}
        self.of_looks: list[str] = []  # notes

    def result(self) -> tuple[CheckedSplit, list[str]]:
        for row, problem in self.raw.broken.items():
            self._refuse(row, problem)
        if len(self.raw.broken) == len(self.raw.rows):
            self._refuse_all()
        self.names = ColumnNames(self.raw.columns, self.split, self.data, self.texts, self.raw.notes)
        self.values = self._converted()
        self._filter()
        self._check_texts()
        self._check_kinds()
        image_ids = ImageIds(len(self.raw.rows))
        self._look_at_pictures(image_ids)
        usable = self._usable()
        if not len(usable):
            self._refuse_all()
        columns = [name for name in self.names.final.values() if name not in ("image", *self.texts)]
        if self.data.answer_separator and "answer" in self.texts and "answers" not in columns:
            columns.append("answers")
        ids = {"id": numbered(f"{self.split}/", usable)} | image_ids.columns(usable)
        chosen = self.values.chosen(usable)
        nothing = Column(pa.nulls(len(usable)))
        cells = {name: chosen.columns.get(name, nothing) for name in (*self.texts, *columns)}
        cells |= {name: repacked(cells[name]) for name in self.texts}  # what was no text is gone
        rows = RowTable(ids | cells, len(usable), frozenset({"image_ids"}))
        pictures, folder = self.raw.pictures, self.raw.folder
        checked = CheckedSplit(rows, usable, columns, pictures, folder, self.texts, self.views, self.files)
        checked.left_out, checked.frames = self._left_out(), self.frames
        return checked, self._notes(checked)

    def _usable(self) -> np.ndarray:
        """The rows that nothing is wrong with so far."""
        return self.rows[~np.isin(self.rows, list(self.problems))] if self.problems else self.rows

    def _left_out(self) -> dict[str, str]:
        return {self.raw.place(row): problem for row, problem in sorted(self.problems.items())}

    def _notes(self, checked: CheckedSplit) -> list[str]:
        first: dict[str, int] = {}
        for row, problem in sorted(self.problems.items()):
            first.setdefault(_kind_of_problem(problem), row)
        counts = Counter(map(_kind_of_problem, self.problems.values()))
        left_out = [
            f"{self.split}: {count} of {how_many(len(self.rows), 'row')} left out: {kind} (first: "
            f"{self.raw.place(first[kind])})"
            for kind, count in counts.items()
        ]
        nulls = [
            f"{self.split}: column {name}: {how_many(count, 'value that is', 'values that are')} NaN or infinite "
            "became null"
            for name, count in self.nonfinite.items()
        ]
        signs = sign_notes(self.split, self.texts, checked.rows, lambda i: self.raw.place(int(checked.source_rows[i])))
        whole = whole_notes(self.split, self.views, self.files)
        return [*self.raw.notes, *self.names.notes, *left_out, *nulls, *signs, *whole, *self.of_looks]

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

    def _converted(self) -> RowTable:
        """Every cell as a plain value, under our name of its column."""
        rows = RowTableBuilder(plain=True)
        for start in range(0, len(self.raw.rows), SPAN):
            end = min(start + SPAN, len(self.raw.rows))
            plain = plain_columns(self.raw.rows, start, end, self.names.final, self.texts)
            if plain is None or self._joins() or any(start <= row < end for row in self.raw.broken):
                for row, cells in enumerate(self.raw.rows.span(start, end - start), start):
                    rows.append({} if row in self.problems else self._converted_row(row, cells))
                continue
            rows.append_columns(plain.columns, end - start)
            for row in plain.doubtful:
                self._judge_texts(row, {name: plain.columns[name][row - start].as_py() for name in self.texts})
        return rows.table()

    def _joins(self) -> bool:
        """Whether cells of several columns are looked at together."""
        joined = {"answers", "candidates", "relevance", "history"} & set(self.names.final.values())
        return bool(joined) or bool(self.data.answer_separator) or "label" in self.texts

    def _converted_row(self, row: int, cells: dict) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for theirs, value in cells.items():
            name = self.names.final[theirs]
            if name in self.texts:  # checked as they came: a date is no answer
                values[name] = encodable(value) if isinstance(value, str) else value
                continue
            try:
                values[name] = plain_value(value, self.nonfinite, name)
            except (ValueError, RecursionError) as error:
                self._refuse(row, f"column {theirs}: {error or 'nested too deeply'}")
                return {}
        if "answer" in self.texts and (problem := join_answers(values, self.data.answer_separator)):
            self._refuse(row, problem)
        if "answer" in self.texts and (problem := join_candidates(values)):
            self._refuse(row, problem)
        if "label" in self.texts and (problem := join_label(values)):
            self._refuse(row, problem)
        if "question" in self.texts and self.data.history and (problem := join_history(values)):
            self._refuse(row, problem)
        if row not in self.problems:
            self._judge_texts(row, values)
        return values | {name: self._as_plain(values.get(name)) for name in self.texts}

    def _judge_texts(self, row: int, values: dict[str, Any]) -> None:
        texts = [(name, values.get(name)) for name in self.texts]
        if "answer" in self.texts:
            texts += [("answer", one) for one in values.get("answers") or ()]
        problems = (problem for name, text in texts if (problem := text_problem(name, text)))
        if problem := next(problems, None):
            self.text_problems[row] = problem

    @staticmethod
    def _as_plain(value: Any) -> Any:
        """A cell of a column of texts, whatever it holds: what is no text is refused later, or filtered out."""
        try:
            return value if isinstance(value, str) else plain_value(value, Counter())
        except (ValueError, RecursionError):
            return None

    def _filter(self) -> None:
        """Leave the rows that `data.where` keeps, and broken ones, of which nobody knows."""
        for column, wanted in self.data.where.items():
            name = self.names.ours(column, "data.where")
            allowed = wanted if isinstance(wanted, list) else [wanted]
            before = self._usable()
            kinds = [(kind_of(value), value) for value in allowed]  # True is no 1
            of_pictures = name == "image" and isinstance(self.raw.pictures, ListedPictures)
            values = self.raw.pictures.values if of_pictures else self._column(name)
            wanted_rows = np.fromiter(((kind_of(value), value) in kinds for value in values), bool, len(values))
            broken = np.isin(self.rows, list(self.problems))
            self.rows = self.rows[broken | wanted_rows[self.rows]]
            if not len(self._usable()):
                held = [values[int(row)] for row in before]
                common = ", ".join(value for value, _ in Counter(str(value)[:40] for value in held).most_common(5))
                raise SourceError(
                    f"data.source '{self.data.source}', {self.split}: no row where data.where holds: column '{column}' "
                    f"is none of {allowed!r:.80}. It holds {' and '.join(sorted({kind_of(value) for value in held}))}, "
                    f"most often {common}"
                )

    def _column(self, name: str) -> Column:
        return self.values.columns.get(name, Column([None] * len(self.values)))

    def _check_texts(self) -> None:
        left = np.isin(self.rows, list(self.text_problems)) if self.text_problems else ()
        for row in self.rows[left].tolist() if len(left) else ():
            if row not in self.problems:
                self._refuse(row, self.text_problems[row])

    def _check_kinds(self) -> None:
        """The further values of a column are of one kind, the most frequent one, or nothing."""
        usable = self._usable()
        mixed: dict[str, tuple[Column, str]] = {}  # with the kind that is expected
        for name, column in self.values.columns.items():
            if not column.is_json:
                continue  # of one kind in Arrow
            kinds = Counter(kind_of(value) for value in column.chosen(usable) if value is not None)
            if len(kinds) > 1:
                mixed[name] = column, kinds.most_common(1)[0][0]
        for row in usable.tolist() if mixed else ():
            for name, (column, expected) in mixed.items():
                value = column[row]
                if value is not None and kind_of(value) != expected:
                    rest = f"the column holds {expected}"
                    self._refuse(row, f"column {name}: found {kind_of(value)} ({value!r:.40}), {rest} elsewhere")
                    break

    # -------------------------------------------------------------------------------------------- pictures

    def _look_at_pictures(self, image_ids: ImageIds) -> None:
        """The digests of each row's pictures; new ones are decoded into the store, on all cores."""
        rows = self._usable()
        self.views = views_of(self.values, rows, self.data.window)
        spans = self.raw.pictures.spans() if isinstance(self.raw.pictures, InFiles) else []
        seen = SeenPictures(self.store.seen, spans, len(self.raw.rows))
        known = (seen.ids[rows] > 0) & self.store.holds(seen.ids[rows])
        known &= ~np.isin(rows, list(self.views))
        image_ids.first[rows[known]] = seen.ids[rows[known]]
        looks = Looks(self.store, self.raw.folder, self.views, self.files, self.needs, self.frames)
        rest = rows[~known].tolist()
        with progress_bar(
            total=len(rest), desc=f"read images of {self.split}", unit="row", leave=False, delay=2
        ) as bar:
            for row, place, outcome in looks.at(zip(rest, self.raw.pictures.cells(rest), strict=True)):
                bar.update(place == 0)
                if isinstance(outcome, str):
                    image_ids.add(row, place, outcome)
                else:
                    self._refuse(row, str(outcome), type(outcome))
        self.of_looks = looks.notes(self.split)
        if spans:
            seen.keep(image_ids.of_whole_files(self.files))


def _kind_of_problem(problem: str) -> str:
    """A problem without its particulars, to count by."""
    return problem.split("(")[0].split("'")[0].strip(" :")[:80]
