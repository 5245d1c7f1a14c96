"""Every kind of source through one door: the same rows come out, and what is wrong is named."""

import csv
import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SHARED, TINY, needs_shared
from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from PIL import Image

from blipvqa import load_config, load_splits
from blipvqa.data.formats import SourceError
from blipvqa.data.images import ImageError


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int, start: int = 0) -> list[dict]:
    return [
        {
            "image": f"images/{(start + i) // 2}.png",
            "question": f"what is {start + i}?",
            "answer": f"it is {start + i}",
            "organ": "liver" if i % 3 else "lung",
        }
        for i in range(count)
    ]


@pytest.fixture
def folder(root):
    """A folder with twenty pictures, to put splits in."""
    place = root / "mine"
    (place / "images").mkdir(parents=True)
    for i in range(20):
        (place / "images" / f"{i}.png").write_bytes(png(i))
    return place


def splits_of(**overrides):
    return load_splits(
        load_config(None, TINY | {"data.source": "mine"} | {k.replace("__", "."): v for k, v in overrides.items()})
    )


def jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write(kind, folder, tables):
    """`{split: rows}` in the given kind of source."""
    for split, lines in tables.items():
        if kind == "jsonl":
            jsonl(folder / f"{split}.jsonl", lines)
        elif kind == "csv":
            with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, list(lines[0]))
                writer.writeheader()
                writer.writerows(lines)
    whole = {
        split: [{**line, "image": {"bytes": (folder / line["image"]).read_bytes(), "path": None}} for line in lines]
        for split, lines in tables.items()
    }
    features = Features(
        {"image": ImageFeature(), "question": Value("string"), "answer": Value("string"), "organ": Value("string")}
    )
    if kind == "parquet":
        (folder / "data").mkdir()
        for split, lines in whole.items():
            pq.write_table(
                pa.Table.from_pylist(lines, schema=features.arrow_schema),
                folder / "data" / f"{split}-00000-of-00001.parquet",
            )
    elif kind == "save_to_disk":
        DatasetDict(
            {split: Dataset.from_list(lines, features=features) for split, lines in whole.items()}
        ).save_to_disk(folder)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "save_to_disk"])
def test_every_kind_of_source_gives_the_same_rows(folder, kind):
    write(kind, folder, {"train": rows(12), "dev": rows(4, 12), "test": rows(4, 16)})
    splits = splits_of()
    assert {name: len(data) for name, data in splits.items()} == {"train": 12, "validation": 4, "test": 4}
    row = splits["validation"].rows[1]
    assert (row["id"], row["question"], row["answer"], row["organ"]) == (
        "validation/1",
        "what is 13?",
        "it is 13",
        "liver",
    )
    assert splits["train"].breakdown == ["organ"]
    assert len({r["image_id"] for r in splits["train"].rows}) == 6
    np.testing.assert_array_equal(
        np.asarray(splits["train"].image(2)), np.asarray(Image.open(folder / "images" / "1.png"))
    )
    assert splits["train"][0]["pixels"].shape == (3, 32, 32)
    assert not splits.notes


def test_columns_are_renamed_filtered_and_limited(folder):
    lines = [
        {
            "img_name": r["image"],
            "q": r["question"],
            "answer": r["answer"],
            "organ": r["organ"],
            "image": "an older column",
        }
        for r in rows(12)
    ]
    write_lines = {"train": lines, "test": lines[:4]}
    for split, some in write_lines.items():
        jsonl(folder / f"{split}.jsonl", some)
    named = {"data__columns": {"img_name": "image", "q": "question"}}
    splits = splits_of(**named, data__where={"organ": ["liver"]}, data__limit={"train": 3})
    assert len(splits["train"]) == 3
    assert {row["organ"] for row in splits["train"].rows} == {"liver"}
    assert splits["train"].rows[0]["image (data)"] == "an older column"
    for wrong, message in (
        ({"data__where": {"organ": "brain"}}, "no row"),
        ({"data__where": {"organs": "x"}}, "organs"),
        ({"data__columns": {"nothing": "image"}}, "nothing"),
        ({"data__group_column": "patient"}, "patient"),
    ):
        with pytest.raises(SourceError, match=message):
            splits_of(**{**named, **wrong})


def test_columns_with_our_names_are_kept_beside_ours(folder):
    jsonl(folder / "train.jsonl", [{**r, "id": "theirs", "score": "5"} for r in rows(8)])
    row = splits_of()["train"].rows[0]
    assert row["id"].startswith("train/")
    assert (row["id (data)"], row["score (data)"]) == ("theirs", "5")


def test_validation_is_cut_by_image_and_never_by_question(folder):
    jsonl(folder / "train.jsonl", rows(40))
    splits = splits_of(data__validation_share=0.2)
    images = [{row["image_id"] for row in splits[name].rows} for name in ("train", "validation")]
    assert not images[0] & images[1]
    assert len(images[1]) == 4
    assert len(splits["train"]) + len(splits["validation"]) == 40
    assert "test" not in splits
    assert any("no validation split" in note for note in splits.notes)
    assert any("no test split" in note for note in splits.notes)
    again = splits_of(data__validation_share=0.2)
    assert [r["id"] for r in again["validation"].rows] == [r["id"] for r in splits["validation"].rows]


def test_a_group_never_straddles_the_cut(folder):
    jsonl(folder / "train.jsonl", [{**r, "patient": f"p{i // 10}"} for i, r in enumerate(rows(40))])
    splits = splits_of(data__group_column="patient")
    assert not {r["patient"] for r in splits["train"].rows} & {r["patient"] for r in splits["validation"].rows}


def test_shared_images_are_counted_and_can_be_dropped(folder):
    (folder / "images" / "copy.png").write_bytes((folder / "images" / "0.png").read_bytes())
    jsonl(folder / "train.jsonl", rows(20))
    jsonl(folder / "validation.jsonl", rows(4, 20))
    jsonl(folder / "test.jsonl", [{**rows(1)[0], "image": "images/copy.png"}, *rows(2, 30)])
    assert any("1 of the 2 test images stand in train too" in note for note in splits_of().notes)
    splits = splits_of(data__split="regroup")
    assert len(splits["train"]) == 18
    assert not any("stand in" in note for note in splits.notes)


@needs_shared("data/vqa-rad")
def test_vqa_rad_as_published_shares_its_test_images(root):
    config = load_config(None, TINY | {"data.source": str(SHARED / "data" / "vqa-rad"), "model.image_size": 32})
    splits = load_splits(config)
    assert len(splits["test"]) == 451
    assert any("181 of the 203 test images stand in train too" in note for note in splits.notes)
    assert not {r["image_id"] for r in splits["train"].rows} & {r["image_id"] for r in splits["validation"].rows}


BAD_ROWS = {
    "no question": {"question": None},
    "empty question": {"question": "  ?! "},
    "empty answer": {"answer": ""},
    "number as answer": {"answer": 3},
    "very long question": {"question": "x " * 50_000},
    "missing file": {"image": "images/none.png"},
    "no image": {"image": None},
    "parent folder": {"image": "../secret.png"},
    "deeper parent": {"image": "images/../../secret.png"},
    "backslashes": {"image": "..\\secret.png"},
    "absolute path": {"image": "/etc/passwd"},
    "home": {"image": "~/secret.png"},
    "URL": {"image": "http://127.0.0.1:9/x.png"},
    "file URL": {"image": "file:///etc/passwd"},
    "drive": {"image": "C:\\secret.png"},
    "NUL": {"image": "images/0.png\0.txt"},
    "link out": {"image": "images/link.png"},
    "loop": {"image": "images/loop.png"},
    "folder": {"image": "images"},
    "no picture": {"image": "train.jsonl"},
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_by_name_or_skipped_and_counted(folder, name):
    (folder.parent / "secret.png").write_bytes(png(99))
    os.symlink(folder.parent / "secret.png", folder / "images" / "link.png")
    os.symlink("loop.png", folder / "images" / "loop.png")
    lines = rows(12)
    lines[5] |= BAD_ROWS[name]
    jsonl(folder / "train.jsonl", lines)
    with pytest.raises((SourceError, ImageError), match=r"row train/5: line 6 of train\.jsonl: "):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert len(splits["train"]) + len(splits["validation"]) == 11
    assert any("1 of 12 rows left out" in note for note in splits.notes)


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"image": "a", "image": "b"}', "[" * 100_000, "\x00"])
def test_a_broken_line_is_refused_by_number_or_skipped(folder, line):
    jsonl(folder / "train.jsonl", rows(12))
    with open(folder / "train.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(SourceError, match="row train/12: line 13"):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert len(splits["train"]) + len(splits["validation"]) == 12


def test_text_of_all_kinds_passes(folder):
    odd = [
        "\u202eright to left",
        "emoji 🩺?",
        "tab\tand\x07bell",
        "<script>alert(1)</script>",
        "$x^2$",
        "half \ud800 surrogate",
    ]
    lines = rows(12)
    for line, text in zip(lines, odd, strict=False):
        line["question"] = text
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of()
    found = {row["question"] for name in ("train", "validation") for row in splits[name].rows}
    assert set(odd[:5]) <= found
    assert all(question.encode() for question in found)


BAD_FILES = {
    "latin-1": (
        "train.jsonl",
        '{"image": "images/0.png", "question": "é", "answer": "x"}\n'.encode("latin-1"),
        "UTF-8",
    ),
    "utf-16": ("train.csv", "image,question,answer\n".encode("utf-16"), "UTF-8"),
    "no column": ("train.jsonl", b'{"picture": "images/0.png", "question": "x", "answer": "y"}\n', "no column image"),
    "doubled column": ("train.csv", b"image,question,answer,answer\nimages/0.png,a,b,c\n", "stands twice"),
    "empty file": ("train.csv", b"", "no column"),
    "header only": ("train.csv", b"image,question,answer\n", "no"),
    "endless line": ("train.jsonl", b'{"image": "' + b"x" * 2_000_000, "longer than"),
    "no parquet": ("train.parquet", b"PAR1 nonsense", "does not read as parquet"),
    "empty parquet": ("train.parquet", b"", "does not read as parquet"),
    "pickle": ("state.json", b"\x80\x04K\x01.", "save_to_disk"),
    "only test": ("test.jsonl", b'{"image": "images/0.png", "question": "x", "answer": "y"}\n', "no split train"),
    "nothing known": ("notes.txt", b"hello", "holds no"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_name(folder, name):
    file, content, message = BAD_FILES[name]
    (folder / file).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        splits_of()


def test_parquet_of_wrong_types_is_refused(folder):
    for column, values in (("image", [1, 2]), ("question", [[1], [2]]), ("answer", [True, False])):
        table = {"image": [png(0), png(1)], "question": ["a", "b"], "answer": ["c", "d"], column: values}
        pq.write_table(pa.table(table), folder / "train.parquet")
        with pytest.raises(SourceError, match=column):
            splits_of()


def test_a_stranger_s_parquet_cannot_name_files_elsewhere(folder):
    lines = [{"image": {"bytes": None, "path": "/etc/passwd"}, "question": "a", "answer": "b"}] * 2
    pq.write_table(pa.Table.from_pylist(lines), folder / "train.parquet")
    with pytest.raises(ImageError, match="leads out"):
        splits_of()


def test_a_source_that_is_not_there_is_said_at_once(root, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="no such folder"):
        load_splits(load_config(None, TINY | {"data.source": "no/such/folder"}))


def test_nothing_is_written_outside_the_cache(folder):
    write("parquet", folder, {"train": rows(12), "test": rows(4, 16)})
    before = {path for path in folder.rglob("*")}
    splits_of()
    assert {path for path in folder.rglob("*")} == before
    assert {path.name for path in folder.parent.iterdir()} == {"mine", "outputs"}
    assert {path.name for path in (folder.parent / "outputs").iterdir()} == {"cache"}
