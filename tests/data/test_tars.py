"""Tars of pictures and texts as sources: read in place, and refused by name where they are damaged or hostile."""

import io
import json
import pickle
import tarfile

import pytest
from small_sources import config_of, png, splits_of

from blipvqa import load_splits
from blipvqa.data.split_names import SourceError
from blipvqa.data.tars import LARGEST_TEXT


@pytest.fixture
def folder(root):
    (root / "mine").mkdir()
    return root / "mine"


def write_tar(path, members, form=tarfile.USTAR_FORMAT, kinds=None):
    """A tar of `{name: bytes}`, in the order given."""
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            tar.addfile(info, io.BytesIO(content))


def samples(numbers, folder=""):
    """Members of a row each: a picture, its caption and a column."""
    return {
        f"{folder}{i:06d}.{ending}": content
        for i in numbers
        for ending, content in (
            ("png", png(i)),
            ("txt", f"caption number {i}\n".encode()),
            ("json", json.dumps({"organ": "liver" if i % 2 else "lung"}).encode()),
        )
    }


def captions(**overrides):
    return splits_of(task="caption", **overrides)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("long_folder", ["", "a folder with a name of more than a hundred letters " * 3 + "é/"])
def test_shards_of_each_form_are_read_in_the_order_of_their_names(folder, form, long_folder):
    if form == tarfile.USTAR_FORMAT and long_folder:
        long_folder = f"{'a' * 60}/{'b' * 60}/"  # what fits into this form
    for shard in range(2):
        write_tar(folder / f"train-{shard:05d}.tar", samples(range(4 * shard, 4 * shard + 4), long_folder), form)
    write_tar(folder / "val-00000.tar", samples(range(8, 10)), form)
    splits = captions()
    assert [row["caption"] for row in splits["train"].rows] == [f"caption number {i}" for i in range(8)]
    assert [row["organ"] for row in splits["validation"].rows] == ["lung", "liver"]
    assert splits["train"].image(5).tobytes() == splits["train"].images(5)[0].tobytes()
    assert splits["train"].image_path(5) is None
    copied = pickle.loads(pickle.dumps(splits["train"]._pictures))  # as a loader process gets it
    assert copied.cell(5) == png(5)


def test_rows_are_those_of_the_same_data_in_parquet(folder, root):
    """The tar's columns and pictures give the same rows, digests and pixels."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_tar(folder / "train.tar", samples(range(4)))
    write_tar(folder / "validation.tar", samples(range(4, 6)))
    (root / "other").mkdir()
    for split, numbers in (("train", range(4)), ("validation", range(4, 6))):
        lines = [
            {
                "image": {"bytes": png(i), "path": None},
                "organ": "liver" if i % 2 else "lung",
                "caption": f"caption number {i}",
            }
            for i in numbers
        ]
        pq.write_table(pa.Table.from_pylist(lines), root / "other" / f"{split}.parquet")
    ours, theirs = captions(), captions(data__source="other")
    for split in ours:
        assert list(ours[split].rows) == list(theirs[split].rows)
        assert all((ours[split][i]["pixels"] == theirs[split][i]["pixels"]).all() for i in range(len(ours[split])))


def test_a_single_tar_and_folders_by_split_are_sources(folder, root):
    write_tar(folder / "00000.tar", samples(range(8)))
    splits = captions(data__source="mine/00000.tar")
    assert "1 tar files name no split: their rows are train" in splits.notes
    assert len(splits["train"]) + len(splits["validation"]) == 8
    (root / "other" / "train").mkdir(parents=True)
    (root / "other" / "val").mkdir()
    write_tar(root / "other" / "train" / "00000.tar", samples(range(4)))
    write_tar(root / "other" / "val" / "00000.tar", samples(range(4, 6)))
    splits = captions(data__source="other")
    assert (len(splits["train"]), len(splits["validation"])) == (4, 2)


def test_members_may_stand_apart_and_questions_stand_in_json(folder):
    row = json.dumps({"question": "is there fat?", "answer": "yes", "image": "theirs"}).encode()
    members = {f"{i}.2.840.png": png(i) for i in range(6)} | {f"{i}.2.840.json": row for i in range(6)}
    write_tar(folder / "train.tar", {"./._0.png": b"junk of a system", **members})
    splits = splits_of()
    assert splits["train"].rows[0]["question"] == "is there fat?"
    assert splits["train"].rows[0]["image (data)"] == "theirs"


def test_files_that_img2dataset_writes_beside_its_tars_are_named(folder):
    write_tar(folder / "00000.tar", samples(range(6)))
    (folder / "00000.parquet").write_bytes(b"")
    (folder / "00000_stats.json").write_text("{}")
    assert "not read, since it lies beside tar files: 00000.parquet, 00000_stats.json" in captions().notes


BROKEN_ROWS = {
    "no picture": ({"x.txt": b"a text"}, "'x.txt' has no picture of the same name"),
    "no text": ({"x.png": b"?"}, r"'x.png' has no text of the same name \(.txt or .json\)"),
    "two texts": ({"x.png": b"?", "x.txt": b"a", "x.caption": b"b"}, "it has two texts: 'x.txt' and 'x.caption'"),
    "two captions": (
        {"x.png": b"?", "x.txt": b"a", "x.json": b'{"caption": "b"}'},
        "it has two texts: 'x.txt', and `caption` in 'x.json'",
    ),
    "two pictures": ({"x.png": b"?", "x.jpg": b"?", "x.txt": b"a"}, "it has two pictures: 'x.png' and 'x.jpg'"),
    "an ending": (
        {"x.npy": b"?", "x.png": b"?", "x.txt": b"a"},
        r"member 'x.npy' has an ending that is not read \(png",
    ),
    "no UTF-8": ({"x.png": b"?", "x.txt": b"\xff\xfe\xfa"}, "'x.txt' is not UTF-8"),
    "no JSON": ({"x.png": b"?", "x.json": b"{"}, "'x.json' is not JSON: "),
    "deep JSON": ({"x.png": b"?", "x.json": b"[" * 200_000}, "'x.json' is not JSON: nested too deeply"),
    "a list": ({"x.png": b"?", "x.json": b"[]"}, "'x.json': it is no JSON object"),
    "a key twice": ({"x.png": b"?", "x.json": b'{"a": 1, "a": 2}'}, "'x.json': a key stands twice"),
    "a long text": (
        {"x.png": b"?", "x.txt": b"a" * (LARGEST_TEXT + 1)},
        "'x.txt' has 1,000,001 bytes, at most 1,000,000",
    ),
    "no image": ({"x.png": b"GIF", "x.txt": b"a text"}, "the image does not decode"),
    "an empty text": ({"x.png": png(3), "x.txt": b" "}, "column caption: the text is empty"),
}


@pytest.mark.parametrize("case", BROKEN_ROWS)
def test_a_broken_row_is_named_and_can_be_left_out(folder, case):
    members, problem = BROKEN_ROWS[case]
    write_tar(folder / "train.tar", samples(range(5)) | members)
    with pytest.raises(ValueError, match=f"row train/5: sample x of train.tar: {problem}"):
        captions()
    splits = captions(data__on_error="skip")
    assert len(splits["train"]) + len(splits["validation"]) == 5
    assert any("1 of 6 rows left out" in note and "sample x of train.tar" in note for note in splits.notes)


BROKEN_TARS = {
    "a way out": ({"../x.png": b"?"}, {}, r"member '../x.png' leads out of the tar file"),
    "an absolute path": ({"/etc/x.png": b"?"}, {}, "member '/etc/x.png' leads out of the tar file"),
    "a drive": ({"C:/x.png": b"?"}, {}, "member 'C:/x.png' leads out of the tar file"),
    "a backslash": ({"..\\x.png": b"?"}, {}, "member '../x.png' leads out of the tar file"),
    "a link": ({"x.png": b""}, {"x.png": tarfile.SYMTYPE}, "member 'x.png' is a link, a device"),
    "a hard link": ({"x.png": b""}, {"x.png": tarfile.LNKTYPE}, "member 'x.png' is a link, a device"),
    "a device": ({"x.png": b""}, {"x.png": tarfile.CHRTYPE}, "member 'x.png' is a link, a device"),
}


@pytest.mark.parametrize("case", BROKEN_TARS)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_hostile_tar_is_refused_whole(folder, case, on_error):
    members, kinds, problem = BROKEN_TARS[case]
    write_tar(folder / "train.tar", samples(range(3)) | members, kinds=kinds)
    with pytest.raises(SourceError, match=f"train.tar: {problem}"):
        captions(data__on_error=on_error)


def test_a_member_twice_is_refused(folder):
    with tarfile.open(folder / "train.tar", "w") as tar:
        for content in (b"a", b"b"):
            info = tarfile.TarInfo("x.txt")
            info.size = 1
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(SourceError, match=r"train\.tar: member 'x\.txt' stands twice"):
        captions()


def test_a_tar_cut_at_any_place_is_refused_or_says_which_row(folder):
    """Each block is missing once: no row comes with half a picture, and nothing is lost unsaid."""
    write_tar(folder / "whole.tar", samples(range(3)))
    whole = (folder / "whole.tar").read_bytes()
    (folder / "whole.tar").unlink()
    end = -(-len(whole.rstrip(b"\0")) // 512) * 512
    for cut in (*range(0, end, 300), *range(0, end + 1, 512)):
        (folder / "train.tar").write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"train\.tar"):
            captions()


def test_tars_put_together_are_refused(folder):
    write_tar(folder / "train.tar", samples(range(3)))
    write_tar(folder / "more.tar", samples(range(3, 6)))
    with open(folder / "train.tar", "ab") as file:
        file.write((folder / "more.tar").read_bytes())
    (folder / "more.tar").unlink()
    with pytest.raises(SourceError, match=r"train\.tar holds more behind its end"):
        captions()


def test_a_damaged_header_and_a_member_of_a_size_beyond_the_file_are_named(folder):
    write_tar(folder / "train.tar", samples(range(3)))
    whole = bytearray((folder / "train.tar").read_bytes())
    whole[3] ^= 1
    (folder / "train.tar").write_bytes(whole)
    with pytest.raises(SourceError, match=r"train\.tar: header 1, at byte 0: it is damaged, or this is no tar file"):
        captions()
    huge = tarfile.TarInfo("x.png")
    huge.size = 9_000_000_000_000
    (folder / "train.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(SourceError, match=r"member 'x\.png' has 9,000,000,000,000 bytes and the file ends before"):
        captions()


def test_a_compressed_tar_says_what_to_do(folder):
    (folder / "train.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(SourceError, match=r"train\.tar\.gz is compressed, .*: unpack it"):
        captions()


def test_a_tar_that_was_replaced_after_loading_is_refused(folder):
    write_tar(folder / "train.tar", samples(range(6)))
    train = load_splits(config_of(task="caption"))["train"]
    write_tar(folder / "train.tar", samples(range(10, 12)))
    with pytest.raises(ValueError, match=r"was replaced after the data was read: load the data anew"):
        [train.image(i) for i in range(len(train))]
