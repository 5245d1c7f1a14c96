"""PNG and TIFF files whose pixels are more than 8 bits deep: their numbers, of which Pillow keeps the high byte.

Notable:
- Pillow's own decoders unpack the files; only how their bytes are read as numbers is ours. A PNG is decoded once for
  the high bytes and once for the low ones. A TIFF is described anew, as grey of single bytes: the same strips or tiles
  with the same compression, so libtiff unpacks them whatever numbers they hold.
- Pillow alone refuses many deep TIFF files (grey with alpha, signed or fractional colours, 64 bits), and forgets that
  0 is white in those it reads.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from blipvqa.data.depth import DeepPicture

PNG_COLOURS = {2: (3, ""), 4: (1, "straight"), 6: (3, "straight")}  # colour type of a PNG: colours, alpha
COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # PhotometricInterpretation of a TIFF: WhiteIsZero, BlackIsZero, RGB, CMYK
KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat of a TIFF; 4 is "undefined"
PREDICTED = (5, 8, 32946, 34925, 50000)  # compressions with a predictor: LZW, deflate (two numbers), LZMA, Zstandard
PACKED = (1, 32773, *PREDICTED)  # compressions that return any bytes: none, PackBits, …


@dataclass
class DeepFile:
    """A deep picture in a file, from its header; `unpack` returns its numbers."""

    size: tuple[int, int]
    memory: int  # bytes that `unpack` and its picture hold
    unpack: Callable[[], tuple[DeepPicture, int]]  # and its orientation as in EXIF: a PNG may have it at the end


def deep_png(data: bytes) -> DeepFile | None:
    """The file as a deep picture; None for another format, 8 bits, and 16-bit grey, which Pillow reads whole."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 26:
        return None
    width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
    if bits != 16 or kind not in PNG_COLOURS:
        return None
    colours, alpha = PNG_COLOURS[kind]

    def unpack() -> tuple[DeepPicture, int]:
        if kind == 4:  # grey and alpha are four bytes a pixel, as RGBA is
            four = _png_bytes(data, "RGBA")
            read = _pairs(lambda top, bottom: _rows(four, top, bottom).reshape(bottom - top, width, 2, 2))
            return DeepPicture(four.size, read, colours, alpha), four.getexif().get(274, 1)
        mode = "RGB" if kind == 2 else "RGBA"
        high, low = _png_bytes(data, f"{mode};16B"), _png_bytes(data, f"{mode};16L")
        read = _pairs(lambda top, bottom: np.stack([_rows(high, top, bottom), _rows(low, top, bottom)], -1))
        clear = high.info.get("transparency") if kind == 2 else None
        return DeepPicture(high.size, read, colours, alpha, clear=clear), high.getexif().get(274, 1)

    return DeepFile((width, height), width * height * (4 if kind == 4 else 8) + 16 * height, unpack)


def _png_bytes(data: bytes, layout: str) -> Image.Image:
    """One byte of each number, by the layout in which Pillow is told to find them."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    image.tile = [tile._replace(args=layout) for tile in image.tile]
    image.load()
    return image


def _rows(image: Image.Image, top: int, bottom: int) -> np.ndarray:
    """uint8 [rows, width, bands], or [rows, width] of a grey image."""
    return np.asarray(image.crop((0, top, image.width, bottom)))


def _pairs(read: Callable[[int, int], np.ndarray]) -> Callable[[int, int], np.ndarray]:
    """Numbers of 16 bits from `[…, 2]` bytes, the high one first."""
    return lambda top, bottom: np.ascontiguousarray(read(top, bottom)).view(">u2")[..., 0]


# ------------------------------------------------------------------------------------------------ TIFF


def deep_tiff(data: bytes) -> DeepFile | None:
    """The file as a deep picture; None for another format, and for unsigned pixels of 8 bits or less.

    Raises ValueError for several pages and for kinds of deep pixels that are not read.
    """
    if not data.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return None
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    layout = _Layout.of(tags, data[:2] == b"MM")
    if layout is None:
        return None
    if tags.next:
        raise ValueError("the file holds several pictures (many pages); give one")
    return DeepFile(
        (layout.width, layout.height),
        layout.height * (layout.row_bytes * layout.planes + 8) + layout.piece_bytes + len(data),
        lambda: (layout.unpack(data), tags.get(274, 1)),
    )


@dataclass
class _Layout:
    """How the numbers of a TIFF stand in its strips or tiles."""

    width: int
    height: int
    bits: int
    kind: str  # u, i or f
    order: str  # ">" or "<"
    samples: int  # of a pixel
    planes: int  # 1, or as many as samples where each stands by itself
    tile: tuple[int, int] | None
    predictor: int
    colours: int
    alpha: str
    white_is_zero: bool
    tags: TiffImagePlugin.ImageFileDirectory_v2

    @classmethod
    def of(cls, tags: TiffImagePlugin.ImageFileDirectory_v2, big_endian: bool) -> _Layout | None:
        def number(tag: int, default: int | None = None) -> int:
            value = tags.get(tag, default)
            value = value[0] if isinstance(value, tuple) and value else value
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"its tag {TiffTags.lookup(tag).name} is {value!r:.40}, expected a number")
            return value

        samples, bits, form = number(277, 1), tags.get(258, (1,)), tags.get(339, (1,))
        if set(bits) <= set(range(1, 9)) and set(form) <= {1, 4}:
            return None
        photometric = number(262, 2 if samples >= 3 else 1)
        compression = number(259, 1)
        if len(set(bits)) > 1 or len(set(form)) > 1 or form[0] not in KINDS or photometric not in COLOURS:
            raise ValueError(f"its pixels are of a kind that is not read ({bits} bits, format {form}, {photometric})")
        if compression not in PACKED:
            raise ValueError(f"its deep pixels are compressed in a way that is not read ({compression})")
        kind, colours = KINDS[form[0]], COLOURS[photometric]
        if samples < colours or samples > 16:
            raise ValueError(f"it has {samples} samples a pixel, expected {colours} or a few more")
        extra = tags.get(338, (2,))[0] if samples > colours else 0
        tile = (number(322), number(323)) if 324 in tags else None
        layout = cls(
            number(256),
            number(257),
            bits[0],
            kind,
            ">" if big_endian else "<",
            samples,
            samples if number(284, 1) == 2 and samples > 1 else 1,
            tile,
            number(317, 1) if compression in PREDICTED else 1,
            colours,
            {1: "premultiplied", 2: "straight"}.get(extra, ""),
            photometric == 0,
            tags,
        )
        layout._check()
        return layout

    def _check(self) -> None:
        sizes = {"u": range(8, 65), "i": (8, 16, 32, 64), "f": (16, 32, 64)}[self.kind]
        whole = self.bits in (8, 16, 32, 64)
        if self.bits not in sizes or (self.bits > 32 and not whole):
            raise ValueError(f"its pixels of {self.bits} bits ({self.kind}) are not read")
        if self.predictor not in (1, 2, 3) or (self.predictor > 1 and not whole):
            raise ValueError(f"its predictor {self.predictor} is not read for {self.bits} bits")
        if not self.width or not self.height or (self.tile and not all(self.tile)):
            raise ValueError("it has no pixels")

    @property
    def piece(self) -> int:
        """Pixels in a row of a strip or tile."""
        return self.tile[0] if self.tile else self.width

    @property
    def pieces(self) -> int:
        return -(-self.width // self.piece)

    @property
    def row_bytes(self) -> int:
        """Bytes in a row of one plane, tiles whole."""
        return self.pieces * self._bytes_of_piece

    @property
    def _bytes_of_piece(self) -> int:
        return -(-self.piece * (self.samples // self.planes) * self.bits // 8)

    @property
    def piece_bytes(self) -> int:
        """Bytes of one strip or tile."""
        rows = self.tile[1] if self.tile else min(self.height, self._rows_per_strip())
        return self._bytes_of_piece * rows

    def _rows_per_strip(self) -> int:
        rows = self.tags.get(278, self.height)
        return min(rows, self.height) if isinstance(rows, int) and rows > 0 else self.height

    def unpack(self, data: bytes) -> DeepPicture:
        planes = [self._plane(data, number) for number in range(self.planes)]

        def read(top: int, bottom: int) -> np.ndarray:
            parts = [self._numbers(_rows(plane, top, bottom)) for plane in planes]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, -1)

        full = 1.0 if self.kind == "f" else 2 ** (self.bits - (self.kind == "i")) - 1
        size = (self.width, self.height)
        return DeepPicture(size, read, self.colours, self.alpha, full, self.white_is_zero)

    def _plane(self, data: bytes, number: int) -> Image.Image:
        """One plane's bytes, unpacked, as a grey image of `row_bytes` by `height`."""
        where, sizes = (324, 325) if self.tile else (273, 279)
        rows = self.tile[1] if self.tile else self._rows_per_strip()
        count = self.pieces * -(-self.height // rows)
        start = number * count
        tags = {
            256: [self.row_bytes],
            257: [self.height],
            258: [8],
            259: [self.tags.get(259, 1)],
            262: [1],
            266: [self.tags.get(266, 1)],
            277: [1],
            where: list(self.tags.get(where, ()))[start : start + count],
            sizes: list(self.tags.get(sizes, ()))[start : start + count],
        }
        tags |= {322: [self._bytes_of_piece], 323: [rows]} if self.tile else {278: [rows]}
        if len(tags[where]) < count or len(tags[sizes]) < count:
            raise ValueError("its table of strips or tiles is too short")
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(_described_anew(data, tags, self.order)))
        image.load()
        return image

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        """Numbers [rows, width, samples of a plane] from bytes [rows, row_bytes]."""
        samples = self.samples // self.planes
        pieces = rows.reshape(len(rows), self.pieces, self._bytes_of_piece)
        values = self._of_bytes(pieces, samples).reshape(len(rows), self.pieces, self.piece, samples)
        if self.predictor == 2:  # each number minus its left neighbour, whatever it stands for
            values = np.add.accumulate(values, 2, dtype=values.dtype).view(f"{self.kind}{self.bits // 8}")
        return values.reshape(len(rows), -1, samples)[:, : self.width]

    def _of_bytes(self, pieces: np.ndarray, samples: int) -> np.ndarray:
        pieces = np.ascontiguousarray(pieces)
        size = self.bits // 8
        if self.predictor == 3:  # Adobe's for fractions: bytes by weight, the highest first, each minus its neighbour
            pieces = pieces.reshape(*pieces.shape[:2], -1, samples)
            pieces = np.add.accumulate(pieces, 2, dtype=np.uint8)
            planes = pieces.reshape(*pieces.shape[:2], size, -1)
            return (
                np.ascontiguousarray(planes.swapaxes(2, 3))
                .view(f">{self.kind}{size}")[..., 0]
                .astype(f"{self.kind}{size}")
            )
        if self.bits in (8, 16, 32, 64):
            kind = "u" if self.predictor == 2 else self.kind
            return pieces.view(f"{self.order}{kind}{size}").astype(f"{kind}{size}")
        bits = np.unpackbits(pieces, axis=-1)[..., : self.piece * samples * self.bits]
        bits = bits.reshape(*pieces.shape[:2], -1, self.bits)
        values = np.zeros(bits.shape[:-1], np.uint32)
        for place in range(self.bits):
            values = values << 1 | bits[..., place]
        return values


def _described_anew(data: bytes, tags: dict[int, list[int]], order: str) -> bytes:
    """The TIFF with another table of tags, at its end."""
    start = len(data) + len(data) % 2
    place = start + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        numbers = tags[tag]
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        short = len(numbers) == 1
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers))
        entries += packed if short else struct.pack(f"{order}I", place + len(values))
        values += b"" if short else packed
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", start)
    table = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return head + data[8:] + b"\0" * (len(data) % 2) + table + values
