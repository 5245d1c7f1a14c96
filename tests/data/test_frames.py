"""Frames of films and series: videos, DICOM files of several frames, TIFF files of pages."""

import io
import struct

import numpy as np
import pytest
from film_files import COUNT, GREYS, dicom, tiff, video
from PIL import Image

from blipvqa.data.frames import frames
from blipvqa.data.images import ImageError
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
