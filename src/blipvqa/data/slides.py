"""Whole slides (tiled TIFF of several levels, Aperio's svs) by thumbnail or region, through tiffslide (the extra
`medical`): only the tiles that are asked for are unpacked."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from blipvqa.data.decoding_memory import PLAIN_PILLOW
from blipvqa.data.depth import Refused

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif")
THUMBNAIL = 2048  # pixels of its longer side
LARGEST = 100_000_000  # pixels of a region, or of the level that a thumbnail is made of
MISSING = "it is a whole slide, and tiffslide, which reads it, is not installed: pip install 'blipvqa[medical]'"
TILED, BITS, DESCRIPTION, SUB_PICTURES = 322, 258, 270, 330  # tags of TIFF


def is_slide(content: bytes | memoryview | Path) -> bool:
    """Whether a file is a tiled TIFF of 8 bits with several pictures in it, or calls itself Aperio's."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            start = file.read(4)
    else:
        start = bytes(content[:4])
    if start not in MAGIC:
        return False
    try:
        file = content if isinstance(content, Path) else io.BytesIO(content)
        with PLAIN_PILLOW, Image.open(file, formats=("TIFF",)) as image:
            tags = image.tag_v2
            if TILED not in tags or set(tags.get(BITS, (8,))) != {8}:
                return False
            if SUB_PICTURES in tags or str(tags.get(DESCRIPTION, "")).startswith("Aperio"):
                return True
            image.seek(1)
            return True
    except Exception:  # Pillow raises many kinds, and whoever decodes the picture says which
        return False


def part_of(content: bytes | Path, cells: list[int | None]) -> tuple:
    """The region: x, y, width, height, level; empty for the thumbnail. Raises Refused."""
    if not any(cell is not None for cell in cells[:4]):
        return ()
    if any(cell is None for cell in cells[:4]):
        raise Refused("a region of a slide needs x, y, width and height, and one of them is empty")
    x, y, width, height, level = *cells[:4], cells[4] or 0
    with _opened(content) as slide:
        if not 0 <= level < slide.level_count:
            raise Refused(f"column level: there is no level {level}, the slide has 0 to {slide.level_count - 1}")
        scale, (whole_width, whole_height) = slide.level_downsamples[level], slide.dimensions
    inside = x >= 0 <= y and x + width * scale < whole_width + scale and y + height * scale < whole_height + scale
    if width < 1 or height < 1 or not inside:
        raise Refused(
            f"the region x={x}, y={y}, width={width}, height={height} of level {level} leads out of the slide, which "
            f"has {whole_width} x {whole_height} pixels at level 0"
        )
    if width * height > LARGEST:
        raise Refused(f"the region is too large ({width} x {height} pixels, at most {LARGEST:,} are read)")
    return ("region", x, y, width, height, level)


def slide_picture(
    content: bytes | Path, cells: list[int | None]
) -> tuple[tuple[int, int], int, Callable[[], Image.Image]]:
    """(width, height), the bytes that unpacking takes, and what unpacks the region, or the thumbnail, as RGB."""
    part = part_of(content, cells)
    if part:
        _, x, y, width, height, level = part
        return (width, height), 12 * width * height, lambda: _unpacked(content, (x, y), level, (width, height), None)
    with _opened(content) as slide:
        whole_width, whole_height = slide.dimensions
        shrink = max(1.0, max(whole_width, whole_height) / THUMBNAIL)
        level = slide.get_best_level_for_downsample(shrink)
        width, height = slide.level_dimensions[level]
    if width * height > LARGEST:
        raise Refused(
            f"the slide has no level small enough for a thumbnail ({width} x {height} pixels): name regions by columns "
            "x, y, width, height, level"
        )
    size = max(1, round(whole_width / shrink)), max(1, round(whole_height / shrink))
    return size, 12 * width * height, lambda: _unpacked(content, (0, 0), level, (width, height), size)


def _opened(content: bytes | Path) -> Any:
    try:
        from tiffslide import TiffSlide
    except ModuleNotFoundError:
        raise Refused(MISSING) from None
    try:
        return TiffSlide(content if isinstance(content, Path) else io.BytesIO(content))
    except Exception as error:  # tiffslide, tifffile and zarr raise many kinds
        kind = type(error).__name__
    raise Refused(f"the slide does not open ({kind})")


def _unpacked(
    content: bytes | Path, corner: tuple[int, int], level: int, size: tuple[int, int], scaled: tuple[int, int] | None
) -> Image.Image:
    with _opened(content) as slide:
        try:
            region = slide.read_region(corner, level, size).convert("RGB")
        except Exception as error:  # as above
            raise Refused(f"the slide does not decode ({type(error).__name__})") from None
    return region if scaled is None else region.resize(scaled, Image.Resampling.LANCZOS)
