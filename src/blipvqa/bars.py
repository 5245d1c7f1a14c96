"""Progress bars that move wherever they are read: in a shell, a notebook, papermill's log, and a saved notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm

SECONDS = 2.0, 60.0  # between two looks of a bar in a notebook, each of which is a line there and in papermill's log
PART = 4  # one look after every further quarter of the time that it took so far


def progress_bar(iterable: Iterable | None = None, **options) -> tqdm:
    """tqdm's bar as text, with tqdm's own `options`.

    As text because a widget stands still at 0 % in papermill's log and in a notebook that was saved, and because there
    is no widget where ipywidgets is missing. On stdout in a notebook, where stderr is red.
    """
    if "ipykernel" in sys.modules:
        return NotebookBar(iterable, **{"file": sys.stdout, **options})
    return tqdm(iterable, **options)


class NotebookBar(tqdm):
    """A bar that shows itself ever more rarely: without a browser every look stays as a line of the notebook."""

    shown = float("-inf")  # the moment of the last look

    def display(self, msg: str | None = None, pos: int | None = None):
        """As tqdm's, but for a look that comes too early; the first and the last, which has a `pos`, always come."""
        now, (least, most) = self._time(), SECONDS
        if pos is None and now - self.shown < min(max((now - getattr(self, "start_t", now)) / PART, least), most):
            return False
        self.shown = now
        return super().display(msg, pos)
