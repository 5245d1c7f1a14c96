"""Pictures from strangers: every mode decodes, everything broken is refused by name, and the store heals itself."""

import io
import json
import struct
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from transformers import BlipImageProcessorPil

from blipvqa.data import images
from blipvqa.data.dataset import load_splits
from blipvqa.data.images import ImageError, ImageStore, number_of, open_picture, open_pixels, resize_image


def encoded(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp(size=16) -> Image.Image:
    return Image.fromarray(np.linspace(0, 255, size * size).reshape(size, size).astype(np.uint8))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("CMYK", "JPEG"),
        ("RGB", "BMP"),
        ("RGB", "WEBP"),
        ("P", "GIF"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_every_mode_becomes_rgb(mode, kind):
    image = open_picture(encoded(ramp().convert("RGB").convert(mode), kind), "x")
    assert (image.mode, image.size) == ("RGB", (16, 16))
    assert abs(np.asarray(image).mean() - 127) < 12  # as bright as it was


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_deep_grey_keeps_its_range(bits):
    values = np.linspace(0, 2**bits - 1, 256).reshape(16, 16).astype(np.uint16)
    found = np.asarray(open_picture(encoded(Image.fromarray(values)), "x"))
    assert found.min() == 0
    assert found.max() == 255
    assert abs(int(found[8, 0, 0]) - 128) <= 2


def test_float_pixels_are_scaled_and_numbers_that_are_none_refused():
    values = np.linspace(-3, 5, 256, dtype=np.float32).reshape(16, 16)
    assert np.asarray(open_picture(encoded(Image.fromarray(values), "TIFF"), "x")).max() == 255
    values[0, 0] = np.nan
    with pytest.raises(ImageError, match="no numbers"):
        open_picture(encoded(Image.fromarray(values), "TIFF"), "x")


def test_transparency_is_laid_over_white():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert open_picture(encoded(image), "x").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("RGB", (8, 8), "black").quantize(4)
    clear = palette.getpixel((0, 0))
    assert open_picture(encoded(palette), "x").getpixel((0, 0)) == (0, 0, 0)
    assert open_picture(encoded(palette, transparency=clear), "x").getpixel((0, 0)) == (255, 255, 255)


def test_rotation_is_applied_and_metadata_dropped():
    image = Image.new("RGB", (20, 10), "red")
    exif = image.getexif()
    exif[274], exif[270] = 6, "patient: Jane Doe"
    found = open_picture(encoded(image, "JPEG", exif=exif.tobytes()), "x")
    assert found.size == (10, 20)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("PatientName", "Jane Doe")
    for data in (encoded(image, "JPEG", exif=exif.tobytes()), encoded(image, pnginfo=notes)):
        found = open_picture(data, "x")
        assert not found.info
        assert b"Jane" not in encoded(found, "JPEG") + encoded(found)


def bomb(width=60_000, height=60_000) -> bytes:
    """A PNG that claims to be enormous."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


FRAMES = [Image.new("RGB", (8, 8), c) for c in ("red", "green")]
BROKEN = {
    "zero bytes": b"",
    "no picture": b"hello" * 100,
    "truncated": encoded(Image.effect_noise((64, 64), 90))[:900],
    "truncated jpeg": encoded(ramp(64), "JPEG")[:500],
    "bomb": bomb(),
    "smaller bomb": bomb(11_000, 11_000),
    "animated gif": encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "animated png": encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    "many pages": encoded(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "zip": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_by_name(name):
    with pytest.raises(ImageError, match="row train/7"):
        open_picture(BROKEN[name], "row train/7")


def test_a_polyglot_is_only_its_picture():
    data = encoded(ramp()) + b"PK\x03\x04<script>alert(1)</script>"
    assert open_picture(data, "x").size == (16, 16)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]),
    st.integers(0, 10_000),
    st.binary(min_size=1, max_size=8),
)
def test_damaged_files_decode_or_are_refused(kind, place, noise):
    data = bytearray(encoded(ramp(24).convert("RGB"), kind))
    place %= len(data)
    data[place : place + len(noise)] = noise
    try:
        assert open_picture(bytes(data), "x").mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("x: ")


@pytest.mark.parametrize("shape", [(50, 50), (118, 20), (20, 118), (90, 70), (10, 12)])
def test_resizing_equals_the_library(shape):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8))
    expected = BlipImageProcessorPil(size={"height": 32, "width": 32}, do_normalize=False, do_rescale=False)(
        image, return_tensors="np"
    )
    np.testing.assert_array_equal(resize_image(image, 32), expected["pixel_values"][0])
    np.testing.assert_array_equal(open_pixels(encoded(image), 32), expected["pixel_values"][0])


def refuse() -> bytes:
    raise AssertionError("read again")


def test_the_store_reads_each_image_once(tmp_path):
    data = encoded(ramp(40).convert("RGB"))
    first = ImageStore(tmp_path, 32).get("abc", lambda: data, "x")
    np.testing.assert_array_equal(ImageStore(tmp_path, 32).get("abc", refuse, "x"), first)
    np.testing.assert_array_equal(first, resize_image(open_picture(data, "x"), 32))
    assert ImageStore(tmp_path, 32).report()["images"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:100],
        lambda d: b"",
        lambda d: d[:-1] + bytes([d[-1] ^ 1]),
        lambda d: d + b"\0",
        lambda d: b"\0" * len(d),
    ],
)
def test_a_damaged_file_of_the_store_is_made_again(tmp_path, damage):
    data = encoded(ramp(40).convert("RGB"))
    first = ImageStore(tmp_path, 32).get("abc", lambda: data, "x")
    path = next(tmp_path.rglob("*.shard"))
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(ImageStore(tmp_path, 32).get("abc", lambda: data, "x"), first)
    np.testing.assert_array_equal(ImageStore(tmp_path, 32).get("abc", refuse, "x"), first)


def test_the_store_is_bounded(tmp_path):
    data = encoded(ramp(40).convert("RGB"))
    store = ImageStore(tmp_path, 32, gigabytes=10 * 3 * 32 * 32 / 1e9)
    for i in range(60):
        store.get(f"{i:04d}", lambda: data, "x")
    assert 1 <= store.report()["images"] <= 12


def test_a_store_that_cannot_be_written_still_delivers(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = ImageStore(tmp_path / "file", 32)
    assert store.get("abc", lambda: encoded(ramp(40)), "x").shape == (3, 32, 32)
    assert store.read_only


def test_another_decoder_decodes_anew(tmp_path, monkeypatch):
    data = encoded(ramp(40).convert("RGB"))
    ImageStore(tmp_path, 32).get("abc", lambda: data, "x")
    assert ImageStore(tmp_path, 32).has("abc")
    assert PIL.__version__ in images.DECODER
    monkeypatch.setattr(images, "DECODER", "another")
    assert not ImageStore(tmp_path, 32).has("abc")
    with pytest.raises(AssertionError, match="read again"):
        ImageStore(tmp_path, 32).get("abc", refuse, "x")


def test_what_another_decoder_left_makes_room(tmp_path, monkeypatch):
    data = encoded(ramp(40).convert("RGB"))
    monkeypatch.setattr(images, "DECODER", "another")
    old = ImageStore(tmp_path, 32)
    for i in range(5):
        old.get(f"old{i}", lambda: data, "x")
    monkeypatch.undo()
    store = ImageStore(tmp_path, 32, gigabytes=3 * 3 * 32 * 32 / 1e9)
    for i in range(3):
        store.get(f"new{i}", lambda: data, "x")
    assert old.report()["images"] == 0


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:30], lambda d: d[:-1], lambda d: b"x" + d[1:]])
def test_a_file_that_is_not_whole_is_not_here(tmp_path, damage):
    data = encoded(ramp(40).convert("RGB"))
    store = ImageStore(tmp_path, 32)
    store.get("abc", lambda: data, "x")
    assert store.has("abc") and not store.has("abd")
    path = next(tmp_path.rglob("*.shard"))
    path.write_bytes(damage(path.read_bytes()))
    assert not ImageStore(tmp_path, 32).has("abc")


def is_one_colour(store: ImageStore, image_id: str) -> bool:
    return bool(store.are_one_colour(np.array([number_of(image_id)], np.uint64))[0])


@pytest.mark.parametrize(("colour", "expected"), [("red", True), (None, False)])
def test_the_store_knows_pictures_of_one_colour(tmp_path, colour, expected):
    data = encoded(Image.new("RGB", (20, 10), colour) if colour else ramp(20))
    store = ImageStore(tmp_path, 32)
    assert not is_one_colour(store, "abc")
    store.get("abc", lambda: data, "x")
    assert is_one_colour(store, "abc") is expected
    assert is_one_colour(ImageStore(tmp_path, 32), "abc") is expected


def test_a_picture_of_one_colour_is_named_in_the_notes(tiny, root):
    folder = root / "fields"
    folder.mkdir()
    ramp().save(folder / "a.png")
    for name in ("black", "white"):
        Image.new("RGB", (9, 9), name).save(folder / f"{name}.png")
    rows = [
        {"image": f"{name}.png", "question": "is there fat?", "answer": "no"} for name in ("a", "black", "a", "black")
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "test.jsonl").write_text(json.dumps(rows[0] | {"image": "white.png"}) + "\n")
    (folder / "validation.jsonl").write_text(json.dumps(rows[0]) + "\n")
    for _ in ("decoded", "from the store"):
        notes = load_splits(tiny(data__source="fields")).notes
        assert "train: 1 picture is (almost) one colour after decoding (row train/1)" in notes
        assert "test: 1 picture is (almost) one colour after decoding (row test/0)" in notes
        assert not any("validation" in note and "one colour" in note for note in notes)


@pytest.mark.parametrize(("values", "expected"), [((0, 1), True), ((1000, 1003), True), ((0, 9), False)])
def test_what_nobody_can_see_counts_as_one_colour(tmp_path, values, expected):
    """A mask of 0 and 1 instead of a picture, or a deep one of next to no range: before, only equal pixels counted."""
    noise = np.random.default_rng(0).choice(values, (32, 32)).astype(np.uint16 if values[1] > 255 else np.uint8)
    store = ImageStore(tmp_path, 32)
    store.get("a1", lambda: encoded(Image.fromarray(noise)), "x")
    assert is_one_colour(store, "a1") == expected
