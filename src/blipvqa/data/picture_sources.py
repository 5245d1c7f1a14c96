"""Whatever holds a picture (a file's bytes, an array, a Pillow picture) as one thing: its size, and RGB in strips.

Notable:
- Only the decoders of FORMATS are reached, by their names; Pillow's list has more, and some start other programs.
- The size and the memory that decoding takes are known from the header, before anything is unpacked.
- 8-bit pictures are Pillow's own pixels; deeper ones go through `deep_png.py`, `deep_tiff.py` and `depth.py`.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFile

from blipvqa.data.decoding_memory import MEMORY, image_memory
from blipvqa.data.deep_png import deep_png
from blipvqa.data.deep_tiff import PAGES, deep_tiff
from blipvqa.data.depth import DeepFile, DeepPicture, Refused, rows_of, spans, strip_memory
from blipvqa.data.dicom import dicom_picture, is_dicom
from blipvqa.data.jpeg_ends import ends_early
from blipvqa.data.medical_files import REGION, PictureFile, whole_number
from blipvqa.data.slides import is_slide, slide_picture

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")  # decoders a stranger's file may reach
LARGEST = 100_000_000  # pixels: 400 MB as Pillow holds RGB
STRIP = 4_000_000  # pixels that are turned into RGB at once
STRIP_BYTES = 16  # that a pixel takes meanwhile: as it was, as RGBA, over white, as RGB
ANIMATION = (
    "the file holds several pictures (an animation): give one, or list its frames as files; for data.frames save it as "
    "a video or as pages of a TIFF"
)
TURNS = {  # EXIF orientation: what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass
class Source:
    """A picture before it is unpacked."""

    size: tuple[int, int]  # width, height as stored, before it is turned upright
    memory: int  # bytes that unpacking holds
    copies: int  # of the picture as RGB beside it until it is resized: joined from strips, turned upright
    unpack: Callable[[], tuple[int, Iterable[Image.Image]]]  # EXIF orientation; RGB strips from top to bottom

    def whole(self) -> Image.Image:
        """The picture as RGB, upright, a new one: no EXIF, text chunks or colour profile come along."""
        orientation, strips = self.unpack()
        return _turned(self._joined(strips), orientation)

    def resized(self, size: int) -> Image.Image:
        """`whole()` resized to `size` by `size`, bicubic; without a copy of what is RGB already."""
        orientation, strips = self.unpack()
        strips = iter(strips)
        first = next(strips)
        image = first if first.size == self.size else self._joined(itertools.chain([first], strips))
        return _turned(image, orientation).resize((size, size), Image.Resampling.BICUBIC)

    def _joined(self, strips: Iterable[Image.Image]) -> Image.Image:
        image, top = Image.new("RGB", self.size), 0
        for strip in strips:
            image.paste(strip, (0, top))
            top += strip.height
        return image


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def picture_source(picture) -> Source:
    """The source of a file's bytes, a Pillow picture or an array. Raises Refused, and whatever Pillow raises."""
    if isinstance(picture, Image.Image):
        return _of_opened(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        data = bytes(picture)
        medical = is_dicom(data) or is_slide(data)
        return _of_part(PictureFile(data)) if medical else _of_bytes(data)
    if isinstance(picture, PictureFile):
        return _of_part(picture)
    if isinstance(picture, DeepFile):
        _check_size(*picture.size)
        return _of_deep_file(picture)
    if hasattr(picture, "__array__"):
        return _of_array(np.asarray(picture))
    raise Refused(f"it is a {type(picture).__name__}, expected a path, a file's bytes, a Pillow picture or an array")


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise Refused(
            f"the image is too large ({width} x {height} pixels, at most {LARGEST:,} are read): scale it down, or cut "
            "it into tiles"
        )
    if not width or not height:
        raise Refused("the image has no pixels")


# ------------------------------------------------------------------------------------------------ files


def _of_bytes(data: bytes) -> Source:
    if not data:
        raise Refused("the image file is empty")
    if webp := _webp_size(data):
        _check_size(*webp)  # its decoder takes the memory of the whole canvas when the file is opened
    deep = deep_png(data) or deep_tiff(data)
    if deep:
        _check_size(*deep.size)
        if data[:4] == b"\x89PNG":
            _check_frames(Image.open(io.BytesIO(data), formats=("PNG",)))
        return _of_deep_file(deep)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_size(*image.size)
    _check_frames(image)
    return _of_pillow(image, _decoder_memory(image))


def _check_frames(image: Image.Image) -> None:
    if image.format != "MPO" and getattr(image, "is_animated", False):  # MPO: a camera's JPEG, and its preview
        raise Refused(PAGES if image.format == "TIFF" else ANIMATION)  # counting them may take minutes


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """From the header alone. Source: RFC 9649, sections 2.5 to 2.7."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF


def _decoder_memory(image: Image.Image) -> int:
    """Bytes of the decoded picture and of what its decoder holds beside it."""
    width, height = image.size
    memory = image_memory(image.mode, width, height)
    if image.format == "WEBP":
        return memory + 3 * 4 * width * height  # two canvases, and a frame's bytes
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):
        halves = 3 * image_memory(image.mode, width // 2 + 1, height // 2 + 1)  # to see whether it is whole
        return memory + halves + 2 * len(image.getbands()) * width * height  # all coefficients, before the first pixel
    if image.format == "TIFF":
        tags = image.tag_v2
        rows = tags.get(323) or min(tags.get(278) or height, height)
        return memory + (tags.get(322) or width) * rows * (tags.get(277) or 1)
    return memory + 2 * width * height if image.format in ("GIF", "BMP") else memory


def _of_deep_file(file: DeepFile) -> Source:
    def unpack() -> tuple[int, Iterable[Image.Image]]:
        picture, orientation = file.unpack()
        return orientation, picture.strips()

    return Source(file.size, file.memory + strip_memory(file.size), 2, unpack)


def _of_part(file: PictureFile) -> Source:
    """A frame of a DICOM file, or a region or the thumbnail of a slide."""
    view = file.view
    if file.is_dicom:
        size, memory, unpack = dicom_picture(file.content, whole_number(view.frame, "frame"), view.window)
    else:
        cells = [whole_number(cell, name) for cell, name in zip(view.region, REGION, strict=True)]
        size, memory, unpack = slide_picture(file.content, cells)
    _check_size(*size)

    def unpacked() -> tuple[int, Iterable[Image.Image]]:
        picture = unpack()
        made = picture_source(picture)
        if made.size != size:
            raise Refused("its pixels are not as many as its header says")
        return made.unpack()

    return Source(size, memory, 2, unpacked)


# ------------------------------------------------------------------------------------------------ Pillow, arrays


def _of_opened(image: Image.Image) -> Source:
    """A picture that a person opened or made. What was opened and not read yet is read as the loader reads its file."""
    _check_size(*image.size)
    from_file = isinstance(image, ImageFile.ImageFile)
    unread = from_file and (bool(image.tile) or getattr(image, "_im", None) is None)
    if unread and image.format not in (*FORMATS, "MPO"):
        raise Refused(f"it is a {image.format} file, expected one of {', '.join(FORMATS)}")
    if from_file and image.format in ("PNG", "TIFF") and not getattr(image, "is_animated", False):
        deep = _deep_unread(image) if unread else _deep_behind(image)
        if deep:
            return _of_deep_file(deep)
    return _of_pillow(image, _decoder_memory(image) if unread else 0)


def _deep_unread(image: ImageFile.ImageFile) -> DeepFile | None:
    data = _unread(image)
    return deep_png(data) or deep_tiff(data)


def _unread(image: ImageFile.ImageFile) -> bytes:
    """The file of a picture that was opened and not read yet."""
    place = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(place)
    return data


def _deep_behind(image: ImageFile.ImageFile) -> DeepFile | None:
    """The deep file that the picture was read from, if it is there and the picture was not changed since."""
    file = Path(getattr(image, "filename", "") or "")
    if not file.is_file():
        return None
    data = file.read_bytes()
    deep = deep_png(data) or deep_tiff(data)
    if deep is None:
        return None
    with MEMORY.take(3 * image_memory("RGB", *image.size)):
        plain = Image.open(io.BytesIO(data), formats=(image.format,))
        same = (plain.mode, plain.size) == (image.mode, image.size) and plain.tobytes() == image.tobytes()
    return deep if same else None


def _of_pillow(image: Image.Image, memory: int) -> Source:
    def unpack() -> tuple[int, Iterable[Image.Image]]:
        jpeg = _unread(image) if image.format in ("JPEG", "MPO") and getattr(image, "tile", None) else None
        image.load()
        if jpeg and ends_early(jpeg, image):
            raise Refused("the file ends before its picture does: what is missing would be grey")
        orientation = image.getexif().get(274, 1)  # after loading: a PNG may have it behind its pixels
        return orientation, _deep_grey(image).strips() if deep else _rgb_strips(image)

    size, deep = image.size, image.mode.startswith("I") or image.mode == "F"
    memory += strip_memory(size) if deep else STRIP_BYTES * min(STRIP, size[0] * size[1])
    turns = image.format == "PNG" or image.getexif().get(274, 1) in TURNS
    return Source(size, memory, turns + (image.mode != "RGB" or image.has_transparency_data), unpack)


def _deep_grey(image: Image.Image) -> DeepPicture:
    key = image.info.get("transparency")
    clear = (key,) if isinstance(key, int) else None
    return DeepPicture(image.size, lambda top, bottom: rows_of(image, top, bottom)[..., None], 1, clear=clear)


def _rgb_strips(image: Image.Image) -> Iterable[Image.Image]:
    plain_ink = image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info
    if image.mode == "RGB" and not image.has_transparency_data:
        yield image
        return
    for top, bottom in spans(image.size, STRIP):
        strip = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        if plain_ink:  # only Adobe's marker says that 255 is no ink; Pillow takes every CMYK JPEG so
            strip = ImageChops.invert(strip)
        yield _rgb(strip)


def _rgb(strip: Image.Image) -> Image.Image:
    if strip.mode == "La":
        strip = strip.convert("LA")
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
    return strip if strip.mode == "RGB" else strip.convert("RGB")


def _of_array(values: np.ndarray) -> Source:
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not 1 <= values.shape[-1] <= 4 or values.dtype.kind not in "buif":
        raise Refused(
            f"the array is {values.dtype} {list(values.shape)}, expected numbers of shape [H, W] or [H, W, 1 to 4]"
        )
    height, width, samples = values.shape
    _check_size(width, height)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype == np.uint8:
        mode = ("L", "LA", "RGB", "RGBA")[samples - 1]
        pixels = np.ascontiguousarray(values[..., 0] if samples == 1 else values)
        return _of_pillow(Image.fromarray(pixels, mode), image_memory(mode, width, height))
    full = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = "straight" if samples in (2, 4) else ""
    deep = DeepPicture((width, height), lambda top, bottom: values[top:bottom], 3 if samples > 2 else 1, alpha, full)
    return Source((width, height), strip_memory((width, height)), 1, lambda: (1, deep.strips()))
