"""Folders as people have them and nobody reads: the error says what to do next, by what lies there."""

import shutil
import zipfile

import pytest
from PIL import Image
from small_sources import jsonl, rows, splits_of

from blipvqa.data.formats import SourceError
from blipvqa.data.images import ImageError

SHAPES = {  # files of a folder, and what leads on
    "ROCOv2": (
        ["train_captions.csv", "valid_captions.csv"],
        "'train_captions.csv' looks like the split train: name it train.csv",
    ),
    "ROCO's split": (["traindata.csv"], "'traindata.csv' looks like the split train: name it train.csv"),
    "a doctor's sheet": (["Befunde.xlsx", "Bilder/1.png"], "If 'Befunde.xlsx' holds the rows, name it train.xlsx"),
    "one folder too high": (["Slake1.0/train.json", "Slake1.0/test.json"], "set data.source=mine/Slake1.0"),
    "ROCO": (["train/radiology/traindata.csv"], "Put tables such as train/radiology/traindata.csv into 'mine'"),
    "a table of a kind that is not read": (
        ["train.csv.gz", "images/1.png"],
        "Not read: train.csv.gz. Tables are read as",
    ),
    "VQA v2 without annotations": (["v2_train2014_questions.json"], "put its annotations beside it"),
    "pictures alone": (["benign/1.png", "malignant/1.png"], "write a table of them, 'mine/train.csv'"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_that_is_not_read_leads_on(root, shape):
    names, says = SHAPES[shape]
    for name in names:
        (root / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mine" / name).write_bytes(b"")
    with pytest.raises(SourceError) as error:
        splits_of()
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["ID_7", "ID_7.png", "pictures/ID_7.jpg"])
def test_a_missing_picture_that_lies_elsewhere_is_pointed_at(root, name):
    place = root / "mine" / "train_images"
    place.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(place / "ID_7.JPG")
    (root / "mine" / "train.csv").write_text(f"image,question,answer\n{name},what?,x\n")
    with pytest.raises(ValueError, match=r"but 'train_images/ID_7.JPG' is there: see data.image_root and"):
        splits_of()


def test_a_split_of_a_kind_that_is_not_read_is_said_where_train_is_missing_and_where_it_is_not(folder):
    """Before, the note was that `test.xls` is no split's name."""
    (folder / "test.xls").write_bytes(b"")
    jsonl(folder / "validation.jsonl", rows(4))
    with pytest.raises(SourceError, match=r"no split train, only validation; not read: test.xls. Tables are read as"):
        splits_of()
    jsonl(folder / "train.jsonl", rows(8))
    assert [note for note in splits_of().notes if note.startswith("not read: test.xls. ")]


def test_pictures_in_a_zip_beside_their_table_are_pointed_at_and_then_no_table_that_is_not_read(folder):
    with zipfile.ZipFile(folder / "images.zip", "w") as packed:
        for file in (folder / "images").iterdir():
            packed.write(file, f"images/{file.name}")
    shutil.rmtree(folder / "images")
    jsonl(folder / "train.jsonl", rows(8))
    with pytest.raises(ImageError, match=r"but 'images.zip' is there: unpack it, or set data.image_root to it"):
        splits_of()
    splits = splits_of(data__image_root="mine/images.zip")  # named with the one folder that the zip holds
    assert len(splits["train"]) + len(splits["validation"]) == 8
    assert not [note for note in splits.notes if "not read" in note]


HEADS = {
    "images/0.png,is it?,yes\nimages/1.png,is it?,no\n": "'images/0.png' stands in a row: a table begins with the names",
    "\ufeff\ufeffpicture,question,answer\nimages/0.png,a,b\n": "column `picture` looks like `image`",
}


@pytest.mark.parametrize("text", HEADS)
def test_a_head_that_is_none_or_called_otherwise_leads_on(folder, text):
    (folder / "train.csv").write_text(text)
    with pytest.raises(SourceError) as error:
        splits_of()
    assert HEADS[text] in str(error.value)


def test_a_zip_with_a_system_s_file_beside_its_folder_is_read_and_one_too_deep_leads_on(folder):
    jsonl(folder / "train.jsonl", rows(8))
    for top, system in (("", "desktop.ini"), ("", ".DS_Store"), ("deep/", "x.txt")):
        with zipfile.ZipFile(folder / "set.zip", "w") as packed:
            packed.write(folder / "train.jsonl", f"set/{top}train.jsonl")
            for file in (folder / "images").iterdir():
                packed.write(file, f"set/{top}images/{file.name}")
            packed.writestr(system, b"")
        if not top:
            assert len(splits_of(data__source="mine/set.zip")["train"])
    with pytest.raises(
        SourceError, match=r"A table lies deep in it, 'set/deep/train.jsonl': zip the folder that holds"
    ):
        splits_of(data__source="mine/set.zip")


def test_columns_that_are_renamed_the_wrong_way_round_are_turned(folder):
    jsonl(folder / "train.jsonl", [{"img": row.pop("image"), **row} for row in rows(8)])
    with pytest.raises(SourceError, match=r"data.columns: train has no column image"):
        splits_of(data__columns={"image": "img"})
    jsonl(folder / "train.jsonl", rows(8))
    with pytest.raises(SourceError, match=r"no column image; .*source's name first: \{img: image\}"):
        splits_of(data__columns={"image": "img"})
