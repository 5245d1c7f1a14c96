"""Which rows may stand where: a validation cut by image or group, and what splits share."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, islice

import numpy as np

from blipvqa.config.knobs import SPLITS
from blipvqa.data.groups import group_ids
from blipvqa.data.row_table import column_of
from blipvqa.data.rows import CheckedSplit
from blipvqa.data.several_pictures import pictures_of
from blipvqa.data.split_names import SourceError, split_of
from blipvqa.data.values import folded_name
from blipvqa.plural import how_many, of_all

Tables = dict[str, CheckedSplit]
SYNTHETIC = "synthetic"  # in column `origin` of bootstrapped captions: a model wrote the text
SPLIT_COLUMNS = ("split", "subset", "partition", "phase", "set", "dataset_split")  # what tables call it
COSTS = {  # what it costs that pictures of the second split stand in the first too
    ("train", "test"): ": test scores are flattered by what was memorized",
    ("train", "validation"): ": validation scores are flattered by what was memorized, and choose the epoch by it",
    ("validation", "test"): ", which chooses the epoch and the temperature: test scores are a little flattered",
}


def cut_validation(tables: Tables, group: str, share: float, seed: int) -> tuple[Tables, list[str]]:
    """Move whole groups, drawn from `seed`, from train to a new validation split: `share` of them, at least one.

    `group` is the column of rows that names their group, `image_id` or `group_id`.
    """
    groups = _groups_of(tables, group)["train"]
    names = sorted(set(groups))
    if len(names) < 2:
        raise SourceError(
            f"train has a single {_singular(group)}: no validation split can be cut from it without sharing it"
        )
    random.Random(f"{seed}/validation cut").shuffle(names)
    chosen = set(names[: min(len(names) - 1, max(1, round(share * len(names))))])
    train = tables["train"].chosen([i for i, name in enumerate(groups) if name not in chosen])
    validation = tables["train"].chosen([i for i, name in enumerate(groups) if name in chosen])
    note = (
        f"there was no validation split: {len(chosen)} of train's {len(names)} {_plural(group)} "
        f"{'was' if len(chosen) == 1 else 'were'} cut for it, {how_many(len(validation.rows), 'question')}"
    )
    return {"train": train, "validation": validation} | {k: t for k, t in tables.items() if k != "train"}, [note]


def regroup(tables: Tables, group: str) -> tuple[Tables, list[str]]:
    """Drop from train what validation or test holds too, and from validation what test holds too."""
    notes, held_out, remaining, groups_of = [], set(), {}, _groups_of(tables, group)
    for split in ("test", "validation", "train"):
        if split not in tables:
            continue
        groups = groups_of[split]
        rows = [i for i, name in enumerate(groups) if name not in held_out]
        if not rows:
            raise SourceError(f"data.split: regroup leaves nothing of {split}: all of it is held out elsewhere too")
        if len(rows) < len(groups):
            notes.append(
                f"regrouped: {of_all(len(groups) - len(rows), len(groups), f'{split} question', 'was', 'were')} "
                f"dropped, their {_plural(group)} are held out"
            )
        held_out |= set(groups)
        remaining[split] = tables[split].chosen(rows)
    return {split: remaining[split] for split in tables}, notes


def shared_notes(tables: Tables, group: str) -> list[str]:
    """One line for each pair of splits that share images, or groups; none where all is well.

    Give it the splits as they are used, after cuts and limits: a picture that was left out of train flatters nothing.
    """
    notes = []
    for column in dict.fromkeys(("image_id", group)):
        sets = {split: _held(tables[split], column) for split in SPLITS if split in tables}
        for one, other in combinations(sets, 2):
            shared = sets[one] & sets[other]
            if shared:
                notes.append(
                    f"{len(shared)} of the {len(sets[other])} {other} {_plural(column)} stand in {one} too"
                    f"{COSTS[one, other]}"
                )
    return notes


def told_split_notes(tables: Tables) -> list[str]:
    """A line where a column of a split's own table says of rows that they are of another split."""
    notes = []
    for split, table in tables.items():
        for column in table.columns:
            if folded_name(column.removesuffix(" (data)")) not in SPLIT_COLUMNS:
                continue
            told = Counter(split_of(str(cell).strip()) for cell in table.rows.columns[column] if cell is not None)
            others = {name: count for name, count in told.items() if name not in (None, split)}
            if others:
                said = ", ".join(f"{count:,} of {name}" for name, count in others.items())
                notes.append(
                    f"{split}: column '{column}' calls rows those of another split ({said}), and they stay in {split}: "
                    "the file's name counts. Write each split into a file of its own, such as test.csv, or keep some "
                    "with data.where"
                )
    return notes


def written_notes(tables: Tables) -> list[str]:
    """A line for each split with texts of a model: no person said what is right."""
    notes = []
    for split in [split for split in tables if "origin" in tables[split].columns]:
        rows = tables[split].rows
        if count := list(rows.columns["origin"]).count(SYNTHETIC):
            so = (
                "what is learnt of them may name what is not there"
                if split == "train"
                else f"scores on {split} say how well they are repeated, not what is right"
            )
            notes.append(
                f"{split}: {of_all(count, len(rows), 'text', 'was', 'were')} written by a model (origin: "
                f"{SYNTHETIC}): {so}"
            )
    return notes


def doubled_notes(tables: Tables) -> list[str]:
    """A line for each split in which the very same row stands more than once: it counts as often."""
    notes = []
    for split, table in tables.items():
        compared = ("image_id", *table.texts, *({"answers", "candidates", "history"} & set(table.columns)))
        cells = zip(*(column_of(table.rows, name) for name in compared), strict=True)
        keys = (hash(tuple(cell if isinstance(cell, str) else repr(cell) for cell in row)) for row in cells)
        _, first, which = np.unique(
            np.fromiter(keys, np.int64, len(table.rows)), return_index=True, return_inverse=True
        )
        again = np.flatnonzero(first[which] != np.arange(len(which)))
        if len(again):
            pair = (table.rows[int(row)]["id"] for row in (first[which[again[0]]], again[0]))
            notes.append(
                f"{split}: {of_all(len(again), len(which), 'row', 'stands', 'stand')} there before with the same "
                f"picture, {' and '.join(table.texts)}, and count{'s' * (len(again) == 1)} again (first: "
                f"{' and '.join(pair)})"
            )
    return notes


def repeated_notes(tables: Tables) -> list[str]:
    """A line for each split in which rows of several pictures show one of them twice."""
    notes = []
    for split, table in tables.items():
        lists = column_of(table.rows, "image_ids") if "image_ids" in table.rows.columns else ()
        rows = [i for i, ids in enumerate(lists) if ids and len(set(ids)) < len(ids)]
        if rows:
            first = table.rows[rows[0]]["id"]
            notes.append(
                f"{split}: {how_many(len(rows), 'row shows', 'rows show')} the same picture twice in "
                f"{'its' if len(rows) == 1 else 'their'} list "
                f"(first: {first})"
            )
    return notes


def part_notes(tables: Tables) -> list[str]:
    """A line where frames, regions or windows of one file stand in two splits: they may show the same thing."""
    files = {
        split: {table.files.get(image_id) for image_id in _held(table, "image_id")} - {None}
        for split, table in tables.items()
    }
    shared = set().union(*(files[one] & files[other] for one, other in combinations(files, 2)))
    if not shared:
        return []
    hint = "name a data.group_column to hold them together"
    return [f"parts of one file stand in two splits (frames, regions), of {how_many(len(shared), 'file')}: {hint}"]


def _held(table: CheckedSplit, column: str) -> set[str]:
    """The pictures of a split, or its groups."""
    if column != "image_id" or not _shows_several(table):
        return set(column_of(table.rows, column))
    return {image_id for row in table.rows for image_id in pictures_of(row)}


def _shows_several(table: CheckedSplit) -> bool:
    return any(column_of(table.rows, "image_ids"))


def _groups_of(tables: Tables, group: str) -> dict[str, list[str]]:
    """The group of each row by split. Where rows show several pictures, those that share one are of one group."""
    if group != "image_id" or not any(map(_shows_several, tables.values())):
        return {split: list(column_of(table.rows, group)) for split, table in tables.items()}
    names = iter(group_ids((None, pictures_of(row)) for table in tables.values() for row in table.rows))
    return {split: list(islice(names, len(table.rows))) for split, table in tables.items()}


def overlap_notes(tables: Tables, group: str) -> list[str]:
    """A line where rows share some of their pictures and not all: intervals would count them as independent."""
    if group != "image_id" or not any(map(_shows_several, tables.values())):
        return []
    lists = {image_id for table in tables.values() for image_id in column_of(table.rows, "image_id")}
    groups = {name for names in _groups_of(tables, group).values() for name in names}
    if len(groups) == len(lists):
        return []
    return [
        f"rows with several pictures share some of them: {len(lists)} lists of pictures are "
        f"{how_many(len(groups), 'group')}. Intervals count each list by itself: name a data.group_column (patient, "
        "series) that holds them together"
    ]


def _singular(group: str) -> str:
    return "image" if group == "image_id" else "group"


def _plural(group: str) -> str:
    return f"{_singular(group)}s"
