"""Frames of films and series: videos, DICOM files of several frames, TIFF files of pages."""

import io

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
