"""Every kind of source, opened as `{split: RawSplit}`: what its rows hold is checked elsewhere (`rows.py`).

Notable:
- Nothing is decoded, no code of a source is ever run, and nothing is written outside `data.cache_dir`.
- Tables in folders are read where they lie: no copy of them that could be stale or hold a patient's data.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.knobs import SPLITS, Config
from blipvqa.config.paths import project_path
from blipvqa.data.arrow_tables import MOST_ROWS
from blipvqa.data.cache import mark
from blipvqa.data.columns import column_called, image_and_texts
from blipvqa.data.encodings import encoding_of
from blipvqa.data.general_layouts import imagefolder, llava, vqa_v2
from blipvqa.data.image_files import PictureFolder
from blipvqa.data.json_files import is_json_list, rows_within
from blipvqa.data.layouts import Source, Table
from blipvqa.data.medical_layouts import pathvqa, slake, vqa_rad
from blipvqa.data.parquet import read_parquet
from blipvqa.data.raw import ListedPictures, Part, Pictures, RawSplit
from blipvqa.data.row_table import RowTableBuilder
from blipvqa.data.saved_sets import read_set
from blipvqa.data.sheets import sheet_notes
from blipvqa.data.source_hints import what_to_do
from blipvqa.data.split_names import (
    SourceError,
    TableFile,
    ending_of,
    find_split_files,
    ignored_note,
    listed,
    split_of,
    tables_in,
)
from blipvqa.data.tars import TarPictures, is_tar, tar_tables, tars_by_split
from blipvqa.data.text_tables import read_text_table
from blipvqa.data.zips import Zip, is_zip

LAYOUTS = (slake, vqa_rad, pathvqa, vqa_v2, llava, imagefolder)  # the first that recognises a folder reads it

__all__ = ["SourceError", "open_source", "read_texts"]


def open_source(config: Config) -> tuple[dict[str, RawSplit], list[str]]:
    """The source's splits under our names, and notes on what was left aside."""
    data, cache = config.data, project_path(config.data.cache_dir)
    refuse_missing(data)
    folder = _synthetic(config, cache) if data.source == "synthetic" else project_path(data.source)
    if folder.is_file() and not is_zip(folder) and not is_tar(folder):
        raise SourceError(
            f"data.source '{data.source}' is a file, expected the folder in which it lies, a zip or a tar"
        )
    if not folder.exists():
        from blipvqa.data.loaded_sets import hub_set  # here, not above: it takes seconds

        splits, notes = _by_our_names(hub_set(data.source, data.revision, cache / "hub", data.subset), config)
    elif any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        from blipvqa.data.loaded_sets import saved_set

        splits, notes = _by_our_names(saved_set(folder, data.source), config)
    elif is_tar(folder):
        splits, notes = _open_tars(folder)
    else:
        splits, notes = _open_folder(folder, config)
    if "train" not in splits:
        there = f"data.source '{data.source}' has no split train, only {', '.join(splits) or 'none'}"
        raise SourceError("; ".join([there, *notes]))
    pictures = picture_folder(data, folder)
    for raw in splits.values():
        raw.folder = raw.folder or pictures
    return {split: _checked_parts(splits[split], split, data) for split in SPLITS if split in splits}, notes


def refuse_missing(data: DataConfig) -> None:
    """Raises SourceError where `data.source` is nothing here and no name that the Hub could know."""
    source = data.source
    if source == "synthetic" or project_path(source).exists():
        return
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", source) or ".." in source:
        raise SourceError(
            f"data.source '{source}': no such folder, and no Hub id (owner/name). Give a folder with "
            "train.parquet, train.jsonl or train.csv, a Hub id, or 'synthetic'."
        )


def picture_folder(data: DataConfig, source: Path, packed: Zip | None = None) -> PictureFolder:
    """The folder or zip that pictures are named from: `data.image_root`, or the source. Raises SourceError."""
    if data.image_root is None:
        return PictureFolder(source, data.image_suffix, packed=packed)
    root = project_path(data.image_root)
    if not root.is_dir() and not is_zip(root):
        raise SourceError(
            f"data.image_root '{data.image_root}' is no folder and no zip file: give that of the pictures"
        )
    return PictureFolder(root, data.image_suffix)


def _synthetic(config: Config, cache: Path) -> Path:
    settings = config.data.synthetic.model_dump(mode="json")
    settings |= {} if config.task == "vqa" else {"texts": list(config.texts)}
    if config.task == "vqa" or not settings["caption_noise"]:
        del settings["caption_noise"]  # what it does not change is drawn once
    for of_questions in ("dialogues", "descriptions"):
        if config.task != "vqa" or not settings[of_questions]:
            del settings[of_questions]
    if settings["stains"] is None:
        del settings["stains"]
    drawn_for = {"vqa": ("one", "pairs", "series"), "pairs": ("pairs",)}.get(config.task, ("one",))
    if settings["pictures"] not in drawn_for:
        raise SourceError(
            f"data.synthetic.pictures: {settings['pictures']} is not drawn for task: {config.task}, expected "
            f"{' or '.join(drawn_for)}"
        )
    if settings["pictures"] == "one":
        del settings["pictures"]
    drawn_by = {"drawn_by": _drawing_digest()}  # or what an older version drew would be read as this one's
    key = hashlib.sha256(json.dumps(settings | drawn_by, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache / "synthetic" / key / "drawn"
    if not folder.is_dir():
        try:
            _draw(folder, settings)
        except OSError as error:
            raise SourceError(
                f"data.source 'synthetic': what is drawn cannot be written into data.cache_dir "
                f"'{config.data.cache_dir}' ({error.strerror or error}): make room there, or name another folder"
            ) from error
    return folder


def _drawing_digest() -> str:
    """What tells drawn data of this code from that of another version: a digest of the files that draw."""
    files = sorted(Path(__file__).parent.glob("synthetic*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _draw(folder: Path, settings: dict) -> None:
    from blipvqa.data.synthetic import write_synthetic  # here, not above: it imports `datasets`, which takes seconds

    mark(folder.parent)
    with FileLock(folder.parent / "drawn.lock"):
        for unfinished in folder.parent.glob(".drawn-*"):
            shutil.rmtree(unfinished)  # whoever drew it was killed
        if not folder.is_dir():
            write_synthetic(folder, **settings)


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
    """A folder, or a zip file of one."""
    data = config.data
    packed = Zip(folder) if is_zip(folder) else None
    try:
        tables = packed.tables() if packed else tables_in(folder)
        of_pictures = project_path(data.image_root or folder)  # a zip here, which is no table that is left aside
        tables = {name: table for name, table in tables.items() if table != of_pictures}
        split_files = find_split_files(tables)
    except OSError as error:
        raise SourceError(f"data.source '{data.source}' cannot be read: {error.strerror}") from None
    own = PictureFolder(folder, packed=packed)
    source = Source(tables, split_files.files, own, frozenset(data.columns))
    layout = next((layout for recognise in LAYOUTS if (layout := recognise(source))), None)
    image, texts = image_and_texts(data, config.texts)
    pictures = picture_folder(data, folder, packed)
    if layout:
        pictures.within = layout.within
        splits = {split: read_tables(parts, image) for split, parts in layout.splits.items()}
        notes = [f"layout recognised: {layout.name}", *layout.notes, *layout.left_aside(tables)]
    elif split_files.files:
        splits = {split: _read_files(files, image, texts, split) for split, files in split_files.files.items()}
        notes = ignored_note(split_files.ignored)
    elif not packed and (of_tars := _open_tars(folder))[0]:
        splits, notes = of_tars
        notes += [f"not read, since it lies beside tar files: {listed(list(tables))}"] if tables else []
    else:
        raise SourceError(
            f"data.source '{data.source}' holds no <split>.parquet, <split>.jsonl, <split>.json, <split>.csv, "
            f"<split>.tsv, <split>.xlsx or .tar, is in no layout that is recognised, and was not written by "
            f"save_to_disk; found: {_listing(folder, packed)}. {what_to_do(folder, tables, data.source, texts)}"
        )
    for raw in splits.values():
        raw.folder = pictures
    return splits, notes


def _open_tars(source: Path) -> tuple[dict[str, RawSplit], list[str]]:
    """A tar, or the tars of a folder."""
    tars, notes = tars_by_split(source)
    splits = {}
    for split, paths in tars.items():
        pictures = TarPictures(paths)
        splits[split] = read_tables(tar_tables(paths, pictures), "image", pictures)
    return splits, notes


def _read_files(files: list[TableFile], image: str, texts: tuple[str, ...], split: str) -> RawSplit:
    if ending_of(files[0]) != "parquet":
        return read_texts(files, image)
    if not isinstance(files[0], Path):
        raise SourceError(f"{files[0].name} is a parquet file in a zip, which is not read in place: unpack the zip")
    return read_parquet(files, image, texts, split)


def _listing(folder: Path, packed: Zip | None) -> str:
    names = sorted(packed.members if packed else (path.name for path in folder.iterdir()))
    return (", ".join(names[:6]) + ", …" * (len(names) > 6)) or "nothing"


def read_texts(paths: list[TableFile], image: str) -> RawSplit:
    """A split of jsonl, json, csv, tsv or xlsx files, whose column `image` names pictures."""
    tables = (Table(path, read_text_table(path), "element" if is_json_list(path) else "line") for path in paths)
    raw = read_tables(tables, image)
    raw.notes += [note for path in paths for note in _table_notes(path)]
    return raw


def _table_notes(path: TableFile) -> list[str]:
    """What a person should know of how a table was read."""
    if ending_of(path) in ("csv", "tsv") and encoding_of(path) == "cp1252":
        return [f"{path.name} is not UTF-8 and was read as cp1252"]
    if key := rows_within(path):
        return [f"{path.name}: its rows are those of its key {key!r}"]
    return sheet_notes(path) if ending_of(path) == "xlsx" else []


def read_tables(tables: Iterable[Table], image: str, pictures: Pictures | None = None) -> RawSplit:
    """The rows of one split's tables, with the pictures' names, column `image`, beside them; or `pictures`, which the
    tables hold themselves."""
    rows = RowTableBuilder()
    columns: dict[str, None] = {}  # a set that keeps the order
    parts: list[Part] = []
    broken: dict[int, str] = {}
    for table in tables:
        lines: list[int] = []
        parts.append(Part(table.file.name, rows.length, lines, table.unit))
        for line, row in table.rows:
            if rows.length == MOST_ROWS:
                raise SourceError(f"{table.file.name} line {line}: a split of more than {MOST_ROWS:,} rows")
            lines.append(line)
            if isinstance(row, str):
                broken[rows.length] = row
            else:
                columns |= dict.fromkeys(row)
            rows.append({} if isinstance(row, str) else row)
    if pictures:
        return RawSplit(rows.table(columns), ["image", *columns], pictures, parts, broken)
    image = column_called(image, list(columns))
    table, cells = rows.table(columns).without(image)
    return RawSplit(table, list(columns), ListedPictures(cells), parts, broken)


def _checked_parts(raw: RawSplit, split: str, data: DataConfig) -> RawSplit:
    """`raw`, with a note on each file without a row; refused where `data.on_error` says so, or none has a row."""
    ends = [part.first for part in raw.parts[1:]] + [len(raw.rows)]
    empty = [part.name for part, end in zip(raw.parts, ends, strict=True) if part.first == end]
    if empty and (data.on_error == "raise" or not raw.rows):
        what = "has no row" if raw.columns else "is empty: it has no column and no row"
        raise SourceError("; ".join([f"data.source '{data.source}', {split}: {empty[0]} {what}", *raw.notes]))
    raw.notes += [f"{split}: {name} has no row" for name in empty]
    return raw
