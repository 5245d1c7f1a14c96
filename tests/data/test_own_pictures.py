"""One's own picture, in whatever form it comes, gives the pixels that the loader makes of its file."""

import io
import json
import os

import numpy as np
import pytest
import torch
from picture_files import encoded, png16, tiff
from PIL import Image, ImageDraw

from blipvqa.data.dataset import load_splits
from blipvqa.data.images import ImageError, open_picture, open_pixels, resize_image
from blipvqa.data.own_pictures import own_dataset, picture_names, rows_of_pictures

NOISE = np.random.default_rng(0).integers(0, 256, (23, 31, 4)).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 4096, (23, 31, 4)).astype(np.uint16)
DEEP[..., 3] = 65535


def turned(image, kind, **options) -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encoded(image, kind, exif=exif.tobytes(), **options)


RGB = Image.fromarray(NOISE[..., :3])
FILES = {
    "turned.jpg": turned(RGB, "JPEG"),
    "ink.jpg": turned(RGB.convert("CMYK"), "JPEG"),
    "turned.tif": turned(RGB, "TIFF"),
    "turned.png": turned(Image.fromarray(NOISE), "PNG"),
    "turned.webp": turned(RGB, "WEBP"),
    "palette.gif": encoded(RGB.quantize(16), "GIF", transparency=3),
    "grey.bmp": encoded(RGB.convert("L"), "BMP"),
    "deep grey.png": png16(DEEP[..., 0]),
    "deep grey, alpha.png": png16(DEEP[..., 2:]),
    "deep rgb.png": png16(DEEP[..., :3]),
    "deep rgba.png": png16(DEEP),
    "deep rgb.tif": tiff(DEEP[..., :3], t274=3),
    "white is zero.tif": tiff(DEEP[..., 0], photometric=0),
    "signed.tif": tiff(DEEP[..., 0].astype(np.int16) - 1000),
    "fractions.tif": tiff(DEEP[..., 0].astype(np.float32) / 7),
}


@pytest.fixture(params=FILES)
def loaded(request, tiny, root):
    """(path from the root, the file's bytes, the loader's picture, the loader's pixels)"""
    name, folder = request.param, root / "own"
    folder.mkdir()
    (folder / name).write_bytes(FILES[name])
    row = json.dumps({"image": name, "question": "is it?", "answer": "no"})
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text(row)
    data = load_splits(tiny(data__source="own"))["train"]
    return f"own/{name}", FILES[name], np.asarray(data.image(0)), data.pixels(0).numpy()


def test_every_form_gives_the_loader_s_pixels(loaded, root):
    path, data, picture, pixels = loaded
    forms = {
        "text": path,
        "path": root / path,
        "bytes": data,
        "bytearray": bytearray(data),
        "memoryview": memoryview(data),
        "array": picture,
        "tensor": torch.from_numpy(picture.copy()),
        "Pillow picture": Image.fromarray(picture),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(np.asarray(open_picture(form)), picture, name)
        np.testing.assert_array_equal(open_pixels(form, 32), pixels, name)
    np.testing.assert_array_equal(resize_image(open_picture(path), 32), pixels)


def test_opened_pictures_give_the_loader_s_pixels_read_or_not(loaded, root, monkeypatch):
    path, data, picture, pixels = loaded
    monkeypatch.chdir(root)
    read = Image.open(root / path) if "signed" not in path else Image.open(io.BytesIO(data))
    read.load()
    opened = {"by path": Image.open(path), "from bytes": Image.open(io.BytesIO(data)), "and read": read}
    for name, image in opened.items():
        np.testing.assert_array_equal(np.asarray(open_picture(image)), picture, name)
        np.testing.assert_array_equal(open_pixels(image, 32), pixels, name)
    image = Image.open(path)
    open_picture(image)
    image.load()  # looking at a picture leaves it usable


@pytest.mark.parametrize("name", ["turned.jpg", "turned.tif", "turned.png", "palette.gif", "deep grey.png"])
def test_copies_keep_what_they_are(name):
    image = Image.open(io.BytesIO(FILES[name]))
    np.testing.assert_array_equal(np.asarray(open_picture(image.copy())), np.asarray(open_picture(FILES[name])))


def test_a_picture_that_was_drawn_on_is_taken_as_it_is(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES["deep rgb.png"])
    image = Image.open(tmp_path / "a.png")
    image.load()
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill="white")
    np.testing.assert_array_equal(np.asarray(open_picture(image)), np.asarray(image))
    assert open_picture(image).getpixel((5, 5)) == (255, 255, 255)


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX", "RGBa", "La"]


@pytest.mark.parametrize("mode", [*MODES, "I;16", "I;16L", "I;16B", "I;16N"])
def test_a_pillow_picture_of_any_mode(mode):
    for colour in (0, 255):
        bands = len(Image.new(mode, (1, 1)).getbands())
        image = Image.new(mode, (5, 3), colour if bands == 1 else (colour,) * bands)
        picture = open_picture(image)
        assert (picture.mode, picture.size) == ("RGB", (5, 3))
        if mode in ("1", "L", "I", "RGBX", "I;16", "I;16L", "I;16B", "I;16N"):
            assert picture.getpixel((4, 2)) == (colour, colour, colour)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([[True, False]], [255, 0]),
        ([[0, 255]], [0, 255]),
        (np.array([[0, 200]], np.uint8), [0, 200]),
        ([[0.0, 0.2, 1.0]], [0, 51, 255]),
        (np.array([[0, 4095]], np.uint16), [0, 255]),
        (np.array([[-100, 0, 100]]), [0, 128, 255]),
    ],
)
def test_arrays_of_numbers(array, expected):
    assert np.asarray(open_picture(np.asarray(array)))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "picture",
    [
        None,
        7,
        {"bytes": b""},
        [[1, 2], [3, 4]],
        b"",
        b"hello",
        np.zeros((3, 40, 40), np.uint8),  # channels first
        np.zeros((0, 4), np.uint8),
        np.zeros(9),
        np.zeros((2, 2), complex),
        np.array([["a"]]),
        np.array([[None]]),
        np.full((2, 2), np.nan),
        "own",
        "~nobody-of-this-name/a.png",
        "a" * 5000,
        Image.new("RGB", (0, 4)),
    ],
    ids=lambda picture: repr(picture)[:30],
)
def test_what_is_no_picture_is_one_error(picture, root):
    (root / "own").mkdir()
    with pytest.raises(ImageError, match=r"^(the picture|picture '.*'): "):
        open_picture(picture)
    with pytest.raises(ImageError, match=r"^(the picture|picture '.*'): "):
        open_pixels(picture, 32)


def test_a_closed_picture_is_one_error(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES["turned.png"])
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(ImageError, match="the picture: "):
        open_picture(image)


def test_a_path_that_is_not_there_is_named(root):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        open_picture("none.png")


@pytest.mark.parametrize("kind", ["EPS", "PPM", "JPEG2000", "PCX"])
def test_other_formats_are_not_decoded_though_pillow_opened_them(kind, monkeypatch):
    data = encoded(RGB, kind)
    image = Image.open(io.BytesIO(data))
    monkeypatch.setattr(type(image), "load", lambda *_: pytest.fail("it was decoded"))
    for picture in (data, image):
        with pytest.raises(ImageError, match="PNG, JPEG, TIFF, BMP, GIF, WEBP"):
            open_picture(picture)


def test_a_file_s_name_that_no_table_can_hold_is_named_before_anything_is_answered(root, tiny):
    """Before, answers and indices ended with "surrogates not allowed", after all had been computed."""
    folder = root / "own"
    folder.mkdir()
    names = [b"fine.png", b"bad\xff.png"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(FILES["deep rgb.png"])
    (folder / os.fsdecode(b"note\xff.txt")).write_text("")
    config = tiny()
    raw = rows_of_pictures(folder, picture_names(folder, config.data), [{"question": "is it?"} for _ in names])
    dataset, left_out, notes = own_dataset(raw, folder, config, ["question"])
    assert len(dataset) == 1 and list(left_out) == ["picture bad\ufffd.png of own"]
    assert "rename the file" in left_out["picture bad\ufffd.png of own"]
    assert "\n".join(notes).encode()
