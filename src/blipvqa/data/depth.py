"""Pictures of more than 8 bits, signed or of fractions: one rule that makes 8-bit RGB of their values.

The range of values that becomes 0 to 255 follows from the values alone, not from the type that holds them:

whole numbers, none below 0   0 to 2^bits - 1, with the fewest bits, at least 8, that hold the brightest (12-bit scans
                              in 16-bit files are common); what holds values of 8 bits stays as it is
a value below 0               the lowest to the highest
fractions                     0 to 1 if none is above 1, else as whole numbers; where the brightest is below a sixteenth
                              of that, which would be black, the lowest to the highest

All colours of a picture share one range, so hues stay. Pixels that are wholly transparent do not count. Pixels that are
no numbers (NaN, infinity) are refused. Frames of a film share one range, that of the values of all: what grows brighter
from frame to frame is seen to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

STRIP = 1_000_000  # pixels that are turned into RGB at once: temporary copies stay small beside the picture


class Refused(ValueError):
    """A picture that is understood and not taken; the message says why, and what to do."""


@dataclass(frozen=True)
class Extent:
    """The values that colours have, of one picture or of all frames of a film."""

    lowest: float = np.inf
    highest: float = -np.inf
    whole: bool = True  # all are whole numbers
    integers: bool = True  # and of a type that holds no others

    def joined(self, other: Extent) -> Extent:
        """The extent of both."""
        lowest, highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        return Extent(lowest, highest, self.whole and other.whole, self.integers and other.integers)

    def range(self) -> tuple[float, float, bool]:
        """The values that become 0 and 255, and whether all are taken for whole numbers."""
        if self.lowest > self.highest:
            return 0, 255, False  # every pixel is transparent
        whole = self.whole and (self.integers or self.highest > 1)
        return *value_range(self.lowest, self.highest, whole), whole


@dataclass
class DeepPicture:
    """Numbers that are not 8-bit colours yet, read in strips."""

    size: tuple[int, int]  # width, height
    read: Callable[[int, int], np.ndarray]  # rows from the first number up to the second: [rows, width, samples]
    colours: int  # samples of colour: 1 grey, 3 RGB, 4 CMYK; one more may be alpha, the others are not looked at
    alpha: str = ""  # "straight", or "premultiplied" where colours were multiplied by it; "" without alpha
    full: float = 65535  # the alpha that is opaque
    white_is_zero: bool = False  # the file says that 0 is white
    clear: tuple[int, ...] | None = None  # the colour that the file calls transparent
    film: Extent | None = None  # of all frames of the film that this is a frame of

    def strips(self) -> Iterator[Image.Image]:
        """The picture as RGB, alpha over white, from top to bottom.

        Raises Refused for pixels that are no numbers.
        """
        low, high, whole = (self.film or self.extent()).range()
        for top, bottom in spans(self.size):
            values = self.read(top, bottom)
            colours = _scaled(values[..., : self.colours], low, high, whole)
            if self.white_is_zero:
                colours = 255 - colours
            yield _over_white(colours, self._alpha(values), self.alpha == "premultiplied")

    def extent(self) -> Extent:
        """What its colours hold, where they are not transparent. Raises Refused for pixels that are no numbers."""
        lowest, highest, whole, integers = np.inf, -np.inf, True, True
        for top, bottom in spans(self.size):
            values = self.read(top, bottom)
            colours, alpha = values[..., : self.colours], self._alpha(values)
            if colours.dtype.kind == "f":
                if not np.isfinite(values[..., : self.colours + bool(self.alpha)]).all():
                    raise Refused("it holds pixels that are no numbers (NaN or infinity)")
                whole, integers = whole and bool((colours == np.floor(colours)).all()), False
            elif colours.dtype.kind not in "iu":
                raise Refused(f"its pixels are of type {colours.dtype}, expected numbers")
            if alpha is not None:
                colours = colours[alpha > 0]
            if colours.size:
                lowest, highest = min(lowest, colours.min().item()), max(highest, colours.max().item())
        return Extent(lowest, highest, whole, integers)

    def _alpha(self, values: np.ndarray) -> np.ndarray | None:
        """uint8 [rows, width], or None where nothing is transparent."""
        if self.alpha:
            share = values[..., self.colours].astype(np.float64).clip(0, self.full) / self.full
            return np.rint(np.nan_to_num(share) * 255).astype(np.uint8)
        if self.clear is not None:
            return np.where((values[..., : self.colours] == self.clear).all(-1), 0, 255).astype(np.uint8)
        return None


@dataclass
class DeepFile:
    """A deep picture in a file, from its header."""

    size: tuple[int, int]
    memory: int  # bytes that `unpack` and its picture hold
    unpack: Callable[[], tuple[DeepPicture, int]]  # and its orientation as in EXIF: a PNG may have it at the end

    def of_film(self, extent: Extent) -> DeepFile:
        """The same picture as a frame of a film, all frames of which have this extent."""

        def unpack() -> tuple[DeepPicture, int]:
            picture, orientation = self.unpack()
            return replace(picture, film=extent), orientation

        return replace(self, unpack=unpack)


def value_range(lowest: float, highest: float, whole: bool) -> tuple[float, float]:
    """The values that become 0 and 255; `whole`: whether all are whole numbers."""
    if lowest < 0:
        return lowest, highest
    white = 1 if not whole and highest <= 1 else 2 ** max(8, math.ceil(highest).bit_length()) - 1
    return (lowest, highest) if not whole and highest < white / 16 else (0, white)


def strip_memory(size: tuple[int, int]) -> int:
    """Bytes that turning a strip into RGB takes: RGBA as numbers of 64 bits, three times."""
    return 3 * 4 * 8 * max(size[0], min(STRIP, size[0] * size[1]))


def spans(size: tuple[int, int], pixels: int = STRIP) -> Iterator[tuple[int, int]]:
    """Rows (from, up to) of strips of about so many pixels that cover a picture of this width and height."""
    rows = max(1, pixels // max(1, size[0]))
    return ((top, min(top + rows, size[1])) for top in range(0, size[1], rows))


def rows_of(image: Image.Image, top: int, bottom: int) -> np.ndarray:
    """Pixels [rows, width, bands], or [rows, width] of a grey image."""
    return np.asarray(image.crop((0, top, image.width, bottom)))


def _scaled(values: np.ndarray, low: float, high: float, whole: bool) -> np.ndarray:
    """uint8. Whole numbers from 0 are scaled exactly and cut, as 16-bit grey always was; the rest is rounded."""
    if low == 0 and whole and high < 2**53:
        return (values.astype(np.int64).clip(0, int(high)) * 255 // int(high)).astype(np.uint8)
    share = (values.astype(np.float64) - low) / ((high - low) or 1)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


def _over_white(colours: np.ndarray, alpha: np.ndarray | None, premultiplied: bool) -> Image.Image:
    """RGB of uint8 `colours [rows, width, 1, 3 or 4]` and `alpha [rows, width]`."""
    if colours.shape[-1] == 4:
        colours = np.asarray(Image.fromarray(colours, "CMYK").convert("RGB"))
    elif colours.shape[-1] == 1:
        colours = colours.repeat(3, -1)
    if alpha is None:
        return Image.fromarray(np.ascontiguousarray(colours))
    if premultiplied:
        return Image.fromarray((colours.astype(np.uint16) + (255 - alpha[..., None])).clip(0, 255).astype(np.uint8))
    image = Image.fromarray(np.concatenate([colours, alpha[..., None]], -1))
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
