"""The pictures that rows show, each looked at once: what it is called, and whether it decodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from blipvqa.config.kinds import Needs
from blipvqa.data import dicom
from blipvqa.data.deep_tiff import deep_tiff
from blipvqa.data.frames import Frames, frames_of, is_film, is_video, shown_frames
from blipvqa.data.image_files import PictureFolder
from blipvqa.data.images import ImageError, ImageStore
from blipvqa.data.medical_files import PictureFile, View, file_id, picture_id, picture_of
from blipvqa.data.several_pictures import cells_of, wrong_number
from blipvqa.data.split_names import SourceError

TOGETHER = 64  # pictures in memory at a time
VIDEO = "it is a video: set data.frames, how many of its frames a row shows"
LISTED = "it is a video: a film stands alone in its row, whose pictures are its frames then"
FILMS = "films are shown by data.frames, whatever column frame says: it names those of DICOM files"
STRETCHED = (
    "rows show several pictures deeper than 8 bits and without a window: each becomes grey levels by its own values, "
    "so that a row's pictures do not tell what grows brighter. Set data.window (DICOM), or save a row's pictures as "
    "one file (frames of DICOM, pages of a TIFF) and set data.frames"
)
# a cell, what of it is shown, how many frames where it is a film, and whether others stand beside it
Asked = tuple[Any, View, Frames | None, bool]
Outcome = list[str] | ImageError  # the ids of a cell's pictures, one where it is no film, or what is wrong


class Looks:
    """Cells of column `image` to image ids, each picture looked at once, `TOGETHER` of them in memory."""

    def __init__(
        self,
        store: ImageStore,
        folder: PictureFolder,
        views: dict[int, View],
        files: dict[str, str],
        needs: Needs,
        frames: Frames | None = None,
    ):
        self.store, self.folder, self.views, self.files = store, folder, views, files
        self.needs, self.frames = needs, frames
        self.by_path: dict[Asked, Outcome] = {}
        self.films: set[View] = set()  # what rows say of films that a column `frame` does not name a frame of
        self.stretched = False  # whether a picture beside others has grey levels by its own values
        self.by_id: dict[str, ImageError | None] = {}

    def notes(self, split: str) -> list[str]:
        """What a person should know of the pictures that were looked at."""
        of_films = [f"{split}: {FILMS}"] if any(view.frame for view in self.films) else []
        return of_films + ([f"{split}: {STRETCHED}"] if self.stretched else [])

    def at(self, rows: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, int, str | ImageError | SourceError]]:
        """(row, place, image id, or what is wrong) of each picture of rows and their cells, in about their order."""
        waiting: dict[tuple, tuple[Asked, list[tuple[int, int]]]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for row, cell in rows:
                cells, view = cells_of(cell), self.views.get(row, View())
                frames = self.frames if len(cells) == 1 else None
                if not frames and (problem := wrong_number(len(cells), self.needs)):
                    yield row, 0, SourceError(f"column image: {problem}")
                    continue
                for place, one in enumerate(cells):
                    asked = one, view, frames, len(cells) > 1
                    if isinstance(one, str) and asked in self.by_path:
                        yield from self._of_row(row, place, self.by_path[asked], frames)
                        continue
                    same = one if isinstance(one, str) else id(one)  # a repeated value of a dictionary is one object
                    waiting.setdefault((same, *asked[1:]), (asked, []))[1].append((row, place))
                    if len(waiting) == TOGETHER:
                        yield from self._outcomes(threads, waiting)
                        waiting = {}
            yield from self._outcomes(threads, waiting)

    def _outcomes(self, threads: ThreadPoolExecutor, waiting: dict) -> Iterator[tuple]:
        outcomes = threads.map(lambda one: self._look(*one[0]), waiting.values())
        for (asked, places), outcome in zip(waiting.values(), outcomes, strict=True):
            if isinstance(asked[0], str):
                self.by_path[asked] = outcome
            for row, place in places:
                yield from self._of_row(row, place, outcome, asked[2])

    def _of_row(self, row: int, place: int, outcome: Outcome, frames: Frames | None) -> Iterator[tuple]:
        if isinstance(outcome, ImageError):
            yield row, place, outcome
        elif frames and (problem := wrong_number(len(outcome), self.needs)):
            yield row, place, SourceError(f"column image: {problem}")
        else:
            yield from ((row, place + k, image_id) for k, image_id in enumerate(outcome))

    def _look(self, cell: Any, view: View, frames: Frames | None, beside_others: bool) -> Outcome:
        try:
            picture = picture_of(cell, self.folder, view)
            if frames and is_film(picture):
                self.films.add(view)
                return self._look_at_film(picture, frames)
            if is_video(picture):
                return ImageError(LISTED if self.frames else VIDEO)
            image_id = picture_id(picture)
            if isinstance(picture, PictureFile):
                self.files[image_id] = file_id(picture)
        except (ValueError, OSError) as error:
            return ImageError(str(error))
        if image_id not in self.by_id:
            self.by_id[image_id] = self._decode(image_id, picture)
        if beside_others and not self.by_id[image_id]:
            self.stretched = self.stretched or _is_stretched(picture)
        return self.by_id[image_id] or [image_id]

    def _decode(self, image_id: str, picture: bytes | memoryview | PictureFile) -> ImageError | None:
        if not self.store.has(image_id):
            try:
                self.store.get(image_id, lambda: picture, "")
            except ImageError as error:
                return ImageError(str(error).removeprefix(": "))
        return None

    def _look_at_film(self, film: bytes | memoryview | PictureFile, frames: Frames) -> Outcome:
        ids = frames_of(film, frames, self.store.seen)
        self.files |= dict.fromkeys(ids, file_id(film))
        missing = {image_id: number for image_id, number in ids.items() if not self.store.has(image_id)}
        for image_id, picture in shown_frames(film, missing) if missing else ():
            if problem := self._decode(image_id, picture):
                return problem
        return list(ids)


def _is_stretched(picture: bytes | memoryview | PictureFile) -> bool:
    """Whether a file that decodes has grey levels or colours by its own values alone: it is deep, without a window."""
    if isinstance(picture, PictureFile):
        return picture.is_dicom and dicom.is_stretched(picture.content, picture.view.window)
    if picture[:4] == b"\x89PNG":
        return picture[24] == 16  # bits of a colour
    return deep_tiff(bytes(picture)) is not None
