"""Rows as columns: a table gives back every value as it came, and what is done with many rows at once is what was done
with each."""

import json
import pickle
import random

import numpy as np
import pytest

from blipvqa.data.batches import epoch_order, epoch_plan
from blipvqa.data.fingerprint import _digests, row_digest
from blipvqa.data.row_table import SPAN, RowTableBuilder, codes_of, hex_column, numbered, numbers_of, with_column
from blipvqa.numbers.grouping import rows_by

VALUES = {
    "text": ["", "a", 'ä\u2028"\\\n\x07%s{}', "x" * 1000],
    "whole": [0, -1, 2**63 - 1, -(2**63)],
    "large": [1, 2**64 - 1, 3, 4],
    "fraction": [0.1, -0.0, 1e-300, 1e300],
    "mixed numbers": [1, 2.0, 3, 4.5],
    "truth": [True, False, True, False],
    "mixed": ["a", 1, True, None],
    "lists": [["a", 1], [], None, [{"b": None, "a": [1.0]}]],
    "objects": [{"z": 1, "a": 2}, None, {}, {"z": "1"}],
    "nothing": [None, None, None, None],
    "late": [None, None, None, "a"],
}


def table_of(rows, plain=True):
    builder = RowTableBuilder(plain)
    for row in rows:
        builder.append(row)
    return builder.table()


@pytest.mark.parametrize("count", [0, 1, 4, SPAN - 1, SPAN, SPAN + 1, 2 * SPAN + 3])
def test_every_value_comes_back_as_it_came(count):
    """The kinds of numbers, too: 1 is no 1.0, and True no 1, in pages and digests."""
    rows = [{name: values[i % 4] for name, values in VALUES.items()} for i in range(count)]
    table = table_of(rows)
    for one in (table, pickle.loads(pickle.dumps(table))):
        assert json.dumps(list(one)) == json.dumps(rows)
    assert one == rows
    some = random.Random(0).sample(range(count), min(count, 50))
    assert (
        json.dumps([table[i] for i in some])
        == json.dumps(list(table.chosen(some)))
        == json.dumps([rows[i] for i in some])
    )
    assert json.dumps(table[-2:]) == json.dumps(rows[-2:])
    assert list(_digests(table)) == [row_digest(row) for row in rows]


def test_columns_that_come_late_or_change_their_kind_are_filled_up():
    rows = [{"a": i} for i in range(SPAN + 5)] + [{"b": "x", "a": "now a text"}] + [{}] * 3
    table = table_of(rows)
    assert list(table) == [{"a": row.get("a"), "b": row.get("b")} for row in rows]


def test_a_column_is_exchanged_in_a_table_as_in_a_list():
    rows = [{"id": i, "answer": "a", "answers": ["a", "b"]} for i in range(9)]
    others = ["b", None, *"cdefghi"]
    assert list(with_column(table_of(rows), "answer", others)) == with_column(rows, "answer", others)


def test_ids_are_numbers_and_texts():
    numbers = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    column = hex_column(numbers)
    assert list(column) == [f"{number:016x}" for number in numbers.tolist()]
    assert (numbers_of(column) == numbers).all() and (
        numbers_of(column.chosen(np.array([3, 0]))) == numbers[[3, 0]]
    ).all()
    assert list(numbered("train/", np.array([5, 10]))) == ["train/5", "train/10"]
    assert codes_of(["b", "a", "b"])[0].tolist() == [0, 1, 0]


def order_of_each(image_ids, questions_per_image, seed, epoch):
    """An epoch's order as a loop over lists makes it: what checkpoints of older versions go on with."""
    draw, groups = random.Random(f"{seed}/{epoch}"), []
    for rows in rows_by(image_ids).values():
        draw.shuffle(rows)
        groups += [rows[k : k + questions_per_image] for k in range(0, len(rows), questions_per_image)]
    draw.shuffle(groups)
    return [i for group in groups for i in group]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 63, 64, 65, 1000])
@pytest.mark.parametrize("images", [1, 3, 700])
@pytest.mark.parametrize("together", [1, 4])
def test_the_order_of_an_epoch_is_that_of_the_plain_loop(rows, images, together):
    draw = random.Random(f"{rows}/{images}")
    image_ids = [f"{draw.randrange(images):016x}" for _ in range(rows)]
    for epoch in range(3):
        assert epoch_order(image_ids, together, 7, epoch) == order_of_each(image_ids, together, 7, epoch)


@pytest.mark.slow
def test_two_processes_cover_an_epoch_of_a_million_once_each_and_go_on_where_they_stopped():
    image_ids = hex_column(np.random.default_rng(0).integers(0, 2**63, 1_000_000).astype(np.uint64))
    order = epoch_order(image_ids, 4, 0, 3)
    plans = [epoch_plan(order, 64, 16, rank, 2) for rank in range(2)]
    rows = np.concatenate([np.concatenate(micros) for plan in plans for _, micros in plan])
    assert (np.sort(rows) == np.arange(1_000_000)).all()
    again = epoch_plan(epoch_order(image_ids, 4, 0, 3), 64, 16, 1, 2)  # by a process that was started anew
    assert again[9_000:] == plans[1][9_000:]
