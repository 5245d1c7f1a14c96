"""Frames of films and series: which of them, and the pictures of a video, a multi-frame DICOM file or a TIFF of pages.

Notable:
- "evenly" takes the middle of each of so many equal parts. "authors" is salesforce/BLIP's rule: steps of whole frames
  from the first one on, so that the end is missed, and a short clip gives its first frame many times
  (docs/facts.md 14.2).
- A video is decoded by `av` (`pip install 'blipvqa[video]'`) from its first frame on, once to count them: headers and
  packets that count frames are often wrong, and seeking lands beside the wanted frame. The count is kept by the file's
  digest. Lists of other files are no videos here: FFmpeg would open what they name.
- Pages of a TIFF that are a smaller copy of another one, or its mask, are no frames.
- Frames deeper than 8 bits become grey levels by one range, that of all frames of the film, shown or not: brightness
  that changes with time stays, and a frame is the same picture however many are shown. So the whole film is read
  twice, a frame at a time, and one that does not decode is refused with its film.
- With `data.frames` a row whose one picture is a film shows so many frames of it, each a picture of its own: its id is
  that of the file and the frame. A picture that is no film stays one picture.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from blipvqa.config.paths import project_path
from blipvqa.data import dicom
from blipvqa.data.cache import mark
from blipvqa.data.decoding_memory import MEMORY, PLAIN_PILLOW
from blipvqa.data.deep_tiff import deep_page
from blipvqa.data.depth import DeepFile, Extent, Refused, strip_memory
from blipvqa.data.image_files import LARGEST_FILE
from blipvqa.data.images import ImageError, open_picture
from blipvqa.data.medical_files import PictureFile, View, file_id, image_digest, picture_id
from blipvqa.data.picture_sources import LARGEST
from blipvqa.data.tiff_slices import refuse_slices
from blipvqa.errors import InputError, MissingFile
from blipvqa.plural import how_many
from blipvqa.runs.files import replacing

Rule = Literal["evenly", "authors"]
Film = bytes | memoryview | PictureFile
MOST_FRAMES = 1_000_000  # of a film
MOST_PAGES = 10_000  # of a TIFF
LENGTH = struct.Struct("<QI")  # of a film that was counted, and the crc32 of that
KIND_OF_PAGE, SMALLER, MASK = 254, 1, 4  # a tag of TIFF, and two of its bits
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
VIDEO_MARKS = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"OggS", b"0&\xb2u")  # matroska, MPEG, ogg, asf
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,asf"
STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # pictures in the container of a video


@dataclass(frozen=True)
class Frames:
    """How many frames of a film a row shows (`data.frames`), and which."""

    count: int
    rule: Rule = "evenly"


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
    try:
        numbers = frame_numbers(film_length(content), count, rule)
        pictures = {number: open_picture(picture, where) for number, picture in film_pictures(content, numbers)}
    except Refused as error:
        raise ImageError(f"{where}: {error}") from None
    return [pictures[number] for number in numbers]


def film_length(content: bytes) -> int:
    """How many frames a DICOM file, a TIFF or a video holds. Raises Refused for what is neither, or does not decode."""
    if dicom.is_dicom(content):
        return dicom.frame_count(content)
    return _readable(lambda: _of_tiff(content) if content[:4] in TIFF_MARKS else _count(_decoded(content)))


def film_pictures(
    content: bytes, numbers: Collection[int], window: tuple[float, float] | None = None
) -> Iterator[tuple[int, Any]]:
    """(number, picture) of frames counted from 0, each once and in rising order, one in memory at a time.

    A picture is what `open_picture` takes. Raises Refused and ImageError for what does not decode.
    """
    wanted = sorted(set(numbers))
    if dicom.is_dicom(content):
        yield from ((number, _dicom_frame(content, number, window)) for number in wanted)
        return
    pictures = _pages(content, wanted) if content[:4] in TIFF_MARKS else _of_video(content, wanted)
    while (found := _readable(lambda: next(pictures, None))) is not None:
        yield found


def is_film(picture: Film) -> bool:
    """Whether a file holds several pictures, no one of which is named: a video, DICOM of frames, a TIFF of pages."""
    if isinstance(picture, PictureFile):
        return picture.is_dicom and not picture.view.frame and dicom.frame_count(picture.content) > 1
    if picture[:4] in TIFF_MARKS:
        with suppress(Exception), PLAIN_PILLOW:  # a damaged one is no film, and named as any picture is
            return Image.open(io.BytesIO(picture), formats=("TIFF",)).is_animated
    return is_video(picture)


def is_video(picture: Film) -> bool:
    """Whether a file begins as videos do."""
    if isinstance(picture, PictureFile):
        return False
    start = bytes(picture[:377])
    if start[4:8] == b"ftyp":
        return start[8:12] not in STILL
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    packets = start[:1] == start[188:189] == start[376:377] == b"G"  # MPEG's transport stream
    return packets or start[4:8] in (b"moov", b"mdat") or start.startswith(VIDEO_MARKS)


def frames_of(film: Film, frames: Frames, folder: Path | None = None) -> dict[str, int]:
    """The frames, counted from 0, that a row shows of its film, by the id of each picture; how many a video has is kept
    in `folder`. Raises Refused where there are fewer."""
    content, window = _opened(film)
    length = _kept_length(content, folder) if folder and is_video(content) else film_length(content)
    if length < frames.count:
        raise Refused(f"the film has {how_many(length, 'frame')}, data.frames asks for {frames.count}")
    numbers = frame_numbers(length, frames.count, frames.rule)
    if dicom.is_dicom(content):  # as one that a column `frame` names
        return {picture_id(_dicom_frame(content, number, window)): number for number in numbers}
    digest = file_id(film)
    return {image_digest(f"{digest} ('frame', {number + 1})".encode()): number for number in numbers}


def shown_frames(film: Film, ids: Mapping[str, int]) -> Iterator[tuple[str, Any]]:
    """(id, picture) of these frames, one in memory at a time; a picture is what `open_picture` takes."""
    content, window = _opened(film)
    names = {number: image_id for image_id, number in ids.items()}
    yield from ((names[number], picture) for number, picture in film_pictures(content, names, window))


def _opened(film: Film) -> tuple[bytes, tuple[float, float] | None]:
    is_part = isinstance(film, PictureFile)
    return (film.content, film.view.window) if is_part else (bytes(film), None)


def _dicom_frame(content: bytes, number: int, window: tuple[float, float] | None) -> PictureFile:
    return PictureFile(content, View(frame=str(number + 1), window=window))


def _kept_length(content: bytes, folder: Path) -> int:
    """`film_length` of a video, counted once: a pass over all its frames. It is of the content, in whichever file."""
    place = folder / f"{hashlib.sha256(content).hexdigest()[:32]}.seen"
    with suppress(OSError, struct.error):
        length, check = LENGTH.unpack(place.read_bytes())
        if length and zlib.crc32(LENGTH.pack(length, 0)) == check:
            return length
    length = film_length(content)
    with suppress(OSError):  # a disk that is full or not to be written: it is counted anew
        if mark(folder):
            with replacing(place, durable=False) as beside:
                beside.write_bytes(LENGTH.pack(length, zlib.crc32(LENGTH.pack(length, 0))))
    return length


def _readable(work: Callable[[], Any]) -> Any:
    """`work()`; whatever decoders raise on hostile bytes means the same to the caller."""
    try:
        return work()
    except (ImageError, Refused):
        raise
    except Exception as error:
        problem = f"it does not decode ({' '.join(str(error).split()):.120})"
    raise Refused(problem)


def _of_tiff(content: bytes) -> int:
    with PLAIN_PILLOW:
        pages = Image.open(io.BytesIO(content), formats=("TIFF",))
        if not pages.is_animated:
            refuse_slices(pages.tag_v2, len(content))
        return len(_full_pages(pages))


def _pages(content: bytes, wanted: list[int]) -> Iterator[tuple[int, Image.Image | DeepFile]]:
    with PLAIN_PILLOW:
        full = _full_pages(Image.open(io.BytesIO(content), formats=("TIFF",)))
        extent = _extent(content, full)
    for number in wanted:
        with PLAIN_PILLOW:
            pages = Image.open(io.BytesIO(content), formats=("TIFF",))
            pages.seek(full[number])
            _check_size(*pages.size)
            deep = deep_page(content, pages.tag_v2)
            page = deep.of_film(extent) if deep else pages.copy()
        yield number, page


def _extent(content: bytes, full: list[int]) -> Extent:
    """Of all pages that are deeper than 8 bits, one in memory at a time."""
    pages, extent = Image.open(io.BytesIO(content), formats=("TIFF",)), Extent()
    for number in full:
        pages.seek(number)
        _check_size(*pages.size)
        if deep := deep_page(content, pages.tag_v2):
            with MEMORY.take(deep.memory + strip_memory(deep.size)):
                extent = extent.joined(deep.unpack()[0].extent())
    return extent


def _full_pages(pages: Image.Image) -> list[int]:
    """The numbers of the pages that are pictures of their own."""
    full = []
    for number in range(MOST_PAGES):
        try:
            pages.seek(number)
        except EOFError:
            return full
        if not pages.tag_v2.get(KIND_OF_PAGE, 0) & (SMALLER | MASK):
            full.append(number)
    raise Refused(f"it has more than {MOST_PAGES:,} pages")


def _of_video(content: bytes, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    left = set(wanted)
    for number, frame in enumerate(_decoded(content)):
        if number in left:
            left.remove(number)
            yield number, _as_shown(frame)
        if not left:
            return


def _as_shown(frame) -> np.ndarray:
    """`[height,width,3]` as a player shows it: what a telephone films upright is stored on its side, with a matrix that
    says how to turn or mirror it, as Exif does for a photograph."""
    picture = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    (a, b), (c, d) = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)[:2, :2]
    if a == d == 0:
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _count(frames_of_video: Iterator) -> int:
    length = sum(1 for _ in frames_of_video)
    if not length:
        raise Refused("it holds no frame")
    return length


def _decoded(content: bytes) -> Iterator:
    """The frames of the first video stream, as the decoder holds them."""
    try:
        import av
    except ModuleNotFoundError:
        raise Refused(
            "it is no DICOM file and no TIFF; av, which reads videos, is not installed: pip install 'blipvqa[video]'"
        ) from None
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
