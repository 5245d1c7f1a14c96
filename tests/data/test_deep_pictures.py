"""Pictures deeper than 8 bits: the same values give the same pixels, whatever file, mode or array holds them."""

import io
import itertools
import struct

import numpy as np
import pytest
from picture_files import chunk, encoded, png16, tiff
from PIL import Image

from blipvqa.data.depth import value_range
from blipvqa.data.images import ImageError, open_picture

# 12-bit values and what they become: v * 255 // 4095, by hand
TWELVE = np.array([[0, 16, 17], [1000, 2048, 4095]], np.uint16)
EIGHT = np.array([[0, 0, 1], [62, 127, 255]], np.uint8)
COLOURS = np.stack([TWELVE, TWELVE[:, ::-1], TWELVE[::-1]], -1)
COLOURS_8 = np.stack([EIGHT, EIGHT[:, ::-1], EIGHT[::-1]], -1)
OPAQUE = np.full_like(TWELVE, 65535)


def pixels(picture) -> np.ndarray:
    return np.asarray(open_picture(picture, "x"))


def grey_8(values) -> np.ndarray:
    return np.stack([np.asarray(values, np.uint8)] * 3, -1)


def as_mode(mode) -> Image.Image:
    return Image.frombytes(mode, (3, 2), TWELVE.astype(">u2" if mode.endswith("B") else "<u2").tobytes())


GREY = {
    "png": png16(TWELVE),
    "png grey and alpha": png16(np.stack([TWELVE, OPAQUE], -1)),
    "png rgb": png16(np.stack([TWELVE] * 3, -1)),
    "png rgba": png16(np.stack([TWELVE, TWELVE, TWELVE, OPAQUE], -1)),
    "tiff": tiff(TWELVE),
    "tiff big-endian": tiff(TWELVE, ">"),
    "tiff grey and alpha": tiff(np.stack([TWELVE, OPAQUE], -1), extra=2),
    "tiff grey and something": tiff(np.stack([TWELVE, TWELVE], -1), extra=0),
    "tiff rgb": tiff(np.stack([TWELVE] * 3, -1)),
    "tiff signed": tiff(TWELVE.astype(np.int16)),
    "tiff 32 bits": tiff(TWELVE.astype(np.uint32), ">"),
    "tiff signed 32 bits": tiff(TWELVE.astype(np.int32)),
    "tiff 64 bits": tiff(TWELVE.astype(np.uint64)),
    "tiff whole fractions": tiff(TWELVE.astype(np.float32)),
    "tiff whole doubles": tiff(TWELVE.astype(np.float64), ">"),
    "tiff of Pillow": encoded(Image.fromarray(TWELVE), "TIFF"),
    "tiff of Pillow, I": encoded(Image.fromarray(TWELVE.astype(np.int32)), "TIFF"),
    "tiff of Pillow, F": encoded(Image.fromarray(TWELVE.astype(np.float32)), "TIFF"),
    **{f"mode {mode}": as_mode(mode) for mode in ("I;16", "I;16B", "I;16L", "I;16N")},
    "mode I": Image.fromarray(TWELVE.astype(np.int32)),
    "mode F": Image.fromarray(TWELVE.astype(np.float32)),
    **{f"array {kind}": TWELVE.astype(kind) for kind in ("u2", ">u2", "i2", "u4", "i8", "u8", "f2", "f4", "f8")},
    "array [H, W, 1]": TWELVE[..., None],
    "array rgb": np.stack([TWELVE] * 3, -1),
    "array grey and alpha": np.stack([TWELVE, OPAQUE], -1),
}


@pytest.mark.parametrize("name", GREY)
def test_the_same_values_give_the_same_pixels(name):
    if name == "array f2":  # half floats hold whole numbers to 2,048 only
        np.testing.assert_array_equal(pixels(np.minimum(TWELVE, 2047).astype("f2")), pixels(np.minimum(TWELVE, 2047)))
    else:
        np.testing.assert_array_equal(pixels(GREY[name]), grey_8(EIGHT))


@pytest.mark.parametrize(
    "picture",
    [
        png16(COLOURS),
        png16(COLOURS, row_filter=0),
        tiff(COLOURS),
        tiff(COLOURS.astype("i2"), ">"),
        tiff(COLOURS.astype("f4")),
        COLOURS,
    ],
    ids=["png", "png unfiltered", "tiff", "tiff signed", "tiff fractions", "array"],
)
def test_colours_share_one_range(picture):
    np.testing.assert_array_equal(pixels(picture), COLOURS_8)


def test_values_below_zero_are_darker_than_zero():
    """Hounsfield units: air -1000, water 0, bone 1550: (v + 1000) * 255 / 2550, rounded."""
    values = np.array([[-1000, -500, 0], [50, 1000, 1550]])
    expected = grey_8([[0, 50, 100], [105, 200, 255]])
    pictures = [values.astype("i2"), values.astype("f4"), tiff(values.astype("i2")), tiff(values.astype("i4"), ">")]
    pictures += [
        tiff(values.astype("f4")),
        Image.fromarray(values.astype(np.int32)),
        Image.fromarray(values.astype("f4")),
    ]
    pictures += [encoded(Image.fromarray(values.astype(np.int32)), "TIFF")]
    for picture in pictures:
        np.testing.assert_array_equal(pixels(picture), expected)


def test_the_type_alone_changes_nothing():
    values = np.array([[0, 7, 100]])
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"):
        for picture in (values.astype(kind), tiff(values.astype(kind))):
            np.testing.assert_array_equal(pixels(picture), grey_8(values), kind)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 32767], "i2"),
        ([0, 2**31 - 1], "i4"),
        ([0, 2**32 - 1], "u4"),
        ([0, 2**63 - 1], "i8"),
        ([0, 2**64 - 1], "u8"),
        ([0, 65504], "f2"),
        ([-32768, 32767], "i2"),
        ([-(2**63), 2**63 - 1], "i8"),
        ([-1e38, 1e38], "f4"),
        ([0, 1e300], "f8"),
    ],
)
def test_the_ends_of_every_type_are_black_and_white(values, kind):
    for picture in (np.array([values], kind), tiff(np.array([values], kind))):
        low, high = pixels(picture)[0, :, 0].tolist()
        assert low == 0 and high >= 170  # the power of two above 1e300 is up to twice as bright


def test_signed_bytes():
    values = np.array([[-128, 0, 127]], np.int8)
    for picture in (values, tiff(values)):
        np.testing.assert_array_equal(pixels(picture), grey_8([[0, 128, 255]]))


@pytest.mark.parametrize("bits", range(8, 17))
def test_sixteen_bit_files_of_fewer_bits(bits):
    values = np.array([[0, 2**bits - 1]], np.uint16)
    for data in (png16(values), png16(np.stack([values] * 3, -1)), tiff(np.stack([values] * 3, -1))):
        np.testing.assert_array_equal(pixels(data), grey_8([[0, 255]]))


def test_eight_bit_values_stay_as_they_are():
    values = np.array([[0, 7, 101], [3, 2, 55]], np.uint8)  # none is bright
    for kind in ("u1", "u2", "i2", "u4", "i8", "f4"):
        np.testing.assert_array_equal(pixels(values.astype(kind)), grey_8(values))
    np.testing.assert_array_equal(pixels(png16(values)), grey_8(values))
    np.testing.assert_array_equal(pixels(values / 255), grey_8(values))


@pytest.mark.parametrize(
    ("lowest", "highest", "whole", "expected"),
    [
        (0, 0, True, (0, 255)),
        (0, 255, True, (0, 255)),
        (0, 256, True, (0, 511)),
        (100, 4095, True, (0, 4095)),
        (0, 4096, True, (0, 8191)),
        (0, 65535, True, (0, 65535)),
        (0, 2**32 - 1, True, (0, 2**32 - 1)),
        (-1, 4, True, (-1, 4)),
        (0, 1.0, False, (0, 1)),
        (0.2, 0.4, False, (0, 1)),
        (0.0, 0.05, False, (0.0, 0.05)),
        (0.0, 2.5, False, (0.0, 2.5)),
        (0.5, 254.5, False, (0, 255)),
        (0.5, 255.5, False, (0, 511)),
        (-0.5, 0.5, False, (-0.5, 0.5)),
    ],
)
def test_the_range_follows_from_the_values(lowest, highest, whole, expected):
    assert value_range(lowest, highest, whole) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused_everywhere(bad):
    values = np.full((4, 5), 0.5, np.float32)
    values[3, 4] = bad
    colours = np.stack([values] * 3, -1)
    for picture in (values, colours, tiff(values), tiff(colours), Image.fromarray(values)):
        with pytest.raises(ImageError, match=r"^x: .*no numbers"):
            open_picture(picture, "x")


# ------------------------------------------------------------------------------------------------ what tags say


def test_white_is_zero_only_where_the_file_says_so():
    inverted = 255 - grey_8(EIGHT)
    for kind, order in itertools.product(("u2", "i2", "u4", "f4"), "<>"):
        np.testing.assert_array_equal(pixels(tiff(TWELVE.astype(kind), order, photometric=0)), inverted)
    np.testing.assert_array_equal(pixels(tiff(EIGHT, photometric=0)), 255 - grey_8(EIGHT))
    np.testing.assert_array_equal(pixels(tiff(EIGHT, photometric=1)), grey_8(EIGHT))


def test_deep_ink_is_ink():
    ink = np.zeros((1, 4, 4), np.uint16)
    ink[0, 1, 0] = ink[0, 2, 3] = 65535  # paper, cyan, black, paper
    expected = [[[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 255, 255]]]
    np.testing.assert_array_equal(pixels(tiff(ink, photometric=5)), expected)
    ink[ink > 0] = 4095
    np.testing.assert_array_equal(pixels(tiff(ink, photometric=5)), expected)


def test_ink_of_a_jpeg_is_turned_round_only_with_adobe_s_marker():
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    with_marker = encoded(paper, "JPEG", quality=100)
    np.testing.assert_array_equal(pixels(with_marker), np.full((16, 16, 3), 255))
    start = with_marker.index(b"\xff\xee")
    length = struct.unpack(">H", with_marker[start + 2 : start + 4])[0]
    without = with_marker[:start] + with_marker[start + 2 + length :]  # its bytes of 255 are now full ink
    for picture in (without, Image.open(io.BytesIO(without))):
        np.testing.assert_array_equal(pixels(picture), np.zeros((16, 16, 3)))


def test_deep_alpha_is_laid_over_white():
    grey = np.array([[0, 0, 65535, 2000]], np.uint16)
    alpha = np.array([[0, 32896, 65535, 0]], np.uint16)  # 32,896 is 128 of 255
    expected = grey_8([[255, 127, 255, 255]])
    for data in (
        png16(np.stack([grey, alpha], -1)),
        tiff(np.stack([grey, alpha], -1), extra=2),
        np.stack([grey, alpha], -1),
    ):
        np.testing.assert_array_equal(pixels(data), expected)
    np.testing.assert_array_equal(pixels(png16(np.stack([grey] * 3 + [alpha], -1))), expected)
    shares = np.stack([grey, alpha], -1) / 65535
    np.testing.assert_array_equal(pixels(shares), expected)


def test_colours_that_were_multiplied_by_alpha():
    half = np.array([[[0, 0, 0, 0], [32896, 0, 0, 32896], [65535, 65535, 65535, 65535]]], np.uint16)
    np.testing.assert_array_equal(pixels(tiff(half, extra=1)), [[[255, 255, 255], [255, 127, 127], [255, 255, 255]]])


def test_invisible_pixels_do_not_darken_the_others():
    """12-bit data, and 65,535 where there is none: transparent by alpha, or by the colour that the file names."""
    values, alpha = TWELVE.copy(), OPAQUE.copy()
    values[0, 0], alpha[0, 0] = 65535, 0
    expected = grey_8(EIGHT)
    expected[0, 0] = 255
    np.testing.assert_array_equal(pixels(png16(np.stack([values, alpha], -1))), expected)
    np.testing.assert_array_equal(pixels(png16(values, chunk(b"tRNS", struct.pack(">H", 65535)))), expected)
    key = chunk(b"tRNS", struct.pack(">HHH", 65535, 65535, 65535))
    np.testing.assert_array_equal(pixels(png16(np.stack([values] * 3, -1), key)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_pictures_are_turned_upright(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    shallow = Image.fromarray(COLOURS_8)
    expected = pixels(encoded(shallow, exif=exif.tobytes()))
    late = chunk(b"eXIf", exif.tobytes()[6:])
    for data in (png16(COLOURS, late), png16(COLOURS, after=late), tiff(COLOURS, t274=orientation)):
        np.testing.assert_array_equal(pixels(data), expected)
        np.testing.assert_array_equal(
            pixels(Image.open(io.BytesIO(data))) if data[1:4] == b"PNG" else expected, expected
        )
