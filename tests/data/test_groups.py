"""Rows that belong together: one definition for the cut, the leak notes and the intervals."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sources import jsonl, parquet, rows, splits_of, write

from blipvqa.data.groups import group_ids, group_name
from blipvqa.data.split_names import SourceError


def connected(cells: list[tuple]) -> list[set[int]]:
    """The groups by a slow search that shares nothing with the product: rows joined until nothing changes."""
    sets = [{i} for i in range(len(cells))]
    changed = True
    while changed:
        changed = False
        for one in range(len(sets)):
            for other in range(one + 1, len(sets)):
                pairs = [(cells[i], cells[j]) for i in sets[one] for j in sets[other]]
                if any(a[1] == b[1] or (a[0] is not None and a[0] == b[0]) for a, b in pairs):
                    sets[one] |= sets.pop(other)
                    changed = True
                    break
            if changed:
                break
    return sets


@given(st.lists(st.tuples(st.none() | st.sampled_from("pqrstu"), st.sampled_from("123456789")), max_size=14))
def test_groups_are_what_names_and_pictures_connect(cells):
    ids = group_ids((name, [image_id]) for name, image_id in cells)
    groups = [{i for i, one in enumerate(ids) if one == label} for label in dict.fromkeys(ids)]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, connected(cells)))


def test_the_name_of_a_group_does_not_depend_on_the_order_of_rows():
    cells = [("p2", ["a"]), ("p1", ["a"]), ("p1", ["b"]), (None, ["c"]), (None, ["b"]), ("p3", ["d"])]
    assert group_ids(cells) == ["p1", "p1", "p1", "c", "p1", "p3"]
    shuffled = random.Random(0).sample(range(6), 6)
    assert group_ids([cells[i] for i in shuffled]) == [group_ids(cells)[i] for i in shuffled]


@pytest.mark.parametrize("cell", [None, float("nan"), "", "  ", "NaN", "null", "None", "<NA>", "NA", "n/a", "Unknown"])
def test_unknown_groups(cell):
    assert group_name(cell) is None


def test_numbers_are_the_same_group_whatever_a_gap_made_of_them():
    assert group_name(7) == group_name(7.0) == group_name(" 7 ") == group_name("7.0") == "7"
    assert group_name("1.10") == "1.10"


def test_a_patient_is_one_however_two_tables_write_his_number(folder):
    """A gap in train's column made pandas write "3.0" there, and "3" in test: before, these were two patients."""
    jsonl(folder / "train.jsonl", [{**row, "patient": f"{i}.0" if i else ""} for i, row in enumerate(rows(8))])
    jsonl(folder / "test.jsonl", [{**row, "patient": str(i)} for i, row in enumerate(rows(8, 10))])
    splits = splits_of(data__group_column="patient")
    groups = {split: {row["group_id"] for row in data.rows} for split, data in splits.items()}
    assert groups["train"] & groups["test"]
    assert any("test groups stand in train too" in note for note in splits.notes)


def test_letters_in_two_unicode_forms_are_one_patient():
    assert group_name("Mu\u0308ller") == group_name("M\u00fcller")


@pytest.mark.parametrize("written", ["P\u200b1", "\ufeffP1", "P1\u00ad", "\uff301", "P1\u2060", "\tp1\n"], ids=ascii)
def test_signs_that_show_nothing_make_no_other_patient(folder, written):
    """Before, one patient stood in train and in test, and no note said so."""
    jsonl(folder / "train.jsonl", [{**row, "patient": f"P{i}"} for i, row in enumerate(rows(8))])
    jsonl(folder / "test.jsonl", [{**row, "patient": written} for row in rows(2, 10)])
    splits = splits_of(data__group_column="patient")
    assert any(note.startswith("1 of the 1 test groups stand in ") for note in splits.notes)
    assert any("1 value of patient is written in several ways" in note for note in splits.notes)


def test_spaces_within_a_name_are_one_space():
    assert group_name("Ann\u00a0 Lee") == group_name("Ann Lee") != group_name("AnnLee")
    assert group_name("\u200b") is group_name("\u2800") is None


def test_zeros_that_a_spreadsheet_drops_are_told(folder):
    jsonl(folder / "train.jsonl", [{**row, "patient": f"{i:03}"} for i, row in enumerate(rows(8))])
    jsonl(folder / "test.jsonl", [{**row, "patient": 7} for row in rows(2, 10)])
    notes = splits_of(data__group_column="patient").notes
    assert any(
        "1 value of patient differs from another in leading zeros alone" in n and "'007' and '7'" in n for n in notes
    )


def test_a_group_never_straddles_the_cut(folder):
    jsonl(folder / "train.jsonl", [{**row, "patient": f"p{i // 10}"} for i, row in enumerate(rows(40))])
    splits = splits_of(data__group_column="patient")
    train, validation = ({row["patient"] for row in splits[name].rows} for name in ("train", "validation"))
    assert validation and not train & validation
    assert all(row["group_id"] == row["patient"] for row in splits["train"].rows)


def test_a_picture_under_two_patients_joins_them(folder):
    """Ten of ten validation pictures stood in train before, without a note."""
    lines = rows(40)
    for i, line in enumerate(lines):
        line["patient"] = f"p{i % 2}-{i // 4 // 2}"  # each picture has two patients
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of(data__group_column="patient", data__validation_share=0.3)
    images, groups, patients = (
        [{row[column] for row in splits[name].rows} for name in ("train", "validation")]
        for column in ("image_id", "group_id", "patient")
    )
    for train, validation in (images, groups, patients):
        assert validation and not train & validation
    assert any(
        "pictures that stand under several values of patient join them: 10 of these make 5" in n for n in splits.notes
    )


@pytest.mark.parametrize("name", ["id", "image_id", "group_id", "split", "score"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_user_s_own_column_of_our_name_groups(folder, name, kind):
    """It was renamed first, and ours of that name was used: his patients stood on both sides."""
    lines = [{**row, name: f"p{i % 5}"} for i, row in enumerate(rows(40))]
    for i, line in enumerate(lines):
        line["image"] = f"images/{i % 20}.png"
    if kind == "parquet":
        parquet(folder / "train.parquet", lines)
    else:
        write(kind, folder, {"train": lines})
    splits = splits_of(data__group_column=name)
    train, validation = ({row[f"{name} (data)"] for row in splits[part].rows} for part in ("train", "validation"))
    assert len(validation) == 1 and not train & validation


def test_a_group_column_may_be_named_as_the_source_or_as_the_config_does(folder):
    lines = [{**row, "pid": f"p{i // 10}"} for i, row in enumerate(rows(40))]
    jsonl(folder / "train.jsonl", lines)
    results = [
        splits_of(data__columns={"pid": "patient"}, data__group_column=name)["validation"].rows
        for name in ("pid", "patient")
    ]
    assert results[0] == results[1]
    with pytest.raises(SourceError, match=r"data\.group_column: train has no column 'patiant', did you mean patient"):
        splits_of(data__columns={"pid": "patient"}, data__group_column="patiant")


@pytest.mark.parametrize("unknown", [None, "", "nan", float("nan")])
def test_unknown_patients_stand_alone_by_their_picture(folder, unknown):
    """They were one big patient in the cuts, while the intervals said they belong to their images."""
    lines = [{**row, "patient": unknown if i >= 8 else "p1"} for i, row in enumerate(rows(40))]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    splits = splits_of(data__group_column="patient", data__validation_share=0.2)
    every = [row for data in splits.values() for row in data.rows]
    assert len({row["group_id"] for row in every}) == 1 + 16
    assert all(row["group_id"] == ("p1" if row["patient"] == "p1" else row["image_id"]) for row in every)
    assert len({row["image_id"] for row in splits["validation"].rows}) < 8
    assert any("32 of 40 rows have no patient: each of them counts by its picture alone" in n for n in splits.notes)


def test_regrouping_drops_what_shares_a_patient_through_a_picture(folder):
    train = [{**row, "patient": f"p{i // 4}"} for i, row in enumerate(rows(20))]
    test = [{**rows(1, 0)[0], "patient": "q"}]  # patient q's picture is one of p0's
    jsonl(folder / "train.jsonl", train)
    jsonl(folder / "test.jsonl", test)
    jsonl(folder / "validation.jsonl", [{**row, "patient": f"v{i}"} for i, row in enumerate(rows(2, 30))])
    published = splits_of(data__group_column="patient")
    assert any("1 of the 1 test groups stand in train too" in note for note in published.notes)
    assert any("1 of the 1 test images stand in train too" in note for note in published.notes)
    splits = splits_of(data__group_column="patient", data__split="regroup")
    assert {row["patient"] for row in splits["train"].rows} == {"p1", "p2", "p3", "p4"}


def test_without_a_group_column_rows_have_no_group_id(folder):
    jsonl(folder / "train.jsonl", rows(12))
    splits = splits_of()
    assert all("group_id" not in row for data in splits.values() for row in data.rows)
    assert splits["train"].columns == ["organ"]
