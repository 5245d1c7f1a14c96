"""Every kind of source, opened as `{split: datasets.Dataset}`: what it holds is checked elsewhere (`sources.py`).

Notable:
- An `image` column is `{"bytes", "path"}`, not decoded. A path counts only inside the source's own folder: no URL,
  absolute path, `..` or link leads out of it.
- jsonl and csv are read line by line with bounded memory; a broken line is a row with an `ERROR`, to refuse or skip.
- Nothing is written outside `data.cache_dir`, and no code of a source is ever run.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict, Image, Value

from blipvqa.config.knobs import Config, DataConfig
from blipvqa.config.paths import project_path
from blipvqa.data.synthetic import write_synthetic
from blipvqa.errors import UserError

ALIASES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
IMAGE = {"bytes": Value("binary"), "path": Value("string")}
ERROR = "error (row)"  # column of what is wrong with a line that could not be read; "" where nothing is
LONGEST_LINE = 1_000_000  # characters of a jsonl or csv line
LARGEST_FILE = 500_000_000  # bytes of an image file


class SourceError(UserError, ValueError):
    """Data that cannot be used; the message names the file and row, and says what to do."""


def open_source(config: Config) -> dict[str, Dataset]:
    """The source's splits under our names, columns renamed by `data.columns`, `image` as `{"bytes", "path"}`."""
    data, cache = config.data, project_path(config.data.cache_dir)
    with _quiet():
        folder = _synthetic(data, cache) if data.source == "synthetic" else project_path(data.source)
        tables = _open_folder(folder, data, cache) if folder.is_dir() else _open_hub(data, cache)
        tables = _by_our_names(tables, data)
        return {split: _with_columns(table, split, data) for split, table in tables.items()}


def safe_path(folder: Path, path: str) -> Path:
    """The file that `path` means inside `folder`. Raises ValueError where it leads elsewhere or is no file."""
    if "\0" in path or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path):
        raise ValueError(f"image {path!r:.80} is a URL or drive, expected a path relative to the source's folder")
    if path.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", path):
        raise ValueError(f"image {path!r:.80} leads out of the source's folder")
    try:
        file = (folder / path).resolve(strict=True)
        inside, size = file.is_relative_to(folder.resolve()), file.stat().st_size
    except (OSError, RuntimeError) as error:
        raise ValueError(f"image {path!r:.80}: {getattr(error, 'strerror', None) or error}") from None
    if not inside:
        raise ValueError(f"image {path!r:.80} is a link that leads out of the source's folder")
    if not file.is_file():
        raise ValueError(f"image {path!r:.80} is no file")
    if size > LARGEST_FILE:
        raise ValueError(f"image {path!r:.80} has {size:,} bytes, at most {LARGEST_FILE:,} are read")
    return file


def image_bytes(value: dict | bytes | str, folder: Path) -> bytes:
    """The file behind a cell of column `image`, for rows that were checked."""
    data, path = (value["bytes"], value["path"]) if isinstance(value, dict) else (value, value)
    return data if isinstance(data, bytes) else read_image_file(safe_path(folder, path), path)


def read_image_file(file: Path, path: str) -> bytes:
    """The bytes of `file`, which the data calls `path`. Raises ValueError that names it so."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"image {path!r:.80}: {error.strerror}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars of `datasets`, and without its warnings on ports of the Hub that are in nobody's way."""
    bars, logger = datasets.are_progress_bars_disabled(), logging.getLogger("datasets")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()


def _synthetic(data: DataConfig, cache: Path) -> Path:
    settings = data.synthetic.model_dump(mode="json")
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache / "synthetic" / key
    if not folder.is_dir():
        write_synthetic(folder, **settings)
    return folder


# ------------------------------------------------------------------------------------------------ kinds of sources


def _open_folder(folder: Path, data: DataConfig, cache: Path) -> dict[str, Dataset]:
    if any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        return _saved_to_disk(folder, data)
    for ending in ("parquet", "jsonl", "csv"):
        files = _split_files(folder, ending)
        if files:
            break
    else:
        raise SourceError(
            f"data.source '{data.source}' holds no <split>.parquet, <split>.jsonl or <split>.csv, and was "
            f"not written by save_to_disk; found: {_listing(folder)}. Name files by split: train, "
            "validation, test."
        )
    if ending == "parquet":
        return {split: _parquet(paths, cache) for split, paths in files.items()}
    read = _jsonl if ending == "jsonl" else _csv
    return {
        split: _from_rows([row for path in paths for row in read(path)], paths[0]) for split, paths in files.items()
    }


def _split_files(folder: Path, ending: str) -> dict[str, list[Path]]:
    """Files named by split, in the folder itself or in `data/` (the Hub's layout: `train-00000-of-00002.parquet`)."""
    for place in (folder, folder / "data"):
        found: dict[str, list[Path]] = {}
        for path in sorted(place.glob(f"*.{ending}")):
            split = re.split(r"[-.]", path.name)[0].lower()
            if split in ALIASES and path.is_file():
                found.setdefault(split, []).append(path)
        if found:
            return found
    return {}


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:6]) + ", …" * (len(names) > 6)) or "nothing"


def _parquet(paths: list[Path], cache: Path) -> Dataset:
    try:
        return Dataset.from_parquet([str(path) for path in paths], cache_dir=str(cache / "datasets"))
    except Exception as error:  # datasets and pyarrow raise many kinds for a file that is no parquet
        cause = error.__cause__ or error
        raise SourceError(f"{paths[0].name} does not read as parquet: {' '.join(str(cause).split())[:160]}") from None


def _saved_to_disk(folder: Path, data: DataConfig) -> dict[str, Dataset]:
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # as above
        reason = " ".join(str(error).replace(str(folder), folder.name).split())[:160]
        raise SourceError(f"data.source '{data.source}' does not load as written by save_to_disk: {reason}") from None
    return dict(found) if isinstance(found, DatasetDict) else {"train": found}


def _open_hub(data: DataConfig, cache: Path) -> dict[str, Dataset]:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", data.source) or ".." in data.source:
        raise SourceError(
            f"data.source '{data.source}': no such folder, and no Hub id (owner/name). Give a folder with "
            "train.parquet, train.jsonl or train.csv, a Hub id, or 'synthetic'."
        )
    try:
        return dict(datasets.load_dataset(data.source, cache_dir=str(cache / "hub")))
    except Exception as error:  # no connection, no such set, gated, offline mode: each is told in its own words
        reason = " ".join(str(error).split())[:200]
        raise SourceError(
            f"data.source '{data.source}': no such folder, and the Hub gave none ({reason}). Give a folder "
            "with train.parquet, train.jsonl or train.csv, or connect."
        ) from None


def _jsonl(path: Path) -> Iterator[dict]:
    for line, text in _lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text, object_pairs_hook=_without_doubles)
            yield row if isinstance(row, dict) else {ERROR: f"line {line} is no JSON object"}
        except (ValueError, RecursionError) as error:
            yield {ERROR: f"line {line} is not JSON: {error}"}


def _without_doubles(pairs: list[tuple]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _csv(path: Path) -> Iterator[dict]:
    reader = csv.reader((text for _, text in _lines(path)), strict=True)
    columns = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield {ERROR: f"line {reader.line_num}: {error}"}
            continue
        if columns is None:
            columns = cells
            if len(set(columns)) < len(columns):
                raise SourceError(f"{path.name}: a column name stands twice in {', '.join(columns)}")
        elif cells and len(cells) != len(columns):
            yield {ERROR: f"line {reader.line_num} has {len(cells)} cells, the header {len(columns)}"}
        elif cells:
            yield dict(zip(columns, cells, strict=True))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of each line. Raises SourceError for another encoding, or a line beyond all measure."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            number = 0
            while text := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(text) > LONGEST_LINE:
                    raise SourceError(f"{path.name} line {number}: longer than {LONGEST_LINE:,} characters")
                yield number, text
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path.name} is not UTF-8 (near byte {error.start} of a block after line {number}): save it as UTF-8"
        ) from None
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None


def _from_rows(rows: list[dict], path: Path) -> Dataset:
    """A table of rows from a text file, which stands in `path`'s folder."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = {column: [row.get(column) for row in rows] for column in columns}
    for column in ("image", "question", "answer", ERROR):
        if column in table:
            table[column] = [_encodable(value) for value in table[column]]
    try:
        return Dataset.from_dict(table)
    except Exception as error:  # pyarrow's errors name a type; a person needs the column
        raise SourceError(
            f"{path.name}: a column holds values of several types ({' '.join(str(error).split())[:160]})"
        ) from None


def _encodable(value):
    """Half surrogates (`"\\ud800"` is valid JSON) cannot be written anywhere: they become a mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# ------------------------------------------------------------------------------------------------ names


def _by_our_names(tables: dict[str, Dataset], data: DataConfig) -> dict[str, Dataset]:
    ours: dict[str, Dataset] = {}
    for name, table in tables.items():
        split = ALIASES.get(str(name).lower())
        if split in ours:
            raise SourceError(f"data.source '{data.source}' has split {split} twice: {', '.join(map(str, tables))}")
        if split:
            ours[split] = table
    if "train" not in ours:
        raise SourceError(
            f"data.source '{data.source}' has no split train, only {', '.join(map(str, tables)) or 'none'}"
        )
    return {split: ours[split] for split in ("train", "validation", "test") if split in ours}


def _with_columns(table: Dataset, split: str, data: DataConfig) -> Dataset:
    missing = [name for name in data.columns if name not in table.column_names and table.num_rows]
    if missing:
        raise SourceError(
            f"data.columns: {split} has no column {', '.join(missing)}, only {', '.join(table.column_names)}"
        )
    given = {theirs: ours for theirs, ours in data.columns.items() if theirs in table.column_names}
    displaced = [ours for ours in given.values() if ours in table.column_names and ours not in given]
    table = table.rename_columns({name: f"{name} (data)" for name in displaced}).rename_columns(given)
    absent = [name for name in ("image", "question", "answer") if name not in table.column_names]
    if absent:
        raise SourceError(
            f"data.source '{data.source}', {split}: no column {', '.join(absent)}; found "
            f"{', '.join(table.column_names) or 'none'}. Map names with data.columns, e.g. "
            f"{{img_name: {absent[0]}}}."
        )
    if isinstance(table.features["image"], Image):
        return table.cast_column("image", Image(decode=False))
    return table
