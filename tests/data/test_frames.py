"""Frames of films and series: videos, DICOM files of several frames, TIFF files of pages."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from film_files import COUNT, GREYS, dicom, tiff, video
from PIL import Image

from blipvqa.data.frames import film_pictures, frames
from blipvqa.data.images import ImageError, open_picture
from blipvqa.data.medical_files import PictureFile, View
from blipvqa.errors import InputError, MissingFile


@pytest.mark.parametrize(("write", "name"), [(video, "film.mp4"), (tiff, "pages.tif"), (dicom, "slices.dcm")])
def test_frames_come_in_order_whatever_the_file(root, write, name):
    write(root / name)
    for count, rule, expected in (
        (3, "evenly", [2, 6, 10]),
        (5, "authors", [0, 2, 4, 6, 8]),
        (99, "evenly", range(12)),
    ):
        pictures = frames(name, count, rule)
        assert {(one.mode, one.size) for one in pictures} == {("RGB", (64, 48))}
        means = [np.asarray(one).mean() for one in pictures]
        np.testing.assert_allclose(means, [GREYS[number] for number in expected], atol=4)


def test_a_series_of_deep_pages_keeps_its_values(root):
    values = [np.full((20, 30), number * 4000, np.uint16) for number in range(1, 9)]
    pages = [Image.fromarray(one) for one in values]
    pages[0].save(root / "deep.tif", save_all=True, append_images=pages[1:])
    first, last = frames("deep.tif", 2)
    assert first.size == (30, 20) and np.asarray(first).max() < np.asarray(last).max()


def brightness(pictures):
    return [round(np.asarray(one).mean()) for one in pictures]


def ramps(tops, dtype=np.uint16):
    """Frames of values from 0 up to each of these: a contrast agent that comes and goes."""
    return [np.linspace(0, top, 600).reshape(20, 30).astype(dtype) for top in tops]


TOPS = (1000, 3000, 4000, 2000)  # each frame by itself would have three ranges, of 10 to 12 bits


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
@pytest.mark.parametrize(
    ("dtype", "first", "full"), [(np.uint16, 0, 4095), (np.int32, -7, 4000), (np.float32, 0, 4095)]
)
def test_brightness_over_time_of_deep_pages_is_kept(root, compression, dtype, first, full):
    """Each frame had been stretched by its own values: the course of the contrast agent was lost in silence."""
    pages = ramps(TOPS, dtype)
    for page in pages:
        page[0, 0] = first
    pages = [Image.fromarray(page) for page in pages]
    pages[0].save(root / "film.tif", save_all=True, append_images=pages[1:], compression=compression)
    shown = frames("film.tif", 4)
    np.testing.assert_allclose(brightness(shown), [top / 2 / full * 255 for top in TOPS], atol=1.5)
    assert brightness(frames("film.tif", 2)) == [brightness(shown)[number] for number in (1, 3)]  # not of those alone


def test_deep_pages_in_colour_turned_and_white_at_0_are_read_as_one_picture_is(root):
    """Pillow keeps the high byte of each colour, and forgets that 0 is white."""
    picture = np.linspace(0, 4000, 600).reshape(20, 30).astype(np.uint16)
    colours = np.stack([picture, picture[::-1], picture // 2], -1)
    for pixels, settings in ((colours, {"photometric": "rgb"}), (picture, {"photometric": "miniswhite"})):
        settings["extratags"] = [(274, "H", 1, 6, True)]  # on its side
        tifffile.imwrite(root / "one.tif", pixels, **settings)
        with tifffile.TiffWriter(root / "film.tif") as file:
            for page in (pixels, pixels // 4, pixels // 2):
                file.write(page, contiguous=False, **settings)
        one = open_picture(root / "one.tif")
        first, dark, half = frames("film.tif", 3)
        np.testing.assert_array_equal(np.asarray(first), np.asarray(one))
        assert first.size == (20, 30)
        assert abs(np.asarray(half).astype(int) * 2 - np.asarray(one) - (255 if pixels is picture else 0)).max() <= 2
        assert abs(np.asarray(dark).astype(int) * 4 - np.asarray(one) - (765 if pixels is picture else 0)).max() <= 4


def test_a_long_deep_film_is_read_a_page_at_a_time(root):
    page = np.full((512, 512), 4000, np.uint16)
    tifffile.imwrite(root / "film.tif", np.stack([page] * 60))
    content = (root / "film.tif").read_bytes()
    tracemalloc.start()
    assert [number for number, _ in film_pictures(content, [3, 50])] == [3, 50]
    assert tracemalloc.get_traced_memory()[1] < len(content) / 2
    tracemalloc.stop()


def test_brightness_over_time_of_a_deep_dicom_film_is_kept(root):
    pydicom = pytest.importorskip("pydicom")
    dicom(root / "film.dcm", [0] * 4)
    file = pydicom.dcmread(root / "film.dcm")
    file.Rows, file.Columns, file.BitsAllocated, file.BitsStored, file.HighBit = 20, 30, 16, 12, 11
    pages = ramps(TOPS)
    for page in pages:
        page[:2] = 4095  # what fills the corners
    file.PixelData, file["PixelData"].VR = b"".join(page.tobytes() for page in pages), "OW"
    file.add_new("PixelPaddingValue", "US", 4095)
    file.save_as(root / "film.dcm")
    low, high = min(page[2:].min() for page in pages), 4000
    for one, page in zip(frames("film.dcm", 4), pages, strict=True):
        expected = (page[2:].astype(float) - low) / (high - low) * 255
        np.testing.assert_allclose(np.asarray(one)[2:, :, 0], expected, atol=0.51)
    content = (root / "film.dcm").read_bytes()
    named = open_picture(PictureFile(content, View(frame="2")))  # by a column: the same picture, since it has its id
    np.testing.assert_array_equal(np.asarray(named), np.asarray(frames("film.dcm", 4)[1]))
    file.WindowCenter, file.WindowWidth = 500, 1000
    file.save_as(root / "film.dcm")
    values = [(page[2:].clip(0, 1000) / 1000 * 255).mean() for page in pages]
    shown = [np.asarray(one)[2:].mean() for one in frames("film.dcm", 4)]
    np.testing.assert_allclose(shown, values, atol=1.5)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((0, 1, -1, 0), [["black", "red"], ["black", "black"]]),  # held upright, as telephones write it
        ((0, -1, 1, 0), [["black", "black"], ["red", "black"]]),
        ((-1, 0, 0, -1), [["black", "black"], ["black", "red"]]),
        ((-1, 0, 0, 1), [["black", "red"], ["black", "black"]]),  # mirrored
    ],
)
def test_a_film_is_shown_as_it_was_held(root, matrix, shown):
    """The matrix of a film's track says how to turn it; a player does. Chromium was seen to show the same."""
    av = pytest.importorskip("av")
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:16, :32] = 255, 0, 0
    with av.open(str(root / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray((root / "film.mp4").read_bytes())
    place = content.index(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), content.index(b"tkhd"))
    a, b, c, d = (number << 16 for number in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (root / "film.mp4").write_bytes(content)
    [frame] = frames("film.mp4", 1)
    assert frame.size == ((32, 64) if a == 0 else (64, 32))
    quarters = [[frame.getpixel((frame.width * x // 4, frame.height * y // 4)) for x in (1, 3)] for y in (1, 3)]
    assert [["red" if red > 100 else "black" for red, _, _ in row] for row in quarters] == shown


def test_a_short_film_gives_what_it_has_and_the_authors_rule_its_first_frame(root):
    tiff(root / "pages.tif")
    assert len(frames("pages.tif", 99)) == COUNT
    same = frames("pages.tif", 16, "authors")
    assert len(same) == 16 and {np.asarray(one).max() for one in same} == {0}


def test_what_is_no_film_is_named(root):
    pytest.importorskip("av")
    (root / "text.mp4").write_bytes(b"nothing of a film" * 100)
    (root / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    (root / "cut.tif").write_bytes(b"II*\0\x08\0\0\0")
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    (root / "picture.png").write_bytes(picture.getvalue())
    for name in ("text.mp4", "list.mp4", "cut.tif", "picture.png"):
        with pytest.raises(ImageError, match=f"film '{name}': "):
            frames(name)
    with pytest.raises(MissingFile, match=r"no film 'none\.mp4'"):
        frames("none.mp4")
    with pytest.raises(InputError, match="count 0"):
        frames("cut.tif", 0)
    with pytest.raises(InputError, match="rule 'randomly'"):
        frames("cut.tif", 2, "randomly")
