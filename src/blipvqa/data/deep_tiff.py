"""TIFF files of more than 8 bits, signed or of fractions: their numbers, of which Pillow keeps the high byte, if any.

Notable:
- libtiff unpacks the file. The file is described anew to it, as grey of single bytes: the same strips or tiles with the
  same compression, whatever numbers they hold. What the bytes mean is read here.
- Pillow alone refuses many such files (grey with alpha, signed or fractional colours, 64 bits), and forgets that 0 is
  white in those it reads.
- A few strips are unpacked at a time, so a picture takes little more memory than its file.

Source: TIFF 6.0; its technical note 3 for the predictor of fractions.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from blipvqa.data.depth import DeepFile, DeepPicture, Refused, rows_of
from blipvqa.data.tiff_slices import refuse_slices

COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}  # PhotometricInterpretation: WhiteIsZero, BlackIsZero, RGB, CMYK
KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # SampleFormat; 4 is "undefined"
PREDICTED = (5, 8, 32946, 34925, 50000)  # compressions with a predictor: LZW, deflate (two numbers), LZMA, Zstandard
PACKED = (1, 32773, *PREDICTED)  # compressions that return any bytes: none, PackBits, …
BAND = 32_000_000  # bytes that are unpacked at once, of one plane
PAGES = "the file holds several pictures (pages): give one, or a film (data.frames), which stands alone in its row"
LARGEST_BAND = 160_000_000  # bytes of one strip or row of tiles: Pillow opens no larger picture


def deep_tiff(data: bytes) -> DeepFile | None:
    """The file as a deep picture; None for another format, and for unsigned pixels of 8 bits or less.

    Raises Refused for several pages, for slices under one header and for kinds of deep pixels that are not read.
    """
    if not data.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return None
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
    stream = io.BytesIO(data)
    stream.seek(tags.next)
    tags.load(stream)
    if not tags.next:
        refuse_slices(tags, len(data))
    deep = deep_page(data, tags)
    if deep and tags.next:
        raise Refused(PAGES)
    return deep


def deep_page(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2) -> DeepFile | None:
    """The page of the file that has these tags as a deep picture; None for unsigned pixels of 8 bits or less.

    Raises Refused for kinds of deep pixels that are not read.
    """
    layout = _Layout.of(tags, data[:2] == b"MM")
    if layout is None:
        return None
    memory = len(data) + layout.planes * (layout.band_rows * (layout.row_bytes + 8) + layout.piece_bytes)
    return DeepFile((layout.width, layout.height), memory, lambda: (layout.unpack(data), tags.get(274, 1)))


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
            raise Refused(
                f"its pixels are of a kind that is not read (bits {bits}, format {form}, colours {photometric})"
            )
        if compression not in PACKED:
            raise Refused(f"its deep pixels are compressed in a way that is not read ({compression})")
        kind, colours = KINDS[form[0]], COLOURS[photometric]
        if samples < colours or samples > 16:
            raise Refused(f"its samples do not fit its colours ({samples} a pixel, expected {colours} or a few more)")
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
            raise Refused(f"its pixels are of a kind that is not read ({self.kind}{self.bits})")
        if self.predictor not in (1, 2, 3) or (self.predictor > 1 and not whole):
            raise Refused(f"its predictor is not read ({self.predictor}, for {self.bits} bits)")
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
        return self.pieces * self.bytes_of_piece

    @property
    def bytes_of_piece(self) -> int:
        return -(-self.piece * (self.samples // self.planes) * self.bits // 8)

    @property
    def piece_bytes(self) -> int:
        """Bytes of one strip or tile."""
        rows = self.tile[1] if self.tile else self.rows_per_strip
        return self.bytes_of_piece * rows

    @property
    def rows_per_strip(self) -> int:
        """A file that is one strip without compression may be cut anywhere."""
        rows = self.tags.get(278, self.height)
        rows = min(rows, self.height) if isinstance(rows, int) and rows > 0 else self.height
        if rows == self.height and self.tags.get(259, 1) == 1:
            return min(rows, max(1, BAND // self.row_bytes))
        return rows

    @property
    def band_rows(self) -> int:
        """Rows that are unpacked at once: whole strips or tiles."""
        rows = self.tile[1] if self.tile else self.rows_per_strip
        return min(rows * max(1, BAND // (self.row_bytes * rows)), -(-self.height // rows) * rows)

    def unpack(self, data: bytes) -> DeepPicture:
        full = 1.0 if self.kind == "f" else 2 ** (self.bits - (self.kind == "i")) - 1
        read = _Bands(self, data).read
        return DeepPicture((self.width, self.height), read, self.colours, self.alpha, full, self.white_is_zero)

    def numbers(self, rows: np.ndarray) -> np.ndarray:
        """Numbers [rows, width, samples of a plane] from bytes [rows, row_bytes]."""
        samples = self.samples // self.planes
        pieces = rows.reshape(len(rows), self.pieces, self.bytes_of_piece)
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


class _Bands:
    """The rows of a TIFF, unpacked a band at a time; the last band is kept."""

    def __init__(self, layout: _Layout, data: bytes):
        self.layout, self.data = layout, data
        self.place: int | None = None
        self.planes: list[Image.Image] = []

    def read(self, top: int, bottom: int) -> np.ndarray:
        parts = []
        while top < bottom:
            start = top - top % self.layout.band_rows
            if start != self.place:
                self.planes = []  # before the next band is unpacked: memory holds one
                self.planes = [self._unpacked(plane, start) for plane in range(self.layout.planes)]
                self.place = start
            stop = min(bottom, start + self.layout.band_rows)
            planes = [self.layout.numbers(rows_of(plane, top - start, stop - start)) for plane in self.planes]
            parts.append(planes[0] if len(planes) == 1 else np.concatenate(planes, -1))
            top = stop
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _unpacked(self, plane: int, start: int) -> Image.Image:
        """One plane's bytes from row `start` on, as a grey image of `row_bytes` by at most `band_rows`."""
        layout = self.layout
        rows = layout.tile[1] if layout.tile else layout.rows_per_strip
        height = min(layout.band_rows, layout.height - start)
        if height * layout.row_bytes > LARGEST_BAND:
            raise ValueError(
                f"one strip is too large ({height * layout.row_bytes:,} bytes): save it with smaller strips or tiles"
            )
        all_pieces = layout.pieces * -(-layout.height // rows)
        places, sizes = self._table(all_pieces * layout.planes)
        first = plane * all_pieces + layout.pieces * (start // rows)
        last = first + layout.pieces * -(-height // rows)
        places, sizes = places[first:last], sizes[first:last]
        begin, end = min(places), max(places) + max(*sizes, layout.piece_bytes)  # not the file: it may be a long film
        tags = {
            256: [layout.row_bytes],
            257: [height],
            258: [8],
            259: [layout.tags.get(259, 1)],
            262: [1],
            266: [layout.tags.get(266, 1)],
            277: [1],
            324 if layout.tile else 273: [8 + place - begin for place in places],
            325 if layout.tile else 279: sizes,
        }
        tags |= {322: [layout.bytes_of_piece], 323: [rows]} if layout.tile else {278: [rows]}
        image = TiffImagePlugin.TiffImageFile(
            io.BytesIO(_described_anew(memoryview(self.data)[begin:end], tags, layout.order))
        )
        image.load()
        return image

    def _table(self, count: int) -> tuple[list[int], list[int]]:
        """Where every strip or tile begins, and its bytes."""
        layout = self.layout
        places, sizes = (list(layout.tags.get(tag, ())) for tag in ((324, 325) if layout.tile else (273, 279)))
        if len(places) == layout.planes < count and not layout.tile:  # whole planes, cut anew by `rows_per_strip`
            step = layout.rows_per_strip * layout.row_bytes
            ends = [layout.height * layout.row_bytes] * layout.planes
            places, sizes = (
                [place + cut for place, end in zip(places, ends, strict=True) for cut in range(0, end, step)],
                [min(step, end - cut) for end in ends for cut in range(0, end, step)],
            )
        if len(places) < count or len(sizes) < count:
            raise ValueError("its table of strips or tiles is too short")
        if max(map(sum, zip(places, sizes, strict=False))) > len(self.data):  # else the table put there would be pixels
            raise ValueError("image file is truncated")
        return places, sizes


def _described_anew(data: memoryview, tags: dict[int, list[int]], order: str) -> bytes:
    """A TIFF of these bytes behind its head, and this table of tags at its end."""
    start = 8 + len(data) + len(data) % 2
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
    return b"".join([head, data, b"\0" * (len(data) % 2), table, values])
