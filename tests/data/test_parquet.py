"""Parquet and saved sets: read where they lie, never decoded but for `image`, and bounded by their own metadata."""

import datetime
import decimal
import io
import json
import os
import pickle
import sys

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from small_sources import jsonl, parquet, png, rows, splits_of

from blipvqa.data import parquet as parquet_module
from blipvqa.data.images import ImageError
from blipvqa.data.parquet import ParquetPictures
from blipvqa.data.split_names import SourceError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/tmp/ran) (w) file closefile\n%%EOF\n"
FURTHER = {
    "an EPS": {"bytes": EPS, "path": None},
    "a path elsewhere": {"bytes": None, "path": "/etc/hostname"},
    "a URL": {"bytes": None, "path": "http://127.0.0.1:9/x.png"},
}


@pytest.fixture
def no_decoder(monkeypatch):
    """Whatever opens a process, a connection or a file elsewhere is in the list."""
    seen, watched = [], [True]

    def hook(event, arguments):
        if watched and (
            event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "socket.connect")
            or (event == "open" and str(arguments[0]) == "/etc/hostname")
        ):
            seen.append((event, arguments))

    sys.addaudithook(hook)
    yield seen
    watched.clear()


@pytest.mark.parametrize("kind", ["parquet", "save_to_disk"])
@pytest.mark.parametrize("what", FURTHER)
def test_no_further_column_is_decoded(folder, no_decoder, kind, what):
    """An EPS in a second column started Ghostscript, a path opened a file elsewhere, a URL reached for the network."""
    features = Features(
        {"image": ImageFeature(), "question": Value("string"), "answer": Value("string"), "scan": ImageFeature()}
        | {"scans": [ImageFeature()]}
    )
    further = FURTHER[what]
    lines = [
        {"image": {"bytes": png(i), "path": None}, "question": f"what {i}?", "answer": f"it {i}"}
        | {"scan": further, "scans": [further, further]}
        for i in range(12)
    ]
    schema = features.arrow_schema  # its metadata say that the columns are pictures
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(lines, schema=schema), folder / "train.parquet")
    else:
        Dataset(pa.Table.from_pylist(lines, schema=pa.schema([(f.name, f.type) for f in schema]))).save_to_disk(folder)
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        info["features"] = features.to_dict()  # written afterwards: the library would open the files as it saves
        (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    del no_decoder[:]
    splits = splits_of()
    assert no_decoder == []
    assert splits["train"].image(0).size == (20, 20)
    assert splits["train"].columns == []
    assert any("further columns that hold files are left out, undecoded: scan, scans" in note for note in splits.notes)


def test_a_column_of_bytes_becomes_text(folder):
    lines = [{**row, "code": bytes([i]), "blob": EPS} for i, row in enumerate(rows(12))]
    parquet(folder / "train.parquet", lines)
    row = next(row for row in splits_of()["train"].rows if row["id"] == "train/11")
    assert (row["code"], row["blob"][:20]) == ("0b", f"{len(EPS)} bytes, sha256 10f")


def test_a_file_replaced_with_the_same_time_stamp_and_size_serves_its_new_rows(folder):
    file = folder / "train.parquet"
    for answer in ("one", "two"):
        parquet(file, [{**row, "answer": answer} for row in rows(12)])
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert {row["answer"] for row in splits_of()["train"].rows} == {answer}


GIGANTIC, COUNT = 16_800_000, 140  # bytes of a value, and how often it comes: 2.4 GB


@pytest.fixture
def little_memory():
    """This process may take 1 GB more than it has."""
    resource = pytest.importorskip("resource", reason="limits of memory are Unix's")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 1_000_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("column", ["image", "answer", "note"])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_small_file_that_asks_for_gigabytes_is_refused(folder, column, repeated):
    """A value packed a thousand times is seen in the metadata, one that is referred to again and again in its sizes."""
    large = pa.array([b"\0" * GIGANTIC if column == "image" else "x" * GIGANTIC])
    row = pa.table({"image": [png(0)], "question": ["what?"], "answer": ["it"], "note": ["x"]})
    row = row.set_column(row.column_names.index(column), column, large)
    options = {"compression": "zstd", "write_statistics": False, "use_dictionary": repeated}
    if repeated:
        indices = pa.array(np.zeros(COUNT, np.int32))
        row = pa.table({n: pa.DictionaryArray.from_arrays(indices, row[n].chunk(0)) for n in row.column_names})
    with pq.ParquetWriter(folder / "train.parquet", row.schema, **options) as writer:
        for _ in range(1 if repeated else COUNT):
            writer.write_table(row)
    assert (folder / "train.parquet").stat().st_size < 400_000
    message = r"image does not decode" if column == "image" and repeated else r"train\.parquet.* asks? for"
    with pytest.raises((SourceError, ImageError), match=message):
        splits_of()


def test_more_values_than_a_column_may_have_are_refused_by_the_metadata(folder, monkeypatch):
    parquet(folder / "train.parquet", [{**row, "box": [0] * 100} for row in rows(12)])
    with monkeypatch.context() as patch:
        patch.setattr(parquet_module, "MOST_VALUES", 1000)
        with pytest.raises(SourceError, match=r"asks for 1,236 values, at most 1,000 are read"):
            splits_of()
    with monkeypatch.context() as patch:
        patch.setattr(parquet_module, "MOST_ROWS", 10)
        with pytest.raises(SourceError, match="more than 10 rows"):
            splits_of()


def test_what_json_has_no_form_for_is_converted(folder):
    lines = [
        {
            **row,
            "day": datetime.date(2024, 2, 29),
            "taken": datetime.datetime(2024, 2, 29, 12, 30),
            "dose": decimal.Decimal("3.10"),
            "count": np.int16(7),
            "ratio": float("nan") if i == 3 else 0.5,
            "far": float("inf"),
            "spent": datetime.timedelta(hours=1),
            "nested": {"when": [datetime.date(2024, 1, 1)], "bad": float("-inf")},
        }
        for i, row in enumerate(rows(12))
    ]
    parquet(folder / "train.parquet", lines)
    splits = splits_of()
    loaded = [row for data in splits.values() for row in data.rows]
    row = next(row for row in loaded if row["id"] == "train/3")
    assert (row["day"], row["taken"], row["dose"], row["count"]) == ("2024-02-29", "2024-02-29T12:30:00", 3.1, 7)
    assert (row["ratio"], row["far"], row["spent"]) == (None, None, "1:00:00")
    assert row["nested"] == {"when": ["2024-01-01"], "bad": None}
    assert json.loads(json.dumps(loaded, allow_nan=False)) == loaded
    assert "train: column ratio: 1 value that is NaN or infinite became null" in splits.notes


def test_a_date_that_python_cannot_hold_is_named_by_its_row(folder):
    table = pa.Table.from_pylist([{**row, "image": png(i)} for i, row in enumerate(rows(12))])
    days = pa.array([0] * 5 + [2**40] + [0] * 6, pa.int64()).cast(pa.timestamp("s"))
    pq.write_table(table.append_column("day", days), folder / "train.parquet", version="2.6")
    with pytest.raises(
        SourceError, match=r"row train/5: row 5 of train\.parquet: column day: a value of type timestamp"
    ):
        splits_of()
    assert sum(map(len, splits_of(data__on_error="skip").values())) == 11


def test_pictures_are_found_by_row_over_files_and_row_groups(folder):
    for shard in range(3):
        table = pa.Table.from_pylist([{**row, "image": png(50 + 10 * shard + i)} for i, row in enumerate(rows(10))])
        pq.write_table(table, folder / f"train-0000{shard}-of-00003.parquet", row_group_size=4)
    pictures = ParquetPictures(sorted(folder.glob("*.parquet")), ["image"] * 3)
    pictures = pickle.loads(pickle.dumps(pictures))  # as loader processes get it
    for row in (29, 0, 7, 8, 19, 10, 3):
        assert bytes(pictures.cell(row)) == png(50 + row)
    some = [0, 3, 4, 9, 10, 25, 29]
    assert [bytes(cell) for cell in pictures.cells(some)] == [png(50 + row) for row in some]
    splits = splits_of()
    for data in splits.values():
        for i, row in enumerate(data.rows):
            buffer = io.BytesIO()
            data.image(i).save(buffer, "PNG")
            assert buffer.getvalue() == png(50 + int(row["id"].split("/")[1]))


def test_a_saved_set_that_names_files_outside_its_folder_is_refused(folder):
    table = pa.Table.from_pylist([{**row, "image": png(i)} for i, row in enumerate(rows(12))])
    Dataset(table).save_to_disk(folder.parent / "other")
    Dataset(table).save_to_disk(folder)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    name = state["_data_files"][0]["filename"]
    for elsewhere in (f"../other/{name}", str(folder.parent / "other" / name)):
        state["_data_files"] = [{"filename": elsewhere}]
        (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
        with pytest.raises(SourceError, match=r"state\.json names files outside"):
            splits_of()


def test_files_keep_the_user_s_mask(folder):
    before = os.umask(0o077)
    try:
        jsonl(folder / "train.jsonl", rows(12))
        splits_of()
        parquet(folder / "test.parquet", rows(4))
        splits_of()
    finally:
        os.umask(before)
    for path in (folder.parent / "outputs").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("name", ["image", "question", "organ"])
def test_a_column_that_stands_twice_is_refused_by_name(folder, name):
    """Before, the first of two columns `image` was taken in silence."""
    lines = [{"image": png(i), "question": "what?", "answer": "yes", "organ": "liver"} for i in range(4)]
    table = pa.Table.from_pylist(lines)
    pq.write_table(table.append_column(name, table[name]), folder / "train.parquet")
    with pytest.raises(SourceError, match=rf"train\.parquet: column {name} stands twice"):
        splits_of()


def test_files_of_a_split_may_differ_in_the_case_of_their_columns(folder):
    lines = [{"image": png(i), "question": f"what {i}?", "answer": "yes", "organ": "liver"} for i in range(8)]
    pq.write_table(pa.Table.from_pylist(lines[:4]), folder / "train-00000-of-00002.parquet")
    second = pa.Table.from_pylist(lines[4:]).rename_columns(["Image", "Question", "answer", "ORGAN"])
    pq.write_table(second, folder / "train-00001-of-00002.parquet")
    splits = splits_of()
    rows = [row for split in splits.values() for row in split.rows]
    assert sorted(row["question"] for row in rows) == [f"what {i}?" for i in range(8)]
    assert {row["organ"] for row in rows} == {"liver"}
    assert all(data.image(i).size == (20, 20) for data in splits.values() for i in range(len(data)))


@pytest.mark.parametrize("kind", ["parquet", "save_to_disk"])
def test_pictures_in_a_column_of_another_name_are_pointed_at(folder, kind):
    """Before, the error named the columns that are there, and left out the one that holds the pictures."""
    lines = [{"scan": {"bytes": png(i), "path": None}, "question": "what?", "answer": f"it is {i}"} for i in range(4)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(lines), folder / "train.parquet")
    else:
        features = Features({"scan": ImageFeature(), "question": Value("string"), "answer": Value("string")})
        DatasetDict({"train": Dataset.from_list(lines, features=features)}).save_to_disk(folder)
    with pytest.raises(
        SourceError, match=r"no column image; .*column `scan` holds pictures: set data.columns.scan=image"
    ):
        splits_of()
    assert len(splits_of(data__columns={"scan": "image"})["train"]) == 3
