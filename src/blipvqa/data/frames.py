"""Frames of films and series: which of them, and the pictures of a video, a multi-frame DICOM file or a TIFF of pages.

Notable:
- "evenly" takes the middle of each of so many equal parts. "authors" is salesforce/BLIP's rule: steps of whole frames
  from the first one on, so that the end is missed, and a short clip gives its first frame many times
  (docs/facts.md 14.2).
- A video is decoded by `av` (`pip install 'blipvqa[video]'`) from its first frame on, twice: headers that count frames
  are often wrong, and seeking lands beside the wanted frame. Lists of other files are no videos here: FFmpeg would open
  what they name.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image

from blipvqa.config.paths import project_path
from blipvqa.data import dicom
from blipvqa.data.decoding_memory import PLAIN_PILLOW
from blipvqa.data.depth import Refused
from blipvqa.data.image_files import LARGEST_FILE
from blipvqa.data.images import ImageError, open_picture
from blipvqa.data.medical_files import PictureFile, View
from blipvqa.data.picture_sources import LARGEST
from blipvqa.errors import InputError, MissingFile

Rule = Literal["evenly", "authors"]
MOST_FRAMES = 1_000_000  # of a film
MOST_PAGES = 10_000  # of a TIFF
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,asf"


def frame_numbers(length: int, count: int, rule: Rule = "evenly") -> list[int]:
    """Which of `length` frames, counted from 0, are the `count` that stand for all; by "evenly" each one once."""
    if rule == "authors":
        return [length // count * k for k in range(count)]
    count = min(count, length)
    return [(2 * k + 1) * length // (2 * count) for k in range(count)]


def frames(path: str | Path, count: int = 8, rule: Rule = "evenly") -> list[Image.Image]:
    """`count` frames of a film or series, RGB, in their order: for `ask(…, together=True)`, or as a clip.

    Raises MissingFile, ImageError for what is no film or does not decode, and InputError for impossible settings.
    """
    file = project_path(path)
    if rule not in ("evenly", "authors") or count < 1:
        raise InputError(f"frames: count {count} and rule {rule!r}: expected 1 or more, and 'evenly' or 'authors'")
    if not file.is_file():
        raise MissingFile(f"there is no film {str(path)!r}")
    where = f"film '{file.name}'"
    if file.stat().st_size > LARGEST_FILE:
        raise ImageError(f"{where} has {file.stat().st_size:,} bytes, at most {LARGEST_FILE:,} are read")
    content = file.read_bytes()
    read_others = _of_tiff if content[:4] in TIFF_MARKS else _of_video
    read = _of_dicom if dicom.is_dicom(content) else read_others
    try:
        return read(content, lambda length: frame_numbers(length, count, rule), where)
    except ImageError:
        raise
    except Refused as error:
        problem = str(error)
    except Exception as error:  # decoders fail in many ways on hostile bytes, and each means the same to the caller
        problem = f"it does not decode ({' '.join(str(error).split()):.120})"
    raise ImageError(f"{where}: {problem}")


Choose = Callable[[int], list[int]]  # frame numbers of a film of so many frames


def _of_dicom(content: bytes, choose: Choose, where: str) -> list[Image.Image]:
    numbers = choose(dicom.frame_count(content))
    return [open_picture(PictureFile(content, View(frame=str(number + 1))), where) for number in numbers]


def _of_tiff(content: bytes, choose: Choose, where: str) -> list[Image.Image]:
    """Pages of grey values or of colours of 8 bits."""
    with PLAIN_PILLOW:
        pages = Image.open(io.BytesIO(content), formats=("TIFF",))
        length = _count_pages(pages)
        pictures = []
        for number in choose(length):
            pages.seek(number)
            _check_size(*pages.size)
            pictures.append(pages.copy())
    return [open_picture(picture, where) for picture in pictures]


def _count_pages(pages: Image.Image) -> int:
    for number in range(1, MOST_PAGES + 1):
        try:
            pages.seek(number)
        except EOFError:
            return number
    raise Refused(f"it has more than {MOST_PAGES:,} pages")


def _of_video(content: bytes, choose: Choose, where: str) -> list[Image.Image]:
    try:
        import av
    except ModuleNotFoundError:
        raise Refused(
            "it is no DICOM file and no TIFF; av, which reads videos, is not installed: pip install 'blipvqa[video]'"
        ) from None
    length = sum(1 for _ in _decoded(av, content))
    if not length:
        raise Refused("it holds no frame")
    numbers = choose(length)
    wanted = set(numbers)
    pictures = {
        number: open_picture(frame.to_ndarray(format="rgb24"), where)
        for number, frame in enumerate(_decoded(av, content))
        if number in wanted
    }
    return [pictures[number] for number in numbers]


def _decoded(av, content: bytes):
    """The frames of the first video stream, as the decoder holds them."""
    with av.open(io.BytesIO(content), options={"format_whitelist": CONTAINERS}) as container:
        if not container.streams.video:
            raise Refused("it holds no video")
        stream = container.streams.video[0]
        _check_size(stream.width, stream.height)
        for number, frame in enumerate(container.decode(stream)):
            if number == MOST_FRAMES:
                raise Refused(f"it has more than {MOST_FRAMES:,} frames")
            yield frame


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise Refused(f"its frames are too large ({width} x {height} pixels, at most {LARGEST:,} are read)")
