"""Every kind of source, opened as `{split: RawSplit}`: what its rows hold is checked elsewhere (`rows.py`).

Notable:
- Nothing is decoded, no code of a source is ever run, and nothing is written outside `data.cache_dir`.
- Tables in folders are read where they lie: no copy of them that could be stale or hold a patient's data.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from filelock import FileLock

from blipvqa.config.knobs import SPLITS, Config, DataConfig
from blipvqa.config.paths import project_path
from blipvqa.data.arrow_tables import MOST_ROWS
from blipvqa.data.cache import mark
from blipvqa.data.columns import image_and_texts
from blipvqa.data.parquet import read_parquet
from blipvqa.data.raw import ListedPictures, Part, RawSplit
from blipvqa.data.saved_sets import hub_set, read_set, saved_set
from blipvqa.data.split_names import SourceError, find_split_files, ignored_note, split_of
from blipvqa.data.synthetic import write_synthetic
from blipvqa.data.text_tables import is_json_list, read_text_table

__all__ = ["SourceError", "open_source", "read_texts"]


def open_source(config: Config) -> tuple[dict[str, RawSplit], list[str]]:
    """The source's splits under our names, and notes on what was left aside."""
    data, cache = config.data, project_path(config.data.cache_dir)
    folder = _synthetic(config, cache) if data.source == "synthetic" else project_path(data.source)
    if folder.is_file():
        raise SourceError(f"data.source '{data.source}' is a file, expected the folder in which it lies")
    if not folder.is_dir():
        splits, notes = _by_our_names(hub_set(data.source, data.revision, cache / "hub"), config)
    elif any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        splits, notes = _by_our_names(saved_set(folder, data.source), config)
    else:
        splits, notes = _open_folder(folder, config)
    if "train" not in splits:
        raise SourceError(f"data.source '{data.source}' has no split train, only {', '.join(splits) or 'none'}")
    return {split: _checked_parts(splits[split], split, data) for split in SPLITS if split in splits}, notes


def _synthetic(config: Config, cache: Path) -> Path:
    settings = config.data.synthetic.model_dump(mode="json")
    settings |= {} if config.task == "vqa" else {"texts": list(config.texts)}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache / "synthetic" / key / "drawn"
    if not folder.is_dir():
        mark(folder.parent)
        with FileLock(folder.parent / "drawn.lock"):
            for unfinished in folder.parent.glob(".drawn-*"):
                shutil.rmtree(unfinished)  # whoever drew it was killed
            if not folder.is_dir():
                write_synthetic(folder, **settings)
    return folder


def _by_our_names(tables: dict, config: Config) -> tuple[dict[str, RawSplit], list[str]]:
    """The splits of a set of the `datasets` library."""
    data = config.data
    image, texts = image_and_texts(data, config.texts)
    names: dict[str, str] = {}
    for name in tables:
        split = split_of(name)
        if split in names:
            raise SourceError(f"data.source '{data.source}' has split {split} twice: {names[split]} and {name}")
        if split:
            names[split] = name
    notes = ignored_note([name for name in tables if not split_of(name)])
    return {split: read_set(tables[name], image, texts, split) for split, name in names.items()}, notes


def _open_folder(folder: Path, config: Config) -> tuple[dict[str, RawSplit], list[str]]:
    data = config.data
    image, texts = image_and_texts(data, config.texts)
    try:
        split_files = find_split_files(folder)
    except OSError as error:
        raise SourceError(f"data.source '{data.source}' cannot be read: {error.strerror}") from None
    if not split_files.files:
        raise SourceError(
            f"data.source '{data.source}' holds no <split>.parquet, <split>.jsonl, <split>.json or <split>.csv, and "
            f"was not written by save_to_disk; found: {_listing(folder)}. Name files by split: train, validation, test."
        )
    splits = {
        split: read_parquet(paths, image, texts, split)
        if paths[0].suffix.lower() == ".parquet"
        else read_texts(paths, image)
        for split, paths in split_files.files.items()
    }
    return splits, ignored_note(split_files.ignored)


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:6]) + ", …" * (len(names) > 6)) or "nothing"


def read_texts(paths: list[Path], image: str) -> RawSplit:
    """A split of jsonl, json or csv files, which stand in the folder that pictures are named from."""
    rows: list[dict | None] = []
    cells: list = []
    columns: dict[str, None] = {}  # a set that keeps the order
    parts: list[Part] = []
    broken: dict[int, str] = {}
    for path in paths:
        lines: list[int] = []
        parts.append(Part(path.name, len(rows), lines, "element" if is_json_list(path) else "line"))
        for line, row in read_text_table(path):
            if len(rows) == MOST_ROWS:
                raise SourceError(f"{path.name} line {line}: a split of more than {MOST_ROWS:,} rows")
            lines.append(line)
            if isinstance(row, str):
                broken[len(rows)] = row
                rows.append(None)
                cells.append(None)
            else:
                columns |= dict.fromkeys(row)
                cells.append(row.pop(image, None))
                rows.append(row)
    return RawSplit(rows, list(columns), ListedPictures(cells), parts, broken)


def _checked_parts(raw: RawSplit, split: str, data: DataConfig) -> RawSplit:
    """`raw`, with a note on each file without a row; refused where `data.on_error` says so, or none has a row."""
    ends = [part.first for part in raw.parts[1:]] + [len(raw.rows)]
    empty = [part.name for part, end in zip(raw.parts, ends, strict=True) if part.first == end]
    if empty and (data.on_error == "raise" or not raw.rows):
        what = "has no row" if raw.columns else "is empty: it has no column and no row"
        raise SourceError(f"data.source '{data.source}', {split}: {empty[0]} {what}")
    raw.notes += [f"{split}: {name} has no row" for name in empty]
    return raw
