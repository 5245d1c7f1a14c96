"""DICOM files to pixels, through pydicom (the extra `medical`): rescale, window, inverse grey, palette, YBR, frames.

Notable:
- Nothing of the headers leaves this file: no value of a tag stands in a row, an error, a log or the store.
- Grey values become grey levels by `data.window`, else by the file's own window, else from the lowest to the highest:
  of all frames, where there are several, so that brightness that changes with time stays. They are read once for that.
- The size and the number of frames are known from the header, before any pixel is unpacked.

Source of the window's formulas: DICOM PS3.3, C.11.2.1.2.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from blipvqa.data.depth import Refused
from blipvqa.data.dicom_codecs import add_codecs

OLD_STARTS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x01\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\x16\0")
VIDEO = tuple(f"1.2.840.10008.1.2.4.10{digit}" for digit in range(10))  # transfer syntaxes, as PS3.6 numbers them
DEFLATED = b"1.2.840.10008.1.2.1.99"
LARGEST_DEFLATED = 1_000_000  # bytes of a file whose whole content is packed: it may ask for a thousandfold
MISSING = "it is a DICOM file, and pydicom, which reads it, is not installed: pip install 'blipvqa[medical]'"
BYTES_A_VALUE = 8 + 8 + 8 + 4  # as stored, rescaled, windowed, as 8 bits
RANGES: dict[str, tuple[float, float]] = {}  # of the values of films without a window, by their digest


def is_dicom(content: bytes | memoryview) -> bool:
    """Whether a file's bytes begin as DICOM's do, with or without the preamble."""
    start = bytes(content[:132])
    return start[128:132] == b"DICM" or start.startswith(OLD_STARTS)


def part_of(content: bytes, frame: int | None, window: tuple[float, float] | None) -> tuple:
    """The frame, where there are several, and the window, where grey values have one. Raises Refused."""
    header = _header(content)
    count, grey = _frames(header), _is_grey(header)
    if count > 1 and frame is None:
        raise Refused(
            f"the DICOM file holds {count:,} frames: give one, by a column frame (from 1), or set data.frames"
        )
    if frame is not None and not 1 <= frame <= count:
        raise Refused(f"column frame: there is no frame {frame:,}, the DICOM file holds 1 to {count:,}")
    return (("frame", frame) if count > 1 else ()) + (("window", *map(float, window)) if window and grey else ())


def frame_count(content: bytes) -> int:
    """How many frames a DICOM file holds. Raises Refused."""
    return _frames(_header(content))


def is_stretched(content: bytes, window: tuple[float, float] | None) -> bool:
    """Whether its grey levels follow from its own values alone: no window says which become black and white."""
    header = _header(content)
    voi = _of_frame(header, 0, "FrameVOILUTSequence")
    told = window or (_first(voi.get("WindowCenter")) is not None and (_first(voi.get("WindowWidth")) or 0) > 0)
    return _is_grey(header) and int(header.BitsStored) > 8 and not told


def dicom_picture(
    content: bytes, frame: int | None, window: tuple[float, float] | None
) -> tuple[tuple[int, int], int, Callable[[], np.ndarray]]:
    """(width, height), the bytes that unpacking takes, and what unpacks: `[H,W]` or `[H,W,3]`. Raises Refused."""
    part_of(content, frame, window)
    header = _header(content)
    size = int(header.Columns), int(header.Rows)
    values = size[0] * size[1] * int(header.get("SamplesPerPixel", 1))
    memory = values * BYTES_A_VALUE * min(2, _frames(header)) + len(content)  # a frame, and one of all for their range
    return size, memory, lambda: _attempt(_pixels, content, (frame or 1) - 1, window)


def _attempt(work: Callable, *arguments: Any) -> Any:
    """`work(*arguments)`; its errors without pydicom's words, which may quote the header."""
    try:
        return work(*arguments)
    except (Refused, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
    raise Refused(
        f"the DICOM file does not decode ({kind}): it is damaged, or packed in a way that pydicom cannot read"
    )


def _header(content: bytes) -> Any:
    header = _attempt(_read, content, True)
    if _attempt(lambda: int(header.Rows) * int(header.Columns)) < 1:
        raise Refused("the DICOM file holds no picture")
    _attempt(_refuse_video, header)
    return header


def _refuse_video(file: Any) -> None:
    """Raises Refused for a film that is packed as one stream, which pydicom hands on as it is."""
    if str(file.file_meta.get("TransferSyntaxUID", "")).startswith(VIDEO):
        raise Refused(
            "the DICOM file holds a video (MPEG-2, H.264 or H.265), which is not read out of it: save it as .mp4, or "
            "its frames as pictures"
        )


def _read(content: bytes, header_only: bool) -> Any:
    try:
        from pydicom import dcmread
    except ModuleNotFoundError:
        raise Refused(MISSING) from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values of the header
    if DEFLATED in content[:2000] and len(content) > LARGEST_DEFLATED:
        raise Refused("the DICOM file is deflated as a whole: save it in another transfer syntax")
    file = dcmread(io.BytesIO(content), stop_before_pixels=header_only, force=True)
    if "Rows" not in file or "Columns" not in file:
        raise Refused("the DICOM file holds no picture")
    return file


def _frames(header: Any) -> int:
    return _attempt(lambda: int(header.get("NumberOfFrames") or 1))


def _is_grey(header: Any) -> bool:
    return str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME")


def _pixels(content: bytes, index: int, window: tuple[float, float] | None) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    file = _read(content, False)
    add_codecs()
    if "TransferSyntaxUID" not in file.file_meta:
        implicit = file.original_encoding[0]
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    values = pixel_array(file, index=index)  # YBR is RGB then
    if file.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, file)
        return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
    return _grey(content, file, values, index, window) if _is_grey(file) else values


def _grey(content: bytes, file: Any, values: np.ndarray, index: int, window: tuple[float, float] | None) -> np.ndarray:
    levels, are_grey = _levels(file, values, index, window)
    if not are_grey:
        film = _frames(file) > 1
        levels = _stretched(levels, *(_film_range(content, file) if film else _range(file, values, levels)))
    return 255 - levels if file.PhotometricInterpretation == "MONOCHROME1" else levels


def _levels(file: Any, values: np.ndarray, index: int, window: tuple[float, float] | None) -> tuple[np.ndarray, bool]:
    """Stored values rescaled, and through the window where there is one; whether that made 8-bit grey of them."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    if "ModalityLUTSequence" in file:
        values = apply_modality_lut(values, file)
    else:
        rescale = _of_frame(file, index, "PixelValueTransformationSequence")
        slope, intercept = float(rescale.get("RescaleSlope", 1) or 1), float(rescale.get("RescaleIntercept", 0) or 0)
        if (slope, intercept) != (1, 0):
            values = values * slope + intercept
    voi = _of_frame(file, index, "FrameVOILUTSequence")
    centre, width = (_first(voi.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if window is None and "VOILUTSequence" in file:
        return apply_voi(np.rint(values).astype(np.int64), file), False
    if window is None and centre is not None and width is not None and width > 0:
        return windowed(values, centre, width, str(voi.get("VOILUTFunction") or "LINEAR")), True
    if window is not None:
        return windowed(values, *window), True
    return values, values.dtype == np.uint8 and int(file.BitsStored) == 8


def windowed(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """uint8: `values` through a window. Source: DICOM PS3.3, C.11.2.1.2.1 and C.11.2.1.3."""
    values = values.astype(np.float64)
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    elif function == "LINEAR_EXACT":
        share = (values - centre) / width + 0.5
    else:
        share = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


def _film_range(content: bytes, file: Any) -> tuple[float, float]:
    """`_range` over all frames, one in memory at a time; kept, since each frame that is shown asks for it."""
    from pydicom.pixels import iter_pixels

    digest = hashlib.sha256(content).hexdigest()
    if digest not in RANGES:
        ranges = [(np.inf, -np.inf)]
        for index, values in enumerate(iter_pixels(file)):
            levels, are_grey = _levels(file, values, index, None)
            if not are_grey:
                ranges.append(_range(file, values, levels))
        lows, highs = zip(*ranges, strict=True)
        RANGES[digest] = min(lows), max(highs)
    return RANGES[digest]


def _range(file: Any, values: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
    """The lowest and highest of the levels that stored values became: what fills the corners of a scan does not
    count."""
    filling = file.get("PixelPaddingValue")
    real = levels if filling is None else levels[values != int(filling)]
    return (float(real.min()), float(real.max())) if real.size else (np.inf, -np.inf)


def _stretched(levels: np.ndarray, low: float, high: float) -> np.ndarray:
    """uint8, from the lowest to the highest; 0 where nothing counts."""
    if low > high:
        return np.zeros(levels.shape, np.uint8)
    return np.rint(((levels.astype(np.float64) - low) / ((high - low) or 1)).clip(0, 1) * 255).astype(np.uint8)


def _of_frame(file: Any, index: int, name: str) -> Any:
    """The sequence's item that counts for a frame: its own, that of all frames, or else the file itself."""
    for groups, position in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        items = file.get(groups) or []
        if position < len(items) and items[position].get(name):
            return items[position].get(name)[0]
    return file


def _first(value: Any) -> float | None:
    """A tag's number, the first where there are several."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) or not hasattr(value, "__len__") else value[0])
