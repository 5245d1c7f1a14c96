"""PNG files of 16 bits a colour: their numbers, of which Pillow keeps the high byte.

Pillow's decoder unpacks the file, once for the high bytes and once for the low ones: only the layout in which it looks
for a pixel's bytes is ours.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin

from blipvqa.data.depth import DeepFile, DeepPicture, rows_of

COLOURS = {2: (3, ""), 4: (1, "straight"), 6: (3, "straight")}  # colour type: colours, alpha


def deep_png(data: bytes) -> DeepFile | None:
    """The file as a deep picture; None for another format, 8 bits, and 16-bit grey, which Pillow reads whole."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 26:
        return None
    width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
    if bits != 16 or kind not in COLOURS:
        return None
    colours, alpha = COLOURS[kind]

    def unpack() -> tuple[DeepPicture, int]:
        if kind == 4:  # grey and alpha are four bytes a pixel, as RGBA is
            image = _bytes_of(data, "RGBA")
            read = _pairs(lambda top, bottom: rows_of(image, top, bottom).reshape(bottom - top, width, 2, 2))
        else:
            mode = "RGB" if kind == 2 else "RGBA"
            image, low = _bytes_of(data, f"{mode};16B"), _bytes_of(data, f"{mode};16L")
            read = _pairs(lambda top, bottom: np.stack([rows_of(each, top, bottom) for each in (image, low)], -1))
        clear = image.info.get("transparency") if kind == 2 else None
        return DeepPicture(image.size, read, colours, alpha, clear=clear), image.getexif().get(274, 1)

    return DeepFile((width, height), width * height * (4 if kind == 4 else 8) + 16 * height, unpack)


def _bytes_of(data: bytes, layout: str) -> Image.Image:
    """One byte of each number, or all, by the layout in which Pillow is told to find them."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    image.tile = [tile._replace(args=layout) for tile in image.tile]
    image.load()
    return image


def _pairs(read: Callable[[int, int], np.ndarray]) -> Callable[[int, int], np.ndarray]:
    """Numbers of 16 bits from `[…, 2]` bytes, the high one first."""
    return lambda top, bottom: np.ascontiguousarray(read(top, bottom)).view(">u2")[..., 0]
