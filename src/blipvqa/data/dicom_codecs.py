"""What pydicom unpacks only with further libraries: JPEG-LS, lossless JPEG and JPEG of 12 bits, as one more of its
plug-ins, through imagecodecs, which tiffslide brings along (the extra `medical`).

Notable:
- A packed frame says its own size, and may lie: it is compared with the file's before anything is unpacked.
- pydicom's usual plug-ins for these (pylibjpeg-libjpeg, gdcm) are under the GPL, or a second copy of what is here.
"""

from __future__ import annotations

import struct
import threading
from functools import cache
from typing import Any

from blipvqa.data.depth import Refused

UIDS = {  # as DICOM PS3.6 numbers them, and what unpacks them
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # JPEG Extended, of 8 and 12 bits
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # JPEG Lossless, selection value 1
    "1.2.840.10008.1.2.4.80": "jpegls_decode",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # JPEG-LS Near-Lossless
}
DECODER_DEPENDENCIES = {uid: ("imagecodecs",) for uid in UIDS}
FRAME_STARTS = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # markers that begin a frame's header
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers that no length follows
_adding = threading.Lock()


def add_codecs() -> None:
    """Make pydicom know them, once, whichever thread comes first."""
    with _adding:  # pydicom refuses a plug-in that it has: of threads that come at once all but one lost their picture
        _add()


@cache
def _add() -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    for uid in UIDS:
        get_decoder(UID(uid)).add_plugin("imagecodecs", (__name__, "decode_frame"))


def is_available(uid: str) -> bool:
    """Whether this plug-in can unpack what pydicom asks for."""
    try:
        import imagecodecs  # noqa: F401
    except ModuleNotFoundError:
        return False
    return uid in UIDS


def decode_frame(packed: bytes, runner: Any) -> bytearray:
    """A frame's values as pydicom wants them. Raises Refused for a frame of another size than the file's."""
    import imagecodecs

    bits, size = frame_header(packed)
    expected = (int(runner.rows), int(runner.columns), int(runner.samples_per_pixel))
    if size != expected:
        raise Refused("the packed frame has another size than the file")
    values = getattr(imagecodecs, UIDS[str(runner.transfer_syntax)])(packed)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 if bits <= 8 else 16)
    return bytearray(values.astype("<u1" if bits <= 8 else "<u2").tobytes())


def frame_header(packed: bytes) -> tuple[int, tuple[int, int, int]]:
    """Bits a value, and (rows, columns, samples) of a JPEG or JPEG-LS stream. Source: ITU-T T.81, B.1 and B.2.2."""
    place = 2
    while place + 10 <= len(packed) and packed[place] == 0xFF:
        marker = packed[place + 1]
        if marker == 0xFF or marker in ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", packed, place + 2)
        if marker in FRAME_STARTS:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", packed, place + 4)
            return bits, (rows, columns, samples)
        place += 2 + length
    raise Refused("the packed frame has no header")
