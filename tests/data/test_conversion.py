"""`make shards`: any source becomes parquet files of the same rows and pictures, and goes on after a kill."""

import json
import os
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from small_sources import config_of, jsonl, png, rows, splits_of
from test_tars import samples, write_tar

from blipvqa.__main__ import main
from blipvqa.data import conversion
from blipvqa.data.conversion import write_shards
from blipvqa.data.parquet import ParquetPictures
from blipvqa.data.several_pictures import pictures_of
from blipvqa.data.split_names import SourceError


@pytest.fixture
def source(root, monkeypatch):
    """Two splits of a folder of pictures, in files of four rows."""
    monkeypatch.setattr(conversion, "ROWS", 4)
    (root / "mine" / "images").mkdir(parents=True)
    for i in range(12):
        (root / "mine" / "images" / f"{i}.png").write_bytes(png(i))
    jsonl(root / "mine" / "train.jsonl", [row | {"answers": ["a", "b"], "n": i} for i, row in enumerate(rows(18))])
    jsonl(root / "mine" / "validation.jsonl", rows(6, 18))
    return root / "mine"


def pictures(data) -> list[bytes]:
    return [data.image(i).tobytes() for i in range(len(data))]


def begin(monkeypatch, config, pieces: int = 3) -> None:
    """A conversion into `shards` that is killed after so many pieces."""
    write, written = conversion._write, []

    def killed(piece):
        if len(written) == pieces:
            raise KeyboardInterrupt
        written.append(write(piece))
        return written[-1]

    with monkeypatch.context() as patched:
        patched.setattr(conversion, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            write_shards(config, "shards", workers=1)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for split in ours:
        assert list(ours[split].rows) == list(theirs[split].rows)
        assert pictures(ours[split]) == pictures(theirs[split])


def test_a_folder_becomes_files_of_the_same_rows(source, root):
    said = write_shards(config_of(), "shards", workers=1)
    assert "shards: 24 rows of 2 splits in 7 files" in said
    assert_same(splits_of(data__source="shards"), splits_of())
    assert len(list((root / "shards").glob("train-0000?-of-00005.parquet"))) == 5


def test_rows_of_several_pictures_and_histories_stay_what_they_are(source):
    turns = [{"question": "is there fat?", "answer": "no"}]
    lists = [
        row | {"image": ["images/1.png", "images/2.png"][: 1 + i % 2], "history": turns}
        for i, row in enumerate(rows(6))
    ]
    jsonl(source / "train.jsonl", lists)
    write_shards(config_of(), "shards", workers=1)
    assert_same(splits_of(data__source="shards"), splits_of())


@pytest.mark.parametrize("source_of", ["parquet", "tar"])
def test_files_in_files_are_converted_by_several_processes(root, monkeypatch, capsys, source_of):
    (root / "mine").mkdir()
    write_tar(root / "mine" / "train.tar", samples(range(10)))
    write_tar(root / "mine" / "test.tar", samples(range(10, 14)))
    task = ["--set", "task=caption"]
    if source_of == "parquet":
        assert main(["shards", "mine", "first", "--workers", "1", *task]) == 0
    monkeypatch.setattr(conversion, "ROWS", 3)
    began = "first" if source_of == "parquet" else "mine"
    workers = "2" if source_of == "parquet" else "1"
    assert main(["shards", began, "shards", "--workers", workers, *task]) == 0
    assert "shards: 14 rows of 2 splits in 6 files" in capsys.readouterr().out
    assert_same(splits_of(task="caption", data__source="shards"), splits_of(task="caption"))


def test_the_same_command_goes_on_after_a_kill_and_no_other(source, root, monkeypatch):
    write, written = conversion._write, []

    def killed(piece):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(piece.path.name)
        return write(piece)

    monkeypatch.setattr(conversion, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        write_shards(config_of(), "shards", workers=1)
    with pytest.raises(SourceError, match="number 00003 is missing"):
        splits_of(data__source="shards")
    monkeypatch.setattr(conversion, "_write", write)
    assert "in 7 files, 3 of them before" in write_shards(config_of(), "shards", workers=1)
    assert_same(splits_of(data__source="shards"), splits_of())
    jsonl(source / "train.jsonl", rows(10))
    with pytest.raises(
        SourceError, match="'shards' holds something else, or was made of other data: give a new folder"
    ):
        write_shards(config_of(), "shards", workers=1)
    (root / "theirs").mkdir()
    (root / "theirs" / "notes.txt").write_text("a person's")
    with pytest.raises(SourceError, match="'theirs' holds something else"):
        write_shards(config_of(), "theirs", workers=1)


def test_a_file_replaced_with_its_size_and_time_is_other_data(source, root):
    """Half of the new files would have been of the old one."""
    write_shards(config_of(), "shards", workers=1)
    config = config_of(data__source="shards")
    write_shards(config, "again", workers=1)
    file = next((root / "shards").glob("train-00000-*.parquet"))
    content, times = file.read_bytes(), file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(SourceError, match="'again' holds something else, or was made of other data"):
        write_shards(config, "again", workers=1)


def test_a_picture_replaced_before_a_conversion_goes_on_is_other_data(source, root, monkeypatch):
    """Rows of one picture that lie in two of the new files would show two; it keeps its size and its time."""
    begin(monkeypatch, config_of())
    picture = source / "images" / "2.png"
    content, times = bytearray(picture.read_bytes()), picture.stat()
    content[-20] ^= 1
    picture.write_bytes(content)
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(SourceError, match="'shards' holds something else, or was made of other data"):
        write_shards(config_of(), "shards", workers=1)


def pictures_beside(root, row: dict, beside: str) -> dict:
    """A row with its picture in column `image`, and another one in column `beside`."""
    content = (root / "mine" / row["image"]).read_bytes()
    return row | {"image": {"bytes": content, "path": None}, beside: {"bytes": png(99), "path": None}}


def two_columns(root) -> list[dict]:
    """Parquet with two pictures a row, of which one is converted and then the other."""
    whole = [pictures_beside(root, row, "mask") for row in rows(18)]
    pq.write_table(pa.Table.from_pylist(whole), root / "mine" / "train.parquet")
    return [{}, {"data__columns": {"mask": "image"}}]


def two_names(root) -> list[dict]:
    """Two columns that name the same pictures: only what a file's columns are called differs."""
    jsonl(root / "mine" / "train.jsonl", [{"file": row["image"]} | row for row in rows(18)])
    return [{}, {"data__columns": {"file": "image"}}]


def two_zips(root) -> list[dict]:
    """One zip with two pictures of a name, which differ in their endings."""
    with zipfile.ZipFile(root / "pictures.zip", "w") as packed:
        for i in range(9):
            packed.writestr(f"images/{i}.png", png(i))
            packed.writestr(f"images/{i}.PNG.png", png(i + 50))
    jsonl(root / "mine" / "train.jsonl", [row | {"image": row["image"].removesuffix(".png")} for row in rows(18)])
    return [{"data__image_root": "pictures.zip", "data__image_suffix": ending} for ending in (".png", ".PNG.png")]


def named_in_parquet(root) -> list[dict]:
    """Parquet that names pictures, which are then taken from another folder."""
    pq.write_table(pa.Table.from_pylist(rows(18)), root / "mine" / "train.parquet")
    (root / "others" / "images").mkdir(parents=True)
    for i in range(9):
        (root / "others" / "images" / f"{i}.png").write_bytes(png(i + 50))
    return [{}, {"data__image_root": "others"}]


@pytest.mark.parametrize("made", [two_columns, two_names, two_zips, named_in_parquet])
def test_a_conversion_goes_on_with_the_settings_that_began_it(source, root, monkeypatch, made):
    """Half of the files were of one picture column, or of one folder of pictures, and half of the other."""
    for table in source.glob("*.jsonl"):
        table.unlink()
    began, other = made(root)
    begin(monkeypatch, config_of(**began))
    with pytest.raises(SourceError, match="'shards' holds something else, or was made of other data"):
        write_shards(config_of(**other), "shards", workers=1)
    assert "3 of them before" in write_shards(config_of(**began), "shards", workers=1)


def saved(root, seed: int) -> None:
    whole = [row | {"image": {"bytes": png(seed + i // 2), "path": None}} for i, row in enumerate(rows(18))]
    DatasetDict({"train": Dataset.from_list(whole)}).save_to_disk(root / "saved")


def named(root, seed: int) -> None:
    for i in range(9):
        (root / "mine" / "images" / f"{i}.png").write_bytes(png(seed + i))
    if not seed:
        pq.write_table(pa.Table.from_pylist(rows(18)), root / "mine" / "train.parquet")


def named_behind_an_empty_cell(root, seed: int) -> None:
    named(root, seed)
    if not seed:
        table = [row | ({"image": None} if i == 0 else {}) for i, row in enumerate(rows(18))]
        pq.write_table(pa.Table.from_pylist(table), root / "mine" / "train.parquet")


def named_beside_others(root, seed: int) -> None:
    """One column, of which the first cells hold their pictures and the others name theirs."""
    named(root, seed)
    if not seed:
        held = [{"bytes": png(i), "path": None} if i < 4 else {"bytes": None, "path": row["image"]} for i, row in ROWS]
        table = [row | {"image": cell} for (_, row), cell in zip(ROWS, held, strict=True)]
        pq.write_table(pa.Table.from_pylist(table), root / "mine" / "train.parquet")


ROWS = list(enumerate(rows(18)))
WRITTEN = [("saved", saved), *(("mine", write) for write in (named, named_behind_an_empty_cell, named_beside_others))]


@pytest.mark.parametrize(("place", "write"), WRITTEN)
def test_pictures_replaced_behind_equal_rows_are_other_data(source, root, monkeypatch, place, write):
    """A set that save_to_disk wrote, written anew; and files that a parquet file names."""
    for table in source.glob("*.jsonl"):
        table.unlink()
    config = config_of(data__source=place, data__on_error="skip")
    write(root, 0)
    begin(monkeypatch, config)
    write(root, 50)
    with pytest.raises(SourceError, match="'shards' holds something else, or was made of other data"):
        write_shards(config, "shards", workers=1)


def test_a_column_that_mixes_pictures_and_names_is_looked_at_once(source, root, monkeypatch):
    """And read once more where the files are written: a large column's pictures were read four times."""
    for table in source.glob("*.jsonl"):
        table.unlink()
    named_beside_others(root, 0)
    cells, looked = ParquetPictures.cells, []
    monkeypatch.setattr(ParquetPictures, "cells", lambda self, rows: looked.extend(rows) or cells(self, rows))
    write_shards(config_of(), "shards", workers=1)
    assert sorted(looked) == sorted([*range(18)] * 2)


@pytest.mark.parametrize("as_text", [False, True])
def test_rows_of_several_pictures_behind_an_empty_cell_stay_several(source, as_text):
    """Of the first cell alone all were taken for single pictures: "too many values to unpack"."""
    for table in source.glob("*.jsonl"):
        table.unlink()
    names = [None, ["images/0.png"], *(["images/1.png", f"images/{i}.png"] for i in range(2, 8))]
    cells = [json.dumps(cell) if cell and as_text else cell for cell in names]
    lines = [row | {"image": cell} for row, cell in zip(rows(8), cells, strict=True)]
    pq.write_table(pa.Table.from_pylist(lines), source / "train.parquet")
    skip = {"data__on_error": "skip"}
    write_shards(config_of(**skip), "shards", workers=1)
    of_source, of_shards = splits_of(**skip), splits_of(data__source="shards")
    for split, data in of_source.items():
        assert list(map(pictures_of, data.rows)) == list(map(pictures_of, of_shards[split].rows))


def test_a_row_without_its_picture_is_named_or_left_out(source):
    lines = [json.loads(line) for line in (source / "train.jsonl").read_text().splitlines()]
    lines[5]["image"] = "images/none.png"
    jsonl(source / "train.jsonl", lines)
    with pytest.raises(
        SourceError, match=r"row train/5: line 6 of train\.jsonl: image 'images/none\.png': No such file"
    ):
        write_shards(config_of(), "shards", workers=1)
    assert "; 1 row left out" in write_shards(config_of(data__on_error="skip"), "others", workers=1)
    assert len(splits_of(data__source="others")["train"]) == 17


@pytest.mark.parametrize(
    ("column", "hint"), [("scan", "set data.columns.scan=image"), ("note", "Map names with data.columns, e.g.")]
)
def test_a_source_without_a_column_of_pictures_is_told_which_it_has(root, column, hint):
    """Of parquet files it said "does not read as parquet: 'image'"; of other tables that each row has no picture."""
    (root / "mine").mkdir()
    cell = {"bytes": png(0), "path": None} if column == "scan" else "a"
    pq.write_table(pa.table({column: [cell], "answer": ["yes"]}), root / "mine" / "train.parquet")
    with pytest.raises(SourceError, match=f"train: no column image; found .*answer.*{hint}"):
        write_shards(config_of(), "shards", workers=1)
    assert not (root / "shards").exists()
    (root / "mine" / "train.parquet").unlink()
    jsonl(root / "mine" / "train.jsonl", [{column: "0.png", "answer": "yes"}])
    with pytest.raises(SourceError, match=r"train: no column image; found .*answer"):
        write_shards(config_of(), "shards", workers=1)
