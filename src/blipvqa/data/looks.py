"""The pictures that rows show, each looked at once: what it is called, and whether it decodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blipvqa.data.image_files import PictureFolder
from blipvqa.data.images import ImageError, ImageStore
from blipvqa.data.medical_files import PictureFile, View, file_id, picture_id, picture_of

TOGETHER = 64  # pictures in memory at a time


class Looks:
    """Cells of column `image` to image ids, each picture looked at once, `TOGETHER` of them in memory."""

    def __init__(self, store: ImageStore, folder: PictureFolder, views: dict[int, View], files: dict[str, str]):
        self.store, self.folder, self.views, self.files = store, folder, views, files
        self.by_path: dict[tuple[str, View], str | ImageError] = {}
        self.by_id: dict[str, ImageError | None] = {}

    def at(self, cells: Iterable[tuple[int, int, Any]]) -> Iterator[tuple[int, int, str | ImageError]]:
        """(row, place, image id, or what is wrong) of each (row, place, cell), in about their order."""
        waiting: dict[tuple, tuple[Any, View, list[tuple[int, int]]]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for row, place, cell in cells:
                view = self.views.get(row, View())
                if isinstance(cell, str) and (cell, view) in self.by_path:
                    yield row, place, self.by_path[cell, view]
                    continue
                same = cell if isinstance(cell, str) else id(cell)  # a repeated value of a dictionary is one object
                waiting.setdefault((same, view), (cell, view, []))[2].append((row, place))
                if len(waiting) == TOGETHER:
                    yield from self._outcomes(threads, waiting)
                    waiting = {}
            yield from self._outcomes(threads, waiting)

    def _outcomes(self, threads: ThreadPoolExecutor, waiting: dict) -> Iterator[tuple[int, int, str | ImageError]]:
        outcomes = threads.map(lambda one: self._look(one[0], one[1]), waiting.values())
        for (cell, view, places), outcome in zip(waiting.values(), outcomes, strict=True):
            if isinstance(cell, str):
                self.by_path[cell, view] = outcome
            yield from ((row, place, outcome) for row, place in places)

    def _look(self, cell: Any, view: View) -> str | ImageError:
        try:
            picture = picture_of(cell, self.folder, view)
            image_id = picture_id(picture)
            if isinstance(picture, PictureFile):
                self.files[image_id] = file_id(picture)
        except (ValueError, OSError) as error:
            return ImageError(str(error))
        if image_id not in self.by_id:
            self.by_id[image_id] = self._decode(image_id, picture)
        return self.by_id[image_id] or image_id

    def _decode(self, image_id: str, picture: bytes | memoryview | PictureFile) -> ImageError | None:
        if not self.store.has(image_id):
            try:
                self.store.get(image_id, lambda: picture, "")
            except ImageError as error:
                return ImageError(str(error).removeprefix(": "))
        return None
