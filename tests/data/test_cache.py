"""Only what we made and marked is ever removed, wherever the cache lies."""

import io
import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from blipvqa import load_splits
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.data import cache
from blipvqa.data.cache import MARK, TAG, clean_cache, mark
from blipvqa.data.images import ImageError, ImageStore

SIDE = 32
STORED = 3 * SIDE * SIDE  # bytes of a picture in the store


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(file, "PNG")
    return file.getvalue()


def fill(folder, names, gigabytes=20.0) -> ImageStore:
    store = ImageStore(folder, SIDE, gigabytes)
    for name in names:
        store.get(name, picture, "x")
    return store


def png(colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def contents(folder) -> dict:
    """Every file and link below `folder`, and what it holds or leads to."""
    paths = [path for path in Path(folder).rglob("*") if path.is_symlink() or path.is_file()]
    return {path: os.readlink(path) if path.is_symlink() else path.read_bytes() for path in paths}


def look_alikes(folder) -> None:
    """A person's files under the names that the cache uses."""
    for name in (
        "images/ab/abcdef0123456789.raw",
        "images/ab/abcdef0123456789.npy",
        "images/384px/ab/ab12.raw",
        "images/32px-old/ab/ab12.npy",
        "images/scan.png",
        "synthetic/0123456789ab/train-00000-of-00001.parquet",
        "hub/owner___name/data.arrow",
        "datasets/mine.arrow",
        "ct/series/0001.raw",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a person's own: " + name.encode())


def test_cleaning_removes_what_is_cached_and_leaves_no_folder_of_ours(tmp_path):
    fill(tmp_path / "images", ["abc"])
    (tmp_path / "mine.txt").write_text("keep")
    assert clean_cache(tmp_path) == f"removed 0.0 MB of cached images and data from {tmp_path.name}/"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("place", ["data", "."])
def test_a_cache_in_a_person_s_folder_leaves_what_was_there(tiny, root, place):
    """`data.cache_dir` is the data folder, or the project's root; the other settings are as they would be."""
    folder = root / "data"
    (folder / "images").mkdir(parents=True)
    look_alikes(root / place)
    row = '{{"image": "images/{0}.png", "question": "is there fat?", "answer": "{1}"}}\n'
    for i in range(6):
        (folder / "images" / f"{i}.png").write_bytes(picture())
    (folder / "train.jsonl").write_text("".join(row.format(i, "yes") for i in range(6)))
    before = contents(root)
    config = tiny(data__source="data", data__cache_dir=place, data__cache_gigabytes=2 * STORED / 1e9)
    load_splits(config)
    drawn = tiny(data__cache_dir=place)
    load_splits(drawn)
    assert contents(root).items() > before.items()
    print(text := clean_cache(root / place))
    assert contents(root) == before
    assert "left in" in text
    assert "images/, synthetic/, hub/, datasets/" in text


def test_the_home_folder_as_cache_keeps_everything_of_its_own(tiny, root, tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    look_alikes(home)
    monkeypatch.setenv("HOME", str(home))
    before = contents(home)
    load_splits(tiny(data__cache_dir="~"))
    assert contents(home).items() > before.items()
    (root / "configs").mkdir()
    (root / "configs" / "home.yaml").write_text("data: {cache_dir: '~'}\n")
    assert main(["clean-cache", "configs/home.yaml"]) == 0
    assert "removed" in capsys.readouterr().out
    assert contents(home) == before


def test_eviction_removes_neither_a_person_s_raw_files_nor_what_links_lead_to(tmp_path):
    outside, images = tmp_path / "outside", tmp_path / "images"
    look_alikes(tmp_path)
    store = fill(images, ["aa1", "bb1"], gigabytes=4 * STORED / 1e9)
    own = {path for path in store.folder.iterdir() if path.suffix in (".shard", ".index")}
    fill(outside, ["dd1"])
    (store.folder / "aa").mkdir()
    (store.folder / "dd").symlink_to(next(outside.glob("*px*")))
    (images / "64px-linked").symlink_to(next(outside.glob("*px*")))
    (store.folder / f"{'a' * 32}.shard").symlink_to(next(outside.glob("*px*/*.shard")))
    for name in ("aa/aa2.raw", f"{'b' * 32}.shard", f"{'b' * 32}.index"):  # called as ours, and is not
        (store.folder / name).write_bytes(b"a person's CT" * STORED)
    (store.folder / "notes.txt").write_text("a person's")
    old = time.time() - 9e6
    for path in [*tmp_path.rglob("*")]:
        os.utime(path, (old, old), follow_symlinks=False)
    kept = {path: c for path, c in contents(tmp_path).items() if path not in own}
    fill(images, [f"cc{i}" for i in range(20)], gigabytes=4 * STORED / 1e9)
    now = contents(tmp_path)
    assert kept.items() <= now.items()
    assert sum(path.suffix == ".shard" for path in now.keys() - kept.keys()) <= 5
    assert not own & now.keys()
    clean_cache(tmp_path)
    assert contents(tmp_path) == kept


def test_a_mark_is_ours_word_for_word(tmp_path):
    """Other programs mark their caches with the same first line."""
    theirs = fill(tmp_path / "images", ["abc"]).folder
    (theirs / TAG).write_text(MARK.splitlines()[0] + "\n# made by another program\n")
    before = contents(tmp_path)
    assert "left in" in clean_cache(tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_that_was_there_is_not_taken_over(tmp_path):
    place = ImageStore(tmp_path / "images", SIDE).folder
    place.mkdir(parents=True)
    (place / "scan.png").write_bytes(b"a person's")
    store = fill(tmp_path / "images", ["abc", "abd"])
    assert store.notes == [
        f"pictures are decoded each time: the cache's 'images/{place.name}' is not written (it was there before and was "
        "not made by this program)"
    ]
    assert [path.name for path in place.iterdir()] == ["scan.png"]


def test_a_kill_between_folder_and_mark_does_no_harm(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f".{TAG}.blipvqa-0123abcd.writing").write_text("Signat")
    assert mark(tmp_path / "images")


def test_unfinished_files_of_killed_processes_do_not_stay(tmp_path):
    store = fill(tmp_path / "images", ["abc"])
    (store.folder / "ab").mkdir()
    left = [store.folder / "ab" / f".ab{i}.raw.blipvqa-0123abcd.writing" for i in range(2)]
    for path in left:
        path.write_bytes(b"half")
    old = time.time() - cache.UNFINISHED_FOR - 9
    os.utime(left[0], (old, old))
    fill(tmp_path / "images", ["abd"])
    assert [path.exists() for path in left] == [False, True]  # another process may be writing the second
    clean_cache(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_was_replaced_after_loading_is_refused_and_not_stored(tiny, root):
    """Before, the new pixels were stored under the old picture's digest, and served for it for ever."""
    (root / "mine").mkdir()
    rows = [{"image": f"{i}.png", "question": "what?", "answer": "yes"} for i in range(4)]
    (root / "mine" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {i: png((40 * i, 0, 0)) for i in range(5)}
    for i in range(4):
        (root / "mine" / f"{i}.png").write_bytes(files[i])
    config = tiny(data__source="mine")
    train = load_splits(config)["train"]
    before = train[0]["pixels"]
    name = train.rows[0]["id"].removeprefix("train/")
    clean_cache(root / config.data.cache_dir)
    (root / "mine" / f"{name}.png").write_bytes(files[4])
    for look in (train.__getitem__, train.image):
        with pytest.raises(ImageError, match=r"row train/\d: its picture was replaced after the data was read"):
            look(0)
    (root / "mine" / f"{name}.png").write_bytes(files[int(name)])
    assert (train[0]["pixels"] == before).all()


def test_the_whole_disk_is_no_cache(tiny):
    with pytest.raises(ConfigError, match=r"data\.cache_dir: .*is the whole disk"):
        tiny(data__cache_dir="/")
