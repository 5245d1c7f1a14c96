"""Files cut short whose decoders would fill the rest: a JPEG that says it ends with grey, a deep TIFF with what follows."""

import io

import numpy as np
import pytest
from conftest import VQA_RAD_SAMPLE
from PIL import Image

from blipvqa.data.images import ImageError, open_picture

END = b"\xff\xd9"


def jpeg(kind, black_border=False, **options) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(noise).resize((150, 130), Image.Resampling.BICUBIC)).copy()
    if black_border:
        picture[90:] = 0
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(kind).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"black_border": True}])
def test_half_a_jpeg_with_an_end_marker_is_refused_through_every_door(tmp_path, kind, options):
    """Before, the missing half was grey, and stayed in the store; only a file without the marker was refused."""
    whole = jpeg(kind, **options)
    assert open_picture(whole + b"more behind its end").size == (150, 130)
    for share in (0.5, 0.7):
        half = whole[: int(len(whole) * share)].rstrip(b"\xff") + END
        (tmp_path / "half.jpg").write_bytes(half)
        with Image.open(tmp_path / "half.jpg") as opened:
            for door in (half, tmp_path / "half.jpg", opened):
                with pytest.raises(ImageError, match=r"the file ends before its picture does|truncated"):
                    open_picture(door)


def test_a_deep_tiff_that_lacks_its_last_bytes_is_refused():
    """Before, up to the length of the tag table that is put behind the file was read as the last pixels."""
    values = np.random.default_rng(0).integers(0, 60_000, (40, 50), dtype=np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")  # its pixels stand last
    whole = buffer.getvalue()
    assert open_picture(whole).size == (50, 40)
    for cut in (1, 2, 40, 140, 400):
        with pytest.raises(ImageError, match="truncated"):
            open_picture(whole[:-cut])


def test_real_jpegs_are_whole():
    files = sorted((VQA_RAD_SAMPLE / "images").glob("*.jp*g"))
    assert files and all(open_picture(file.read_bytes()).width for file in files)
