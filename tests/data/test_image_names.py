"""Pictures that lie elsewhere than the table, or are called a little otherwise: found in one folder, and nowhere else."""

import os
import time
import unicodedata

import pytest
from small_sources import jsonl, png, rows, splits_of

from blipvqa.data.image_files import PictureFolder
from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError


def test_a_table_here_and_pictures_there(folder, tmp_path):
    there = tmp_path / "input of Kaggle"
    (folder / "images").rename(there)
    lines = [{**row, "image": row["image"].removeprefix("images/").removesuffix(".png")} for row in rows(12)]
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of(data__image_root=str(there), data__image_suffix=".png")
    assert len({row["image_id"] for split in splits.values() for row in split.rows}) == 6
    assert splits["train"].image(0).size == (20, 20)
    assert splits["train"].image_path(0) == lines[int(splits["train"].rows[0]["id"].split("/")[1])]["image"]
    with pytest.raises(SourceError, match=r"data.image_root 'nowhere' is no folder"):
        splits_of(data__image_root="nowhere")


NAMES = {
    "case": "IMAGES/0.PNG",
    "outer spaces": " images/0.png ",
    "slashes": "images\\0.png",
    "doubled slashes": "./images//0.png",
    "decomposed": "images/" + unicodedata.normalize("NFD", "été.png"),
    "composed capitals": "Images/ÉTÉ.png",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_whatever_its_case_unicode_form_or_slashes(tmp_path, name):
    (tmp_path / "images").mkdir()
    for file in ("0.png", unicodedata.normalize("NFC", "été.png")):
        (tmp_path / "images" / file).write_bytes(png(0))
    assert PictureFolder(tmp_path).read(NAMES[name]) == png(0)


def test_two_files_of_one_name_the_exact_one_wins_and_else_both_are_named(tmp_path):
    for seed, file in enumerate(("a.png", "A.png")):
        (tmp_path / file).write_bytes(png(seed))
    pictures = PictureFolder(tmp_path)
    assert (pictures.read("a.png"), pictures.read("A.png")) == (png(0), png(1))
    with pytest.raises(ValueError, match=r"image 'a.PNG' may be A.png or a.png"):
        pictures.read("a.PNG")


@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "..\\x.png",
        "/etc/passwd",
        "C:\\x.png",
        "c:x.png",
        "~/x.png",
        "\\\\host\\x.png",
        "LINK/X.png",
        "Link.PNG",
        "link/x.png",
    ],
)
def test_no_name_leads_out_of_the_root(tmp_path, name):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    for place in (outside, tmp_path):
        (place / "x.png").write_bytes(png(0))
    (root / "link").symlink_to(outside)
    (root / "link.png").symlink_to(outside / "x.png")
    with pytest.raises(ValueError, match=r"image "):
        PictureFolder(root).read(name)


def test_a_link_inside_the_root_is_followed(tmp_path):
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert PictureFolder(tmp_path).read("B.png") == png(0)


def test_a_hundred_thousand_names_list_the_folder_once(tmp_path, monkeypatch):
    for number in range(3_000):
        (tmp_path / f"p{number}.png").touch()
    pictures, walk, listed = PictureFolder(tmp_path), os.walk, []
    monkeypatch.setattr("os.walk", lambda *place: listed.append(place) or walk(*place))
    began = time.monotonic()
    for number in range(3_000):
        pictures.find(f"P{number}.PNG")
    assert len(listed) == 1
    assert time.monotonic() - began < 3


def test_a_name_that_nothing_is_like_is_named_by_row(folder):
    jsonl(folder / "train.jsonl", [*rows(6), {**rows(1)[0], "image": "images/none.png"}])
    with pytest.raises(ImageError, match=r"line 7 of train.jsonl: image 'images/none.png': No such file"):
        splits_of()


def test_a_name_with_a_nul_byte_is_called_that(folder):
    """It was "a URL or drive"."""
    jsonl(
        folder / "train.jsonl", [row | ({"image": "images/1.png\0"} if i == 1 else {}) for i, row in enumerate(rows(4))]
    )
    with pytest.raises(
        ImageError, match=r"row train/1: line 2 of train.jsonl: image 'images/1.png.x00' holds a NUL byte"
    ):
        splits_of()
