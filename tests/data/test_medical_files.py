"""DICOM files and whole slides: pydicom's own test files, and a slide that the test writes. Both were looked at."""

import builtins
import io
import logging
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from small_sources import jsonl, splits_of

from blipvqa.data.dicom import windowed
from blipvqa.data.fingerprint import fingerprint
from blipvqa.data.images import ImageError, open_picture
from blipvqa.data.medical_files import PictureFile, View, picture_id

SECRET = "DOE^JANE^SECRET"


def dicom(name="CT_small.dcm", **tags):
    file = dcmread(get_testdata_file(name, download=False))
    for tag, value in tags.items():
        setattr(file, tag, value)
    written = io.BytesIO()
    file.save_as(written)
    return written.getvalue()


def grey(content, **view):
    return np.asarray(open_picture(PictureFile(content, View(**view)), "x"))[..., 0].astype(int)


def slide(path, seed=0, side=640):
    """A tiled pyramid of three levels, as scanners write it."""
    whole = np.random.default_rng(seed).integers(0, 255, (side // 16, side // 16, 3), dtype=np.uint8)
    whole = whole.repeat(16, 0).repeat(16, 1)
    with tifffile.TiffWriter(path) as file:
        options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
        file.write(whole, subifds=2, **options)
        for step in (2, 4):
            file.write(whole[::step, ::step], subfiletype=1, **options)
    return whole


def aperio(path, side=512):
    """A slide as Aperio's scanners describe it, levels as pages."""
    whole = (
        np.random.default_rng(1)
        .integers(0, 255, (side // 16, side // 16, 3), dtype=np.uint8)
        .repeat(16, 0)
        .repeat(16, 1)
    )
    with tifffile.TiffWriter(path) as file:
        options = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate", "metadata": None}
        file.write(whole, description="Aperio Image Library v1\n512x512 |AppMag = 20|MPP = 0.5", **options)
        file.write(whole[::4, ::4], description="Aperio Image Library v1", **options)
    return whole


# ------------------------------------------------------------------------------------------------ grey values


def test_a_window_makes_the_grey_levels_of_the_standard():
    values = dcmread(get_testdata_file("CT_small.dcm", download=False)).pixel_array.astype(float) - 1024  # its rescale
    expected = np.rint((((values - 39.5) / 399) + 0.5).clip(0, 1) * 255)
    np.testing.assert_array_equal(grey(dicom(), window=(40.0, 400.0)), expected)
    assert grey(dicom(), window=(40.0, 400.0)).max() == 255 and grey(dicom(), window=(-2000.0, 10.0)).min() == 255


def test_the_file_s_own_window_counts_where_the_config_has_none():
    with_own = dicom(WindowCenter=[40, -600], WindowWidth=[400, 1500])
    np.testing.assert_array_equal(grey(with_own), grey(dicom(), window=(40.0, 400.0)))
    np.testing.assert_array_equal(grey(with_own, window=(-600.0, 1500.0)), grey(dicom(), window=(-600.0, 1500.0)))


def test_windows_of_the_three_kinds():
    values = np.array([0.0, 50, 100])
    assert windowed(values, 50, 100, "LINEAR_EXACT").tolist() == [0, 128, 255]
    assert windowed(values, 50, 101).tolist() == [1, 129, 255]
    assert windowed(values, 50, 100, "SIGMOID").tolist() == [30, 128, 225]


def test_inverse_grey_is_turned_round():
    inverse = dicom(PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(grey(inverse, window=(40.0, 400.0)), 255 - grey(dicom(), window=(40.0, 400.0)))
    np.testing.assert_array_equal(grey(inverse), 255 - grey(dicom()))


def test_what_fills_a_scan_s_corners_does_not_count():
    file = dcmread(get_testdata_file("CT_small.dcm", download=False))
    values = file.pixel_array.copy()
    values[:9] = -2000
    file.PixelData, file.PixelRepresentation, file.PixelPaddingValue = values.tobytes(), 1, -2000
    written = io.BytesIO()
    file.save_as(written)
    np.testing.assert_array_equal(grey(written.getvalue())[9:].max(), 255)
    assert (grey(written.getvalue())[:9] == 0).all() and (grey(written.getvalue())[9:] == 0).sum() < 100


COLOURS = {  # a pixel (row, column) of pydicom's test files, as their descriptions say
    "SC_rgb_dcmtk_+eb+cy+n1.dcm": ((5, 50), (254, 0, 0)),  # YBR, packed as JPEG
    "SC_ybr_full_422_uncompressed.dcm": ((5, 50), (254, 0, 0)),
    "SC_rgb_rle.dcm": ((5, 50), (255, 0, 0)),
    "SC_rgb_rle_16bit.dcm": ((5, 50), (255, 0, 0)),
    "SC_rgb_gdcm_KY.dcm": ((5, 50), (254, 0, 0)),  # JPEG 2000
    "SC_rgb_jpeg_gdcm.dcm": ((5, 50), (255, 0, 0)),  # JPEG without loss
    "SC_rgb_jls_lossy_line.dcm": ((5, 50), (255, 0, 0)),
    "SC_rgb_jls_lossy_sample.dcm": ((5, 50), (255, 0, 0)),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_red_where_they_are_red(name):
    (row, column), colour = COLOURS[name]
    picture = open_picture(dicom(name), "x")
    assert np.abs(np.subtract(picture.getpixel((column, row)), colour)).max() <= 2


def test_a_palette_is_looked_up():
    picture = np.asarray(open_picture(dicom("examples_palette.dcm"), "x"))
    assert picture.shape == (350, 800, 3) and (picture[..., 0] != picture[..., 2]).any()


# ------------------------------------------------------------------------------------------------ frames, rows


def test_frames_are_pictures_of_their_own_and_must_be_named(folder):
    (folder / "images" / "echo.dcm").write_bytes(dicom("examples_ybr_color.dcm"))
    lines = [
        {"image": "images/echo.dcm", "frame": n, "question": f"what is {n}?", "answer": "heart"} for n in range(1, 7)
    ]
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of()
    rows = [row for data in splits.values() for row in data.rows]
    assert len({row["image_id"] for row in rows}) == 6
    assert splits["train"].image(0).size == (320, 240)
    assert splits["train"].image(0).tobytes() != splits["train"].image(1).tobytes()
    assert any("parts of one file stand in two splits (frames, regions), of 1 file:" in note for note in splits.notes)
    exchanged = splits["train"].with_pictures_of([1, 0, 2, 3, 4])
    assert exchanged.image(0).tobytes() == splits["train"].image(1).tobytes()
    for frame, message in (
        (None, "holds 30 frames: give one"),
        (31, "no frame 31"),
        (0, "no frame 0"),
        ("x", "expected a whole"),
    ):
        jsonl(folder / "train.jsonl", [*lines, {**lines[0], "frame": frame}])
        with pytest.raises((ImageError, ValueError), match=message if frame != "x" else "column frame"):
            splits_of()


def test_another_window_or_frame_is_other_data(folder):
    (folder / "images" / "ct.dcm").write_bytes(dicom())
    (folder / "images" / "mr.dcm").write_bytes(dicom("MR_small.dcm"))
    lines = [{"image": f"images/{name}.dcm", "question": "what?", "answer": "x"} for name in ("ct", "mr")] * 3
    jsonl(folder / "train.jsonl", lines)
    first, second = fingerprint(splits_of()), fingerprint(splits_of(data__window=[40, 400]))
    assert not set(first["train"].values()) & set(second["train"].values())
    assert splits_of(data__window=[40, 400])["train"].image(0).size in ((128, 128), (64, 64))
    with pytest.raises(ValueError, match=r"data.window: must be \[centre, width\]"):
        splits_of(data__window=[40, 0])


def test_columns_of_these_names_mean_nothing_for_other_pictures(folder):
    same = {"question": "what?", "answer": "x", "x": "left"}
    lines = [{"image": f"images/{n}.png", **same, "frame": n} for n in range(6)]
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of(data__window=[40, 400])
    plain = PictureFile((folder / "images" / "0.png").read_bytes())
    ids = {row["image_id"] for data in splits.values() for row in data.rows}
    assert picture_id(plain.content) in ids and len(ids) == 6
    assert "shown whole, whatever frame say" in "\n".join(splits.notes)
    boxes = [{**line, "frame": None, "x": 0, "y": 0, "width": 5, "height": 5} for line in lines]
    for x, said in ((0, True), (None, False)):  # with a size alone nothing is chosen
        jsonl(folder / "train.jsonl", [{**line, "x": x} for line in boxes])
        assert ("whatever x, y, width, height say" in "\n".join(splits_of().notes)) == said


# ------------------------------------------------------------------------------------------------ what never leaves


def test_headers_never_leave_the_file(folder, root, caplog, recwarn):
    secret = dicom(PatientName=SECRET, PatientID=SECRET, StudyDescription=SECRET)
    broken = bytearray(secret)
    broken[-20_000:] = b""
    (folder / "images" / "ct.dcm").write_bytes(secret)
    lines = [{"image": "images/ct.dcm", "question": f"what {n}?", "answer": "x"} for n in range(3)]
    others = [{"image": f"images/{n}.png", "question": "what?", "answer": "x"} for n in range(3)]
    jsonl(folder / "train.jsonl", lines + others)
    with caplog.at_level(logging.DEBUG):
        splits = splits_of()
        assert SECRET not in repr([data.rows for data in splits.values()]) + repr(splits.notes)
        (folder / "images" / "ct.dcm").write_bytes(bytes(broken))
        with pytest.raises(ImageError, match="does not decode") as caught:
            splits_of()
    assert SECRET not in str(caught.value) + caplog.text + repr([str(w.message) for w in recwarn.list])
    stored = [path for path in root.rglob("*") if path.is_file() and path.suffix not in (".dcm", ".jsonl")]
    assert stored and not any(SECRET.encode() in path.read_bytes() for path in stored)
    assert not open_picture(secret, "x").info


DAMAGES = {
    "cut": lambda content: content[:3000],
    "huge": lambda content: content.replace(
        b"\x28\x00\x10\x00US\x02\x00\x80\x00", b"\x28\x00\x10\x00US\x02\x00\xff\xff"
    ).replace(b"\x28\x00\x11\x00US\x02\x00\x80\x00", b"\x28\x00\x11\x00US\x02\x00\xff\xff"),
    "no pixels": lambda content: content[:200],
    "a text": lambda content: b"\0" * 128 + b"DICM" + b"no element" * 20,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused(name):
    with pytest.raises(ImageError):
        open_picture(DAMAGES[name](dicom()), "x")


@pytest.mark.parametrize("library", ["pydicom", "tiffslide"])
def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch, library):
    real = builtins.__import__

    def missing(name, *arguments):
        if name.split(".")[0] == library:
            raise ModuleNotFoundError(name)
        return real(name, *arguments)

    slide(tmp_path / "s.tif")
    content = dicom() if library == "pydicom" else (tmp_path / "s.tif").read_bytes()
    for module in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImageError, match=r"x: it is a .* not installed: pip install 'blipvqa\[medical\]'"):
        open_picture(content, "x")


# ------------------------------------------------------------------------------------------------ whole slides


def test_regions_of_a_slide_are_its_pixels_and_pictures_of_their_own(folder):
    whole = slide(folder / "images" / "slide.tif")
    regions = [(0, 0, 64, 48, 0), (300, 200, 128, 128, 0), (0, 0, 160, 160, 2), (256, 64, 64, 64, 1)]
    names = ("x", "y", "width", "height", "level")
    lines = [
        {"image": "images/slide.tif", "question": f"what {n}?", "answer": "x", **dict(zip(names, region, strict=True))}
        for n, region in enumerate(regions)
    ]
    lines += [{"image": "images/slide.tif", "question": "what is the whole?", "answer": "x"}]
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of()
    seen = {}
    for data in splits.values():
        for i, row in enumerate(data.rows):
            seen[row["question"]] = np.asarray(data.image(i))
    assert len({row["image_id"] for data in splits.values() for row in data.rows}) == 5
    for n, (x, y, width, height, level) in enumerate(regions):
        step = 2**level
        expected = whole[y : y + height * step : step, x : x + width * step : step]
        np.testing.assert_array_equal(seen[f"what {n}?"], expected)
    assert seen["what is the whole?"].shape == (640, 640, 3)
    slide(folder / "images" / "slide.tif", seed=1)
    for data in splits.values():  # the store would keep its pixels as those of the first one
        with pytest.raises(ImageError, match="its picture was replaced after the data was read"):
            data.image(0)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((600, 0, 64, 64, 0), "leads out of the slide"),
        ((-1, 0, 64, 64, 0), "leads out of the slide"),
        ((0, 0, 0, 64, 0), "leads out of the slide"),
        ((0, 0, 64, 64, 3), "no level 3"),
        ((0, 0, None, 64, 0), "needs x, y, width and height"),
        ((0.5, 0, 64, 64, 0), "expected a whole number"),
    ],
)
def test_a_region_that_is_none_is_refused(tmp_path, region, message):
    slide(tmp_path / "s.tif")
    cells = tuple("" if cell is None else str(cell) for cell in region)
    with pytest.raises(ValueError, match=message):
        picture_id(PictureFile(tmp_path / "s.tif", View(region=cells)))


def test_aperio_s_slide_by_thumbnail_from_bytes_path_or_ask(tmp_path):
    whole = aperio(tmp_path / "cmu.svs")
    for picture in (tmp_path / "cmu.svs", (tmp_path / "cmu.svs").read_bytes(), PictureFile(tmp_path / "cmu.svs")):
        np.testing.assert_array_equal(np.asarray(open_picture(picture, "x")), whole)


def test_an_ordinary_tiff_stays_an_ordinary_picture(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "plain.tif")
    assert open_picture(tmp_path / "plain.tif").size == (64, 64)
    pages = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="holds several pictures"):
        open_picture(tmp_path / "pages.tif")
