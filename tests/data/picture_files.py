"""Deep PNG and TIFF files written by hand, number by number: what Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(values, extra=b"", after=b"", row_filter=2) -> bytes:
    """A 16-bit PNG of `values` [H, W] or [H, W, 2 to 4]; every row is stored as the difference from the one above."""
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    height, width, samples = values.shape
    rows = np.frombuffer(values.astype(">u2").tobytes(), np.uint8).reshape(height, -1)
    if row_filter == 2:
        rows = rows - np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    data = b"".join(bytes([row_filter]) + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)
    picture = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data)) + after
    return b"\x89PNG\r\n\x1a\n" + picture + chunk(b"IEND", b"")


def tiff(
    values,
    order="<",
    photometric=None,
    extra=None,
    planar=False,
    tile=None,
    rows=None,
    predictor=1,
    compression=None,
    **tags,
) -> bytes:
    """A TIFF of `values` [H, W] or [H, W, S], whose type says how the numbers are stored.

    `extra` is ExtraSamples; `planar`: each sample by itself; `tile` (width, height) or `rows` of a strip; `compression`
    None, "deflate", or one of Pillow's names; `tags`: t274=6 and the like.
    """
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    height, width, samples = values.shape
    kind, size = values.dtype.kind, values.dtype.itemsize
    values = np.ascontiguousarray(values).astype(f"{order}{kind}{size}")
    pieces = []
    for plane in np.moveaxis(values, -1, 0)[..., None] if planar else [values]:
        wide, high = tile or (width, rows or height)
        for top in range(0, height, high):
            for left in range(0, width, wide):
                piece = plane[top : top + high, left : left + wide]
                if tile:
                    missing = (high - piece.shape[0], wide - piece.shape[1])
                    piece = np.pad(piece, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
                pieces.append(_packed(piece, predictor, compression))
    entries = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8 * size] * samples),
        259: ("H", [{None: 1, "deflate": 8, "tiff_lzw": 5, "packbits": 32773}[compression]]),
        262: ("H", [photometric if photometric is not None else 2 if samples > 2 else 1]),
        277: ("H", [samples]),
        284: ("H", [2 if planar else 1]),
        317: ("H", [predictor]),
        339: ("H", [{"u": 1, "i": 2, "f": 3}[kind]] * samples),
    }
    if extra is not None:
        entries[338] = ("H", [extra])
    entries |= {322: ("I", [tile[0]]), 323: ("I", [tile[1]])} if tile else {278: ("I", [rows or height])}
    entries |= {int(tag[1:]): ("H", [value]) for tag, value in tags.items()}
    offsets = np.cumsum([8, *map(len, pieces)]).tolist()
    entries |= {324 if tile else 273: ("I", offsets[:-1]), 325 if tile else 279: ("I", [len(p) for p in pieces])}
    start = offsets[-1]
    table, data = struct.pack(f"{order}H", len(entries)), b""
    place = start + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        form, numbers = entries[tag]
        packed = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[form], len(numbers))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", place + len(data))
            data += packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    return head + b"".join(pieces) + table + struct.pack(f"{order}I", 0) + data


def _packed(piece, predictor, compression) -> bytes:
    if predictor == 2:
        numbers = piece.view(piece.dtype.str.replace("f", "u").replace("i", "u"))
        piece = np.concatenate([numbers[:, :1], numbers[:, 1:] - numbers[:, :-1]], 1).astype(numbers.dtype)
    if predictor == 3:
        rows, _, samples = piece.shape
        size = piece.dtype.itemsize
        weights = np.ascontiguousarray(piece.astype(f">f{size}")).view(np.uint8).reshape(rows, -1, size).swapaxes(1, 2)
        weights = weights.reshape(rows, -1)
        piece = weights.copy()
        piece[:, samples:] -= weights[:, :-samples]
    data = np.ascontiguousarray(piece).tobytes()
    if compression is None:
        return data
    if compression == "deflate":
        return zlib.compress(data)
    grey = np.frombuffer(data, np.uint8).reshape(piece.shape[0], -1)
    file = encoded(Image.fromarray(grey), "TIFF", compression=compression, tiffinfo={278: len(grey)})
    image = Image.open(io.BytesIO(file))
    (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    return file[start : start + length]
