"""Deep TIFF files: read whatever way their numbers are stored, and refused by name where they are broken."""

import itertools
import struct

import numpy as np
import pytest
from picture_files import encoded, tiff
from PIL import Image

from blipvqa.data.images import ImageError, open_picture

TWELVE = np.array([[0, 16, 17], [1000, 2048, 4095]], np.uint16)
EIGHT = np.array([[0, 0, 1], [62, 127, 255]], np.uint8)  # v * 255 // 4095, by hand
COLOURS = np.stack([TWELVE, TWELVE[:, ::-1], TWELVE[::-1]], -1)


def pixels(picture) -> np.ndarray:
    return np.asarray(open_picture(picture, "x"))


LAYOUTS = [
    dict(zip(("order", "planar", "tile", "compression", "predictor"), values, strict=True))
    for values in itertools.product(
        "<>", (False, True), (None, (16, 16)), (None, "deflate", "tiff_lzw", "packbits"), (1, 2)
    )
    if not (values[-1] == 2 and values[-2] in (None, "packbits"))
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_a_deep_tiff_is_read_whatever_way_it_is_stored(layout):
    values = np.random.default_rng(0).integers(0, 4096, (37, 21, 3)).astype(np.uint16)
    values[0, 0] = 4095
    expected = (values.astype(int) * 255 // 4095).astype(np.uint8)
    rows = {} if layout["tile"] else {"rows": 5}
    np.testing.assert_array_equal(pixels(tiff(values, **layout, **rows)), expected)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_fractions_with_any_predictor(kind, tile, order, predictor):
    values = np.random.default_rng(0).integers(0, 256, (19, 21, 3)) / 255
    expected = np.rint(values * 255).astype(np.uint8)
    data = tiff(values.astype(kind), order, tile=tile, predictor=predictor, compression="deflate")
    np.testing.assert_array_equal(pixels(data), expected)


def test_twelve_bits_packed_close():
    """Two numbers in three bytes: 0x000 0x010, 0x011 0x3E8, 0x800 0xFFF."""
    whole = tiff(np.zeros((1, 9), np.int8))  # nine bytes in a row, to be described as six numbers of 12 bits
    data = whole[:8] + bytes.fromhex("000010 0113E8 800FFF") + whole[17:]
    for tag, old, new in ((256, 9, 6), (258, 8, 12), (339, 2, 1)):
        form = "I" if tag == 256 else "H"
        entry = struct.pack("<HHI", tag, {"I": 4, "H": 3}[form], 1)
        assert data.count(entry + struct.pack(f"<{form}", old)) == 1
        data = data.replace(entry + struct.pack(f"<{form}", old), entry + struct.pack(f"<{form}", new))
    np.testing.assert_array_equal(pixels(data), np.stack([EIGHT.reshape(1, 6)] * 3, -1))


@pytest.mark.parametrize("change", ["pages", "cut", "complex", "mixed", "many samples"])
def test_what_is_broken_in_a_deep_file_is_named(change):
    data = tiff(COLOURS, rows=1, compression="deflate")
    if change == "pages":
        data = encoded(Image.fromarray(TWELVE), "TIFF", save_all=True, append_images=[Image.fromarray(TWELVE)])
    elif change == "cut":
        data = data[:8] + data[20:]
    elif change == "complex":
        data = tiff(TWELVE, t339=5)
    elif change == "mixed":
        data = tiff(TWELVE, photometric=3)
    else:
        data = tiff(np.zeros((2, 2, 17), np.uint16))
    with pytest.raises(ImageError, match=r"^row train/7: "):
        open_picture(data, "row train/7")


@pytest.mark.parametrize("rows", [1, 3, None])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_large_tiff_is_unpacked_in_bands(monkeypatch, rows, planar, tile):
    monkeypatch.setattr("blipvqa.data.deep_tiff.BAND", 300)
    monkeypatch.setattr("blipvqa.data.depth.STRIP", 150)
    values = np.random.default_rng(0).integers(0, 4096, (61, 20, 3)).astype(np.uint16)
    values[0, 0] = 4095
    expected = (values.astype(int) * 255 // 4095).astype(np.uint8)
    for compression in (None, "deflate"):
        data = tiff(values, rows=None if tile else rows, planar=planar, tile=tile, compression=compression)
        np.testing.assert_array_equal(pixels(data), expected)
