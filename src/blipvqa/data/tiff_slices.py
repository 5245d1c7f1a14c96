"""TIFF files that hold many slices under one header: decoders take the first one and say nothing of the others.

ImageJ and tifffile write stacks so (`truncate=True`): a description says how many slices follow one another without
compression; MetaMorph's stacks (STK) have a tag with a fraction for each. `volumetric=True` says it by the tag
ImageDepth. A description alone proves nothing: who saves one slice of a stack may keep it, so the file must have room
for all of them.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress

from PIL import TiffImagePlugin

from blipvqa.data.depth import Refused

DEPTH, DESCRIPTION, COMPRESSION, PLACES, BITS, SAMPLES = 32997, 270, 259, 273, 258, 277  # tags of TIFF
STK = 33629  # MetaMorph's UIC2Tag: as many values as planes
LONGEST = 10_000  # letters of a description that are read


def refuse_slices(tags: TiffImagePlugin.ImageFileDirectory_v2, length: int) -> None:
    """Raises Refused where these tags, the only ones of a file of `length` bytes, stand for more than one slice."""
    count = _depth(tags)
    if count < 2 and tags.get(COMPRESSION, 1) == 1 and PLACES in tags:
        row = -(-tags[256] * _bits(tags) // 8)
        described = _described(tags)
        if min(tags[PLACES]) + described * row * tags[257] <= length:
            count = described
    if count > 1:
        raise Refused(
            f"the TIFF holds {count:,} slices under one header, of which the first alone would be read: save each as "
            "a page (tifffile: without truncate or volumetric), or as a file"
        )


def _depth(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    depth = tags.get(DEPTH, 1)
    return depth if isinstance(depth, int) else max(depth, default=1)


def _bits(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    """Of a pixel."""
    bits, samples = tags.get(BITS, (1,)), tags.get(SAMPLES, 1)
    return sum(bits) if len(bits) == samples else bits[0] * samples


def _described(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    """How many slices the description, or MetaMorph's tag, tells of."""
    if isinstance(tags.get(STK), tuple):
        return len(tags[STK])
    text = str(tags.get(DESCRIPTION, ""))[:LONGEST]
    if text.startswith("ImageJ="):
        said = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE)
        return int(said[1]) if said else 1
    with suppress(ValueError, KeyError, TypeError, ArithmeticError, RecursionError):  # any text may stand there
        numbers = math.prod(json.loads(text)["shape"])
        return numbers // (tags[256] * tags[257] * tags.get(SAMPLES, 1))
    return 1
