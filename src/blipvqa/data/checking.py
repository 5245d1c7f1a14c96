"""From a config to checked splits: which rows there are, which belong together, and which of them are held out.

How the splits overlap, and what was left out, goes into notes that notebooks, metrics and the report repeat.
"""

from __future__ import annotations

import difflib
from itertools import islice

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.data.columns import ColumnNames, image_and_texts, shown
from blipvqa.data.formats import open_source
from blipvqa.data.groups import group_ids, group_notes
from blipvqa.data.images import ImageStore
from blipvqa.data.raw import RawSplit
from blipvqa.data.row_table import texts_of
from blipvqa.data.rows import CheckedSplit, check_split
from blipvqa.data.several_pictures import pictures_of
from blipvqa.data.splitting import (
    Tables,
    cut_validation,
    doubled_notes,
    overlap_notes,
    part_notes,
    regroup,
    repeated_notes,
    shared_notes,
    told_split_notes,
    written_notes,
)

NO_TEST = "there is no test split: this run's own scores are on validation, which also chose the best weights"


def read_splits(config: Config, store: ImageStore) -> tuple[dict[str, CheckedSplit], list[str] | None, list[str]]:
    """Checked splits, the columns of `data.breakdown` as rows call them, notes on how they came about. Fills `store`.

    Raises SourceError or ImageError that name the row; with `data.on_error: skip` such rows are left out and counted.
    """
    data = config.data
    raw_splits, notes = open_source(config)
    group_columns = _group_columns(raw_splits, config)
    breakdown = _breakdown(raw_splits, config)
    tables: Tables = {}
    for split, raw in raw_splits.items():
        tables[split], more = check_split(raw, split, data, store, config.needs)
        notes += more
    notes += told_split_notes(tables) + _add_group_ids(tables, group_columns, data)
    if data.split == "regroup":
        tables, more = regroup(tables, data.group)
        notes += more
    if "validation" not in tables:
        seed = config.seed if data.validation_seed is None else data.validation_seed
        tables, more = cut_validation(tables, data.group, data.validation_share, seed)
        notes += more
    if "test" not in tables:
        notes.append(NO_TEST)
    return {split: _limited(table, data.limit.get(split)) for split, table in tables.items()}, breakdown, notes


def refuse_columns(config: Config) -> None:
    """Raises SourceError or ConfigError where a split lacks a column that the task needs or the config names, before
    any picture is read."""
    raw_splits, _ = open_source(config)
    names = [one for split, raw in raw_splits.items() if (one := _names(raw, split, config))]
    for column in config.data.where:
        for one in names:
            one.ours(column, "data.where")
    _group_columns(raw_splits, config)
    _breakdown(raw_splits, config)


def notes_of(tables: Tables, group: str) -> list[str]:
    """Notes on splits as they are used: how they overlap, and rows that say the same."""
    notes = shared_notes(tables, group) + overlap_notes(tables, group) + part_notes(tables)
    return notes + doubled_notes(tables) + repeated_notes(tables) + written_notes(tables)


def _limited(table: CheckedSplit, most: int | None) -> CheckedSplit:
    return table if most is None else table.chosen(range(min(most, len(table.rows))))


def _names(raw: RawSplit, split: str, config: Config) -> ColumnNames | None:
    """None for a split without a readable row: checking its rows says so."""
    return ColumnNames(raw.columns, split, config.data, config.texts, raw.notes) if raw.columns else None


def _group_columns(raw_splits: dict[str, RawSplit], config: Config) -> dict[str, str]:
    """What rows of each split call the group column, before any picture is read."""
    column = config.data.group_column
    if column is None:
        return {}
    names = {split: _names(raw, split, config) for split, raw in raw_splits.items()}
    if column in ("image", image_and_texts(config.data, config.texts)[0]):
        raise ConfigError("data.group_column: rows of one picture belong together anyway: leave it out")
    return {split: one.ours(column, "data.group_column") for split, one in names.items() if one}


def _breakdown(raw_splits: dict[str, RawSplit], config: Config) -> list[str] | None:
    """`data.breakdown` by our names.

    Raises ConfigError for a column that no split has: its axis would be missing unsaid.
    """
    names = [one for split, raw in raw_splits.items() if (one := _names(raw, split, config))]
    wanted, needed = config.data.breakdown, ("image", *config.texts)
    if wanted is None or not names:
        return wanted
    axes: dict[str, None] = {}
    unknown = []
    for column in wanted:
        ours = {one.ours(column, "data.breakdown") for one in names if one.has(column)} - set(needed)
        axes |= dict.fromkeys(sorted(ours))
        unknown += [column] if not ours else []
    if unknown:
        further = list(dict.fromkeys(name for one in names for name in one.final.values() if name not in needed))
        there = shown(sorted(further)) if further else f"none beside {', '.join(config.texts)} and image"
        close = difflib.get_close_matches(unknown[0], further, 1, 0.6)
        raise ConfigError(
            f"data.breakdown: no split has a further column {', '.join(map(repr, unknown))}; there is only {there}. "
            f"{f'Did you mean {close[0]}? ' if close else ''}Name one of these, or leave data.breakdown out"
        )
    return list(axes)


def _add_group_ids(tables: Tables, columns: dict[str, str], data: DataConfig) -> list[str]:
    """Give every row its `group_id`, where the config has a group column; notes on what belongs together."""
    if data.group_column is None:
        return []
    values = {split: list(table.rows.columns[columns[split]]) for split, table in tables.items()}
    rows = (row for table in tables.values() for row in table.rows)
    cells = [cell for split in tables for cell in values[split]]
    files = {image_id: file for table in tables.values() for image_id, file in table.files.items()}
    files_of = ([files.get(image_id, image_id) for image_id in pictures_of(row)] for row in rows)
    ids = group_ids(zip(cells, files_of, strict=True))
    names = iter(ids)
    for split, table in tables.items():
        table.group_column = columns[split]
        table.rows = table.rows.with_column("group_id", texts_of(list(islice(names, len(table.rows)))))
    return group_notes(data.group_column, values, ids)
