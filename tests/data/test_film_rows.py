"""Rows whose picture is a film: so many of its frames are the row's pictures (`data.frames`)."""

import io
import json
import os

import numpy as np
import pytest
from conftest import TINY
from film_files import GREYS, dicom, sound, tiff, video
from PIL import Image, TiffImagePlugin

from blipvqa import answer_all, fine_tune, load_config, load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.data.fingerprint import fingerprint
from blipvqa.data.frames import frames, is_video
from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError

FILMS = [(video, "film.mp4"), (tiff, "pages.tif"), (dicom, "slices.dcm")]
TASKS = {
    "vqa": {"question": "does it grow?", "answer": "yes"},
    "pairs": {"sentence": "the second picture is lighter", "label": True},
}


@pytest.fixture
def films(folder):
    """`films(*pictures, task, **settings)`: a config of the source `mine` with a row for each picture, in every split."""

    def make(*pictures, task="vqa", **settings):
        lines = [json.dumps({"image": picture, **TASKS[task]}) for picture in pictures]
        for split in ("train", "validation", "test"):
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        settings = {key.replace("__", "."): value for key, value in settings.items()}
        return load_config(None, TINY | {"data.source": "mine", "task": task, "data.frames": 4} | settings, "films")

    return make


@pytest.mark.parametrize(("write", "name"), FILMS)
def test_a_film_is_so_many_pictures_of_its_row_the_same_as_frames_gives(films, folder, write, name):
    write(folder / name)
    data = load_splits(films(name, "images/0.png"))["test"]
    film, picture = data.rows
    assert len(film["image_ids"]) == 4 == len(set(film["image_ids"])) and not picture.get("image_ids")
    for ours, theirs in zip(data.images(0), frames(folder / name, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    means = [float(pixels.float().mean()) for pixels in data[0]["pixels"]]
    np.testing.assert_allclose(means, [GREYS[number] for number in (1, 4, 7, 10)], atol=4)
    assert data[1]["pixels"].shape == (3, 32, 32) and len(data.images(1)) == 1


def test_the_authors_rule_takes_whole_steps_from_the_first_frame(films, folder):
    tiff(folder / "pages.tif")
    data = load_splits(films("pages.tif", data__frames=5, data__frames_by="authors"))["test"]
    assert [image.getpixel((0, 0))[0] for image in data.images(0)] == [GREYS[k] for k in (0, 2, 4, 6, 8)]


def test_two_frames_are_a_pair(films, folder):
    tiff(folder / "pages.tif")
    row = load_splits(films("pages.tif", task="pairs", data__frames=2))["test"].rows[0]
    assert len(row["image_ids"]) == 2 and row["label"] == "true"
    with pytest.raises(SourceError, match="one picture, a row of task: pairs shows two"):
        load_splits(films("images/0.png", task="pairs", data__frames=2))


def test_frames_are_hashed_by_content_and_kept_in_the_picture_store(films, folder, monkeypatch):
    tiff(folder / "a.tif")
    (folder / "b.tif").write_bytes((folder / "a.tif").read_bytes())
    config = films("a.tif", "b.tif")
    before = load_splits(config)
    assert before["test"].rows[0]["image_ids"] == before["test"].rows[1]["image_ids"]
    assert all(before["test"].store.has(image_id) for image_id in before["test"].rows[0]["image_ids"])
    with monkeypatch.context() as patch:
        patch.setattr("blipvqa.data.looks.shown_frames", lambda *_: pytest.fail("decoded again"))
        assert fingerprint(load_splits(config)) == fingerprint(before)
    tiff(folder / "a.tif", [grey + 1 for grey in GREYS])
    after = load_splits(config)["test"]
    assert not set(after.rows[0]["image_ids"]) & set(after.rows[1]["image_ids"])
    with pytest.raises(ImageError, match=r"row test/0: its picture was replaced"):
        before["test"].images(0)


def test_a_dicom_frame_is_the_same_picture_whether_a_column_or_data_frames_names_it(films, folder):
    dicom(folder / "slices.dcm")
    by_film = load_splits(films("slices.dcm"))["test"].rows[0]["image_ids"]
    rows = [{"image": "slices.dcm", "frame": number + 1, **TASKS["vqa"]} for number in (1, 4, 7, 10)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    by_column = load_splits(load_config(None, TINY | {"data.source": "mine", "data.frames": 4}, "films"))["test"].rows
    assert [row["image_id"] for row in by_column] == by_film


@pytest.mark.parametrize("write", [tiff, dicom])
def test_a_film_that_is_too_short_broken_or_among_others_is_named_by_row(films, folder, write):
    write(folder / "short", GREYS[:3])
    with pytest.raises(ImageError, match=r"train/1: line 2 .*the film has 3 frames, data.frames asks for 4"):
        load_splits(films("images/0.png", "short"))
    data = load_splits(films("images/0.png", "short", data__on_error="skip"))
    assert len(data["test"]) == 1 and any("1 of 2 rows left out" in note for note in data.notes)
    with pytest.raises(ImageError, match=r"(several pictures|holds 3 frames)"):
        load_splits(films(["images/0.png", "short"]))
    with pytest.raises(
        ImageError, match=r"several pictures|holds 3 frames: give one, by a column frame \(from 1\), or set"
    ):
        load_splits(films("short", data__frames=None))


def test_a_broken_film_is_named_by_row(films, folder):
    tiff(folder / "whole.tif")
    content = (folder / "whole.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="train/0"):
        load_splits(films("cut.tif"))


def test_a_video_is_named_with_what_to_set_or_to_install(films, folder, monkeypatch):
    """Bytes that begin as a video's do: none is decoded, so that nothing needs av here."""
    (folder / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(400))
    with pytest.raises(ImageError, match=r"train/0.*it is a video: set data\.frames"):
        load_splits(films("film.mp4", data__frames=None))
    with pytest.raises(ImageError, match=r"train/0.*a film stands alone in its row"):
        load_splits(films(["images/0.png", "film.mp4"]))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(
        ImageError, match=r"train/0.*av, which reads videos, is not installed: pip install 'blipvqa\[video"
    ) as e:
        load_splits(films("film.mp4"))
    assert "\n" not in str(e.value)


def test_a_video_that_is_cut_or_none_is_named(films, folder):
    video(folder / "whole.mp4")
    content = (folder / "whole.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(content[: len(content) // 3])
    with pytest.raises(ImageError, match="train/0"):
        load_splits(films("cut.mp4"))


def test_what_begins_as_a_video_and_what_does_not():
    picture = Image.new("RGB", (8, 8))
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        content = io.BytesIO()
        picture.save(content, form)
        assert not is_video(content.getvalue()), form
    packets = (b"\x47" + bytes(187)) * 3
    for content in (b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI ", b"\0\0\1\xba", b"OggS", packets, b"\0\0\0\x18ftypmp42"):
        assert is_video(content + b"\0" * 400)
    assert not is_video(b"\0\0\0\x18ftypheic" + bytes(400)) and not is_video(b"")


@pytest.mark.parametrize(("task", "count"), [("caption", 2), ("pretrain", 3), ("pairs", 3)])
def test_more_frames_than_a_row_of_the_task_shows_are_refused_by_the_config(task, count):
    with pytest.raises(ConfigError, match=f"data.frames: a row of task: {task} shows .*found {count}"):
        load_config(None, TINY | {"task": task, "data.frames": count}, "films")


def test_a_run_on_films_answers_films_of_a_table_and_of_a_folder(films, folder, root, capsys):
    tiff(folder / "pages.tif")
    tiff(folder / "other.tif", GREYS[::-1])
    config = films("pages.tif", "other.tif", train__epochs=1)
    fine_tune(config)
    (root / "own.csv").write_text("image,question\nmine/other.tif,does it grow?\n")
    written = answer_all(config, "own.csv", "answers.csv")
    assert "does it grow?" in (root / "answers.csv").read_text() and written
    (root / "own").mkdir()
    video(root / "own" / "A.MP4")
    (root / "own" / "about.txt").write_text("films of May")
    answer_all(config, "own", "answers2.csv", questions=["does it grow?"])
    assert "A.MP4,does it grow?" in (root / "answers2.csv").read_text()
    said = capsys.readouterr().out
    assert "not read, since their names are no picture's: about.txt" in said
    assert "(almost) one colour after decoding (row own/0)" in said  # its four frames: one row


def test_the_frames_of_a_video_are_counted_once(films, folder, monkeypatch):
    """Each start had decoded every film to its end, although all pictures were stored; it is counted by content."""
    video(folder / "a.mp4")
    config = films("a.mp4")
    before = load_splits(config)["test"]
    (kept,) = before.store.seen.glob("*.seen")
    with monkeypatch.context() as patch:
        patch.setattr("blipvqa.data.frames._decoded", lambda *_: pytest.fail("decoded again"))
        assert load_splits(config)["test"].rows[0] == before.rows[0]
    for damaged in (b"", b"x" * 12, kept.read_bytes()[::-1]):
        kept.write_bytes(damaged)
        assert load_splits(config)["test"].rows[0] == before.rows[0]
    times = (folder / "a.mp4").stat()
    video(folder / "a.mp4", GREYS[:8])
    os.utime(folder / "a.mp4", ns=(times.st_atime_ns, times.st_mtime_ns))
    means = [np.asarray(image).mean() for image in load_splits(config)["test"].images(0)]
    np.testing.assert_allclose(means, [GREYS[number] for number in (1, 3, 5, 7)], atol=4)


def test_films_of_one_frame_of_none_and_of_sound_alone(films, folder):
    video(folder / "one.mp4", GREYS[3:4])
    image = load_splits(films("one.mp4", data__frames=1))["test"].image(0)
    assert abs(np.asarray(image).mean() - GREYS[3]) < 4
    with pytest.raises(ImageError, match=r"train/0: .*the film has 1 frame, data.frames asks for 4"):
        load_splits(films("one.mp4"))
    sound(folder / "sound.mp4")
    with pytest.raises(ImageError, match=r"train/0: .*it holds no video"):
        load_splits(films("sound.mp4"))
    for name in ("none.mp4", "none.avi", "none.mkv"):
        video(folder / name, [])
        with pytest.raises(ImageError, match=r"train/0: .*(holds no frame|does not decode|holds no video)"):
            load_splits(films(name))


def test_a_frame_that_a_row_names_of_a_film_that_has_none_is_noted(films, folder):
    """Of a DICOM file a column `frame` names one; of a video and of pages it was passed over without a word."""
    tiff(folder / "pages.tif")
    dicom(folder / "slices.dcm")
    said = "films are shown by data.frames, whatever column frame says"
    for name, shown, noted in (("pages.tif", 4, True), ("slices.dcm", 1, False)):
        config = films(name)
        for split in ("train", "validation", "test"):
            line = {"image": name, "frame": 3, **TASKS["vqa"]}
            (folder / f"{split}.jsonl").write_text(json.dumps(line) + "\n")
        splits = load_splits(config)
        assert len(splits["test"].images(0)) == shown
        assert (f"train: {said}" in "\n".join(splits.notes)) == noted


def test_a_thumbnail_and_a_mask_are_no_frames(films, folder):
    """Beside a page a TIFF may hold a smaller copy of it and its mask: they were shown as frames of a film."""
    page, small = Image.new("L", (64, 48), 200), Image.new("L", (8, 6), 10)
    with TiffImagePlugin.AppendingTiffWriter(str(folder / "scan.tif"), True) as file:
        for picture, kind in ((page, 0), (small, 1), (page, 2), (small, 4)):
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            tags[254] = kind
            picture.save(file, format="TIFF", tiffinfo=tags)
            file.newFrame()
    data = load_splits(films("scan.tif", data__frames=2))["test"]
    assert [image.size for image in data.images(0)] == [(64, 48), (64, 48)]
    with pytest.raises(ImageError, match=r"the film has 2 frames, data\.frames asks for 4"):
        load_splits(films("scan.tif"))


def test_a_video_in_a_dicom_file_is_called_that(films, folder):
    pydicom = pytest.importorskip("pydicom")
    dicom(folder / "film.dcm")
    file = pydicom.dcmread(folder / "film.dcm")
    file.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    file.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" + bytes(100)])
    file["PixelData"].is_undefined_length, file["PixelData"].VR = True, "OB"
    file.save_as(folder / "film.dcm", enforce_file_format=True)
    for count in (4, None):
        with pytest.raises(
            ImageError, match=r"line 1 of train\.jsonl: the DICOM file holds a video .*: save it as \.mp4"
        ):
            load_splits(films("film.dcm", data__frames=count))
