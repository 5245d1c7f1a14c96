"""What decoding pictures may hold in memory, over all threads together.

A picture takes its bytes from `MEMORY` before it is unpacked and waits until they are there, so many threads decode
small pictures side by side and large ones in turn. One that alone needs more than there is, is refused.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile

from blipvqa.data.depth import Refused

BICUBIC_SUPPORT = 2.0  # of Pillow's filter, in pixels of the smaller picture
TABLE_BYTES = 8  # of a weight in Pillow's table
MOST_PIXELS = 89_478_485  # Pillow's own limit, of which it refuses the double


class MemoryBudget:
    """So many bytes, shared by the threads of this process."""

    def __init__(self, total: int):
        self.total, self.taken, self.most = total, 0, 0
        self._changed = threading.Condition()

    def check(self, amount: int) -> None:
        """Raises Refused for more bytes than there are."""
        if amount > self.total:
            raise Refused(
                f"the image is too large (decoding takes {amount / 1e9:,.1f} GB of memory, at most "
                f"{self.total / 1e9:.1f} GB are used): scale it down, or cut it into tiles"
            )

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Within, `amount` bytes are this thread's; waits for them. Raises Refused for more than there are."""
        self.check(amount)
        with self._changed:
            self._changed.wait_for(lambda: self.taken + amount <= self.total)
            self.taken += amount
            self.most = max(self.most, self.taken)
        try:
            yield
        finally:
            with self._changed:
                self.taken -= amount
                self._changed.notify_all()


MEMORY = MemoryBudget(2 * 2**30)


def image_memory(mode: str, width: int, height: int) -> int:
    """Bytes of a Pillow image: rows of whole words, and a pointer to each."""
    pixel = 1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4
    return height * (-(-width * pixel // 4) * 4 + 8)


def resize_memory(width: int, height: int, size: int) -> int:
    """Bytes that Pillow takes to make a picture `size` wide and high: tables of weights, and the picture of which one
    side is resized, by its version the width or the height."""
    tables = sum(
        size * (2 * int(BICUBIC_SUPPORT * max(1.0, side / size)) + 3) * TABLE_BYTES for side in (width, height)
    )
    half = max(image_memory("RGB", size, height), image_memory("RGB", width, size))
    return tables + half + image_memory("RGB", size, size)


class _PlainPillow:
    """Within, Pillow decodes as it does by default, and its warnings are not shown: of malformed metadata, which is
    dropped anyway, and of sizes, which are checked here.

    A notebook that sets `LOAD_TRUNCATED_IMAGES` would get half pictures without a word, and keep them in the store.
    Both settings and `warnings.catch_warnings` are of the whole process, so threads enter once and leave together.
    """

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self):
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"(PIL|pydicom|tifffile|tiffslide)(\.|$)")
                self._settings = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = False, MOST_PIXELS
            self._inside += 1

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            if not self._inside:
                ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = self._settings
                self._caught.__exit__(None, None, None)


PLAIN_PILLOW = _PlainPillow()
