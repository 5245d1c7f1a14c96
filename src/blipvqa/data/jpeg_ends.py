"""JPEG files that end before their picture does, and say that they end.

The decoder fills what is missing with grey and tells nobody, where the end marker stands: only a file without one is
an error to it. What it decoded is compared with what it makes of the same file with more bytes before the marker: they
are not looked at where the picture was complete, and become part of it where it was not.
"""

from __future__ import annotations

import io
import re

from PIL import Image, ImageChops

MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in packed data neither a byte 255 nor a restart is one
END = 0xD9
MORE = b"\x55\xaa\x33\xcc\x5a\x96" * 64
BLOCK = 8  # pixels a side that are packed together
FLAT = 2  # grey values: what is missing has one, and rounding


def ends_early(data: bytes, image: Image.Image) -> bool:
    """Whether the file `data`, decoded as `image`, stops before the last pixel."""
    progressive = bool(image.info.get("progressive"))  # its last pass adds little to what all blocks have by then
    if not progressive and not _ends_flat(image):
        return False
    end = _end_of(data)
    if end is None:
        return False
    parts = 2 if progressive else BLOCK  # an eighth of the size is what one number a block makes
    decoded = [_decoded(each, parts) for each in (data, data[:end] + MORE + data[end:])]
    return ImageChops.difference(*decoded).getbbox() is not None


def _ends_flat(image: Image.Image) -> bool:
    """Whether the last block is of one grey, as all that is missing is; a black border is too."""
    left, top = ((side - 1) // BLOCK * BLOCK for side in image.size)
    low, high = image.crop((left, top, *image.size)).convert("L").getextrema()
    return high - low <= FLAT


def _end_of(data: bytes) -> int | None:
    """Where the end marker of the first picture stands; None in a file without one."""
    place = 2
    while match := MARKER.search(data, place):
        kind, place = data[match.start() + 1], match.end()
        if kind == END:
            return match.start()
        if kind == 0xD8 or kind == 0x01:  # markers without a length
            continue
        place += int.from_bytes(data[place : place + 2], "big")
    return None


def _decoded(data: bytes, parts: int) -> Image.Image:
    """The picture at a part of its size."""
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.draft(None, (max(1, image.width // parts), max(1, image.height // parts)))
    image.load()
    return image
