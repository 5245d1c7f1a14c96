"""Progress bars that move wherever they are read: in a shell, a notebook, papermill's log, and a saved notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm

SECONDS = 2.0  # between two looks of a bar in a notebook, each of which is a line of papermill's log


def progress_bar(iterable: Iterable | None = None, **options) -> tqdm:
    """tqdm's bar as text, with tqdm's own `options`.

    As text because a widget stands still at 0 % in papermill's log and in a notebook that was saved, and because there
    is no widget where ipywidgets is missing. On stdout in a notebook, where stderr is red.
    """
    if "ipykernel" in sys.modules:
        options = {"file": sys.stdout, "mininterval": SECONDS, **options}
    return tqdm(iterable, **options)
