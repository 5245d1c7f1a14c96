"""`VQADataset`: one split's rows and pictures, and `load_splits`, which makes them from a config.

Notable:
- A row never travels with its own copy of an image: items of one image share one tensor.
- Pixels stay uint8 until they are on the device.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.checking import notes_of, read_splits
from blipvqa.data.frames import frames_of, is_film, shown_frames
from blipvqa.data.held_out import held_out_names, left_out_line, rows_apart
from blipvqa.data.history import TURN_END, history_of
from blipvqa.data.images import ImageError, ImageStore, open_picture
from blipvqa.data.medical_files import View, picture_id, picture_of
from blipvqa.data.one_colour import one_colour_notes
from blipvqa.data.row_table import chosen_rows, column_of, with_column
from blipvqa.data.rows import CheckedSplit
from blipvqa.data.several_pictures import cells_of, list_id, pictures_of, sheet
from blipvqa.data.spellings import spelling_notes
from blipvqa.data.split_names import SourceError

IDS = ("image_id", "image_ids")  # what a row says of which pictures it shows


class Splits(dict):
    """`{"train": VQADataset, …}`, with `notes`: what a person should know of how they were made."""

    def __init__(self, datasets: dict, notes: list[str]):
        super().__init__(datasets)
        self.notes = notes


class Texts:
    """The texts of rows, made as often as they are gone through: a million are not kept beside the rows."""

    def __init__(self, rows: Sequence[dict], columns: Sequence[str]):
        self.rows, self.columns = rows, columns

    def __iter__(self) -> Iterator[str]:
        for row in self.rows:
            yield from (row[column] for column in self.columns)
            yield from row.get("answers") or ()
            yield from (f"{turn['question']} {turn['answer']}{TURN_END}" for turn in history_of(row))

    def __eq__(self, other) -> bool:
        return list(self) == list(other)

    __hash__ = None


class VQADataset(Dataset):
    """One split: rows of image and texts (question and answer, or caption).

    `dataset[i]` is a dict of `id`, `image_id`, the texts, the further columns, and `pixels`, the image as
    uint8 `[3, S, S]`; with `data.group_column` also `group_id`. `image(i)` is the picture as it came, `rows` everything
    but pictures. Where a row shows several, it has `image_ids`, and `pixels` is a list.
    """

    def __init__(
        self,
        checked: CheckedSplit,
        split: str,
        store: ImageStore,
        breakdown: list[str] | None = None,
    ):
        self.text_columns = checked.texts
        self.rows, self.columns = checked.rows, checked.columns  # columns: the source's further ones
        self.split, self.store, self.folder = split, store, checked.folder
        self.group_column = checked.group_column  # as rows call it
        self._pictures, self._source_rows, self._views = checked.pictures, checked.source_rows, checked.views
        self.breakdown = self._axes() if breakdown is None else [c for c in breakdown if c in self.columns]
        self._frames = checked.frames
        self._film: tuple[int, dict[str, Any] | None] = (-1, None)  # the last film's row, and its frames by their ids
        self._change = None
        self._shown: list[list[tuple[int, int]]] | None = None  # (source row, place) of each row's pictures, if others

    def _axes(self, most_values: int = 20) -> list[str]:
        """Text columns with at most `most_values` values: worth a breakdown."""
        axes = []
        for name in self.columns:
            values = self.rows.columns[name].arrow
            if values is not None and values.type == pa.large_string() and 1 < len(values.unique()) <= most_values:
                axes.append(name)
        return axes

    @property
    def texts(self) -> Texts:
        """Every text of every row, from which a model from scratch learns its vocabulary."""
        return Texts(self.rows, self.text_columns)

    def with_drawn_answers(self, seed: int, epoch: int) -> VQADataset:
        """The same rows, each with one of its `answers`, drawn anew in each epoch; itself where no row has several."""
        if "answer" not in self.text_columns or not any(column_of(self.rows, "answers")):
            return self
        draw, other = random.Random(f"{seed}/answers/{epoch}"), copy.copy(self)
        pairs = zip(column_of(self.rows, "answer"), column_of(self.rows, "answers"), strict=True)
        other.rows = with_column(
            self.rows, "answer", [draw.choice(answers) if answers else answer for answer, answers in pairs]
        )
        return other

    def row_of_picture(self, most: int | None = None, seed: int = 0) -> dict[str, tuple[int, int]]:
        """The first row that shows each picture, by the picture's id, and which of the row's pictures it is; or of
        `most` pictures drawn from the seed."""
        first: dict[str, tuple[int, int]] = {}
        for i, row in enumerate(self.rows):
            for place, image_id in enumerate(pictures_of(row)):
                first.setdefault(image_id, (i, place))
        if most is None or len(first) <= most:
            return first
        return {image_id: first[image_id] for image_id in random.Random(f"{seed}/gate").sample(sorted(first), most)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict:
        return self.__getitems__([i])[0]

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """Several rows at once (what DataLoader calls): each image is read once, its rows share the tensor."""
        pixels: dict[str, Tensor] = {}
        items = []
        for i, row in zip(indices, chosen_rows(self.rows, indices), strict=True):
            image_ids = pictures_of(row)
            for place, image_id in enumerate(image_ids):
                if image_id not in pixels:
                    pixels[image_id] = self.pixels(i, place)
            of_row = [pixels[image_id] for image_id in image_ids]
            items.append({**row, "pixels": of_row[0] if len(of_row) == 1 else of_row})
        return items

    def pixels(self, i: int, place: int = 0) -> Tensor:
        """Row i's image, or the one at `place` of several, resized: uint8 `[3, S, S]`, from the store."""
        row = self.rows[i]
        image_id = pictures_of(row)[place]
        stored = self.store.get(image_id, lambda: self._picture(i, place), f"row {row['id']}")
        pixels = torch.from_numpy(stored)
        return self._change(pixels, image_id) if self._change else pixels

    def altered(self, change: Callable[[Tensor, str], Tensor]) -> VQADataset:
        """The same rows with `change(pixels, image_id)`, uint8 `[3,S,S]`, in place of every image's pixels."""
        other = copy.copy(self)
        other._change = change
        return other

    def with_pictures_of(self, rows: list[int]) -> VQADataset:
        """The same rows, each with the picture (or pictures) and the `image_id` of the row that `rows` names in its
        place."""
        other, shown = copy.copy(self), [self.rows[i] for i in rows]
        other.rows = [
            {**row, **{key: its.get(key) for key in IDS if key in row or key in its}}
            for row, its in zip(self.rows, shown, strict=True)
        ]
        other._source_rows = self._source_rows[rows]
        return other

    def showing(self, pictures: Sequence[Sequence[tuple[int, int]]]) -> VQADataset:
        """The same rows with other pictures: row i shows `pictures[i]`, each a row of these and a place in it."""
        other = copy.copy(self)
        other.rows, other._shown = [], []
        for row, of_row in zip(self.rows, pictures, strict=True):
            ids = [pictures_of(self.rows[i])[place] for i, place in of_row]
            several = {"image_ids": ids if len(ids) > 1 else None} if len(ids) > 1 or "image_ids" in row else {}
            other.rows.append({**row, "image_id": list_id(ids), **several})
            other._shown.append([(self._source_rows[i], place) for i, place in of_row])
        return other

    def stored_in(self, store: ImageStore) -> VQADataset:
        """The same rows with pixels of another store, and so of its size."""
        other = copy.copy(self)
        other.store = store
        return other

    def chosen(self, rows: list[int]) -> VQADataset:
        """These rows only."""
        other = copy.copy(self)
        other.rows, other._source_rows = chosen_rows(self.rows, rows), self._source_rows[rows]
        other.__dict__.pop("_by_id", None)
        return other

    def images(self, i: int) -> list[Image.Image]:
        """Row i's pictures at their own size, RGB."""
        row = self.rows[i]
        return [open_picture(self._picture(i, place), f"row {row['id']}") for place in range(len(pictures_of(row)))]

    def image(self, i: int) -> Image.Image:
        """Row i's picture at its own size, RGB; several on one sheet."""
        return sheet(self.images(i))

    def image_path(self, i: int) -> str | None:
        """Row i's picture as the source names it, a path inside its folder, or a JSON list of them; None where the
        source holds the picture."""
        cell = self._pictures.cell(self._source_rows[i])
        if isinstance(cell, list) and all(isinstance(one, str) for one in cell):
            return json.dumps(cell, ensure_ascii=False)
        return cell if isinstance(cell, str) else None

    def _picture(self, i: int, place: int) -> Any:
        """The file of one of row i's pictures; of a DICOM file or slide, the part that the row shows.

        Raises ImageError for a file that was replaced since the rows were read: its pixels would be stored, and shown,
        as those of the first one.
        """
        one = self.rows[int(i)]
        row, of_cell = self._shown[int(i)][place] if self._shown else (self._source_rows[int(i)], place)
        image_id, frames = pictures_of(one)[place], self._frames_shown(row)
        if frames is not None and image_id in frames:
            return frames[image_id]
        cells = cells_of(self._pictures.cell(row))
        picture = picture_of(cells[min(of_cell, len(cells) - 1)], self.folder, self._views.get(row, View()))
        if frames is not None or picture_id(picture) != image_id:
            raise ImageError(f"row {one['id']}: its picture was replaced after the data was read: load the data anew")
        return picture

    def _frames_shown(self, row: int) -> dict[str, Any] | None:
        """The frames that a row of the source shows of its film, by their ids; None where it shows none.

        Those of the last film stay decoded: whoever looks at a row asks for all of them.
        """
        if self._frames is None:
            return None
        if self._film[0] != row:
            cells, frames = cells_of(self._pictures.cell(row)), None
            film = picture_of(cells[0], self.folder, self._views.get(row, View())) if len(cells) == 1 else b""
            if is_film(film):
                frames = dict(shown_frames(film, frames_of(film, self._frames, self.store.seen)))
            self._film = row, frames
        return self._film[1]

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {row_id: i for i, row_id in enumerate(column_of(self.rows, "id"))}

    def index(self, row_id: str) -> int:
        """The position of the row whose `id` a prediction carries."""
        return self._by_id[row_id]


def load_splits(config: Config) -> Splits:
    """Every split of `config.data.source` that there is, at `config.model.image_size`.

    Raises ConfigError, SourceError or ImageError that name the file and row, before anything slow begins.
    """
    store = ImageStore(
        project_path(config.data.cache_dir) / "images", config.model.image_size, config.data.cache_gigabytes
    )
    checked, breakdown, notes = read_splits(config, store)
    if config.data.held_out:
        train = VQADataset(checked["train"], "train", store, breakdown)
        rows = _rows_apart(train, config)
        if len(rows) < len(train):
            notes.append(f"train: {left_out_line(len(train) - len(rows), len(train), 'row', 'data.without')}")
        checked["train"] = checked["train"].chosen(rows)
    notes += notes_of(checked, config.data.group)
    splits = {name: VQADataset(split, name, store, breakdown) for name, split in checked.items()}
    return Splits(splits, notes + spelling_notes(splits) + one_colour_notes(splits) + store.notes)


def _rows_apart(train: VQADataset, config: Config) -> list[int]:
    """The rows of train that `data.without` does not hold out."""
    other = load_splits(config.model_copy(update={"data": config.data.held_out}))
    rows = rows_apart(train, held_out_names([other]))
    if not rows:
        raise SourceError(
            f"data.without leaves nothing of train: '{config.data.without.source}' holds out every picture or patient "
            f"of data.source '{config.data.source}'. Name another source in one of them"
        )
    return rows
