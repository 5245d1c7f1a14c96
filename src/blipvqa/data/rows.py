"""From a config to checked splits: every row has a question, an answer and a picture that decodes, or is named.

Notable:
- `image_id` is the digest of the image's bytes: equal pictures are one image whatever the files say.
- Each distinct picture is decoded once, into the image store; what lies there has been seen to decode.
- How the splits overlap, and what was left out, goes into notes that notebooks, metrics and the report repeat.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from datasets import Dataset
from tqdm.auto import tqdm

from blipvqa.config.knobs import Config, DataConfig
from blipvqa.config.paths import project_path
from blipvqa.data.formats import ERROR, SourceError, image_bytes, open_source, read_image_file, safe_path
from blipvqa.data.images import ImageError, ImageStore
from blipvqa.data.splitting import cut_validation, regroup, shared_notes
from blipvqa.text import asks_something, normalize

LONGEST_TEXT = 20_000  # characters of a question or an answer
OURS = ("id", "image_id", "pixels", "prediction", "score", "yes_probability", "confidence")


def read_splits(config: Config, store: ImageStore) -> tuple[dict[str, Dataset], list[str]]:
    """Tables by split with columns `id`, `image_id`, `image`, `question`, `answer` and the source's further ones; and
    notes for people. Fills `store`.

    Raises SourceError or ImageError that name the row; with `data.on_error: skip` such rows are left out and counted.
    """
    data, notes, tables = config.data, [], {}
    for split, raw in open_source(config).items():
        kept = _Checked(raw, split, data, store)
        tables[split] = kept.table
        notes += kept.notes
    group = data.group
    for split, table in tables.items():
        if group not in table.column_names:
            raise SourceError(f"data.group_column '{group}': {split} has only {', '.join(table.column_names)}")
    if data.split == "regroup":
        tables, more = regroup(tables, group)
        notes += more
    notes += shared_notes(tables, group)
    if "validation" not in tables:
        tables, more = cut_validation(tables, group, data.validation_share, config.seed)
        notes += more
    if "test" not in tables:
        notes.append("there is no test split: scores are on validation, which also chose the best weights")
    tables = {
        split: table.select(range(min(len(table), data.limit.get(split, len(table)))))
        for split, table in tables.items()
    }
    return tables, notes


class _Checked:
    """One split on its way: `table`, with ids and without what was skipped, and `notes` on that."""

    def __init__(self, raw: Dataset, split: str, data: DataConfig, store: ImageStore):
        self.raw, self.split, self.data, self.store = raw, split, data, store
        self.folder = project_path(data.source)
        self.problems: dict[int, str] = {}
        self.sources: dict[str, int] = {}  # a row that holds each image
        rows = self._wanted()
        if not rows:
            found = "no row where data.where holds" if data.where else "no row"
            raise SourceError(f"data.source '{data.source}', {split}: {found}")
        self._check_texts(rows)
        image_ids = self._image_ids([row for row in rows if row not in self.problems])
        self._check_images(image_ids)
        kept = [row for row in rows if row not in self.problems]
        if not kept:
            raise SourceError(
                f"data.source '{data.source}', {split}: every row is broken, e.g. "
                f"{self._name(rows[0])}: {self.problems[rows[0]]}"
            )
        self.table = self._with_ids(image_ids).select(kept)
        self.notes = [
            f"{split}: {count} of {len(rows)} rows left out: {reason}"
            for reason, count in Counter(map(_kind, self.problems.values())).items()
        ]

    def _name(self, row: int) -> str:
        return f"row {self.split}/{row}"

    def _refuse(self, row: int, problem: str, kind: type = SourceError) -> None:
        if self.data.on_error == "raise":
            raise kind(f"{self._name(row)}: {problem}. Mend it, or set data.on_error: skip.")
        self.problems[row] = problem

    def _wanted(self) -> list[int]:
        """Rows that `data.where` keeps."""
        rows = range(len(self.raw))
        for column, wanted in self.data.where.items():
            if column not in self.raw.column_names:
                raise SourceError(
                    f"data.where: {self.split} has no column '{column}', only {', '.join(self.raw.column_names)}"
                )
            allowed = wanted if isinstance(wanted, list) else [wanted]
            values = self.raw.data.column(column).to_pylist() if self.raw._indices is None else self.raw[column][:]
            rows = [row for row in rows if values[row] in allowed]
        return list(rows)

    def _check_texts(self, rows: list[int]) -> None:
        texts = self.raw.remove_columns("image")
        columns = {name: texts[name][:] for name in ("question", "answer", ERROR) if name in texts.column_names}
        for row in rows:
            if columns.get(ERROR) and columns[ERROR][row]:
                self._refuse(row, columns[ERROR][row])
                continue
            for name in ("question", "answer"):
                if problem := _text_problem(name, columns[name][row]):
                    self._refuse(row, problem)
                    break

    # -------------------------------------------------------------------------------------------- images

    def _image_ids(self, rows: list[int]) -> dict[int, str]:
        """The digest of each row's image; a path that comes again is not looked up again."""
        found: dict[int, str] = {}
        known: dict[str, str] = {}
        for row, (data, path) in zip(rows, self._images(rows), strict=True):
            try:
                if data is not None:
                    found[row] = _digest(data)
                elif path:
                    if path not in known:
                        known[path] = _digest(read_image_file(safe_path(self.folder, path), path))
                    found[row] = known[path]
                else:
                    raise ValueError("there is no image")
            except ValueError as error:
                self._refuse(row, str(error), ImageError)
                continue
            self.sources.setdefault(found[row], row)
        return found

    def _images(self, rows: list[int]) -> Iterator[tuple]:
        """(bytes or None, path or None) of each row, without a copy of the bytes."""
        column = self.raw.select(rows).select_columns("image").with_format("arrow") if rows else []
        kind = self.raw.data.schema.field("image").type
        for start in range(0, len(rows), 256):
            values = column[start : start + 256]["image"]
            if pa.types.is_struct(kind):
                values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
                yield from zip(map(_buffer, values.field("bytes")), values.field("path").to_pylist(), strict=True)
            elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                yield from ((_buffer(value), None) for value in values)
            elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
                yield from ((None, path) for path in values.to_pylist())
            else:
                raise SourceError(
                    f"data.source '{self.data.source}', {self.split}: column image holds {kind}, expected "
                    "pictures, their bytes, or paths"
                )

    def _read(self, row: int) -> bytes:
        return image_bytes(self.raw[row]["image"], self.folder)

    def _check_images(self, image_ids: dict[int, str]) -> None:
        """Decode what the store does not hold yet, on all cores."""
        new = [image_id for image_id in self.sources if not self.store.has(image_id)]
        broken: dict[str, str] = {}

        def decode(image_id: str) -> None:
            try:
                self.store.get(image_id, lambda: self._read(self.sources[image_id]), "")
            except ImageError as error:
                broken[image_id] = str(error).removeprefix(": ")

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(
                tqdm(
                    threads.map(decode, new),
                    total=len(new),
                    desc=f"read images of {self.split}",
                    unit="image",
                    disable=len(new) < 2000,
                    leave=False,
                )
            )
        for row, image_id in image_ids.items():
            if image_id in broken:
                self._refuse(row, broken[image_id], ImageError)

    def _with_ids(self, image_ids: dict[int, str]) -> Dataset:
        table = self.raw.remove_columns(ERROR) if ERROR in self.raw.column_names else self.raw
        table = table.rename_columns({name: f"{name} (data)" for name in OURS if name in table.column_names})
        if (
            table._indices is not None
        ):  # a shuffled or filtered set from save_to_disk: columns can be added to whole ones
            table = table.flatten_indices()
        table = table.add_column("id", [f"{self.split}/{row}" for row in range(len(table))])
        table = table.add_column("image_id", [image_ids.get(row, "") for row in range(len(table))])
        first = ["id", "image_id", "image", "question", "answer"]
        return table.select_columns(first + [name for name in table.column_names if name not in first])


def _digest(data) -> str:
    """16 hex digits of the sha256 of an image file's bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def _buffer(value: pa.Scalar):
    return value.as_buffer() if value.is_valid else None


def _text_problem(name: str, text) -> str | None:
    if text is None:
        return f"there is no {name}"
    if not isinstance(text, str):
        return f"the {name} is {type(text).__name__} ({text!r:.40}), expected text"
    if len(text) > LONGEST_TEXT:
        return f"the {name} has {len(text):,} characters, at most {LONGEST_TEXT:,} are read"
    if not normalize(text) or (name == "question" and not asks_something(text)):
        return f"the {name} is empty"
    return None


def _kind(problem: str) -> str:
    """A problem without its particulars, to count by."""
    return problem.split("(")[0].split("'")[0].strip(" :")[:60]
