"""`VQADataset`: one split's rows and pictures, and `load_splits`, which makes them from a config.

Notable:
- A row never travels with its own copy of an image: items of one image share one tensor.
- Pixels stay uint8 until they are on the device.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.checking import read_splits
from blipvqa.data.images import ImageError, ImageStore, open_picture
from blipvqa.data.medical_files import PictureFile, View, picture_id, picture_of
from blipvqa.data.one_colour import one_colour_notes
from blipvqa.data.rows import CheckedSplit
from blipvqa.numbers.grouping import rows_by


class Splits(dict):
    """`{"train": VQADataset, …}`, with `notes`: what a person should know of how they were made."""

    def __init__(self, datasets: dict, notes: list[str]):
        super().__init__(datasets)
        self.notes = notes


class VQADataset(Dataset):
    """One split: rows of image and texts (question and answer, or caption).

    `dataset[i]` is a dict of `id`, `image_id`, the texts, the further columns, and `pixels`, the image as
    uint8 `[3, S, S]`; with `data.group_column` also `group_id`. `image(i)` is the picture as it came, `rows` everything
    but pictures.
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
        self._pictures, self._source_rows, self._views = checked.pictures, checked.source_rows, checked.views
        self.breakdown = self._axes() if breakdown is None else [c for c in breakdown if c in self.columns]
        self._change = None

    def _axes(self, most_values: int = 20) -> list[str]:
        """Text columns with at most `most_values` values: worth a breakdown."""
        axes = []
        for column in self.columns:
            values = {row[column] for row in self.rows if row[column] is None or isinstance(row[column], str)}
            if all(isinstance(row[column], str | None) for row in self.rows) and 1 < len(values) <= most_values:
                axes.append(column)
        return axes

    @property
    def texts(self) -> list[str]:
        """Every text of every row, from which a model from scratch learns its vocabulary."""
        return [
            text
            for row in self.rows
            for text in (*(row[column] for column in self.text_columns), *(row.get("answers") or ()))
        ]

    def with_drawn_answers(self, seed: int, epoch: int) -> VQADataset:
        """The same rows, each with one of its `answers`, drawn anew in each epoch; itself where no row has several."""
        if "answer" not in self.text_columns or not any(row.get("answers") for row in self.rows):
            return self
        draw, other = random.Random(f"{seed}/answers/{epoch}"), copy.copy(self)
        other.rows = [
            {**row, "answer": draw.choice(row["answers"])} if row.get("answers") else row for row in self.rows
        ]
        return other

    def row_of_picture(self, most: int | None = None, seed: int = 0) -> dict[str, int]:
        """The first row of each picture by its id, or of `most` pictures drawn from the seed."""
        first = {image_id: rows[0] for image_id, rows in rows_by(row["image_id"] for row in self.rows).items()}
        if most is None or len(first) <= most:
            return first
        return {image_id: first[image_id] for image_id in random.Random(f"{seed}/gate").sample(sorted(first), most)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict:
        return {**self.rows[i], "pixels": self.pixels(i)}

    def __getitems__(self, indices: list[int]) -> list[dict]:
        """Several rows at once (what DataLoader calls): each image is read once, its rows share the tensor."""
        pixels: dict[str, Tensor] = {}
        for i in indices:
            image_id = self.rows[i]["image_id"]
            if image_id not in pixels:
                pixels[image_id] = self.pixels(i)
        return [{**self.rows[i], "pixels": pixels[self.rows[i]["image_id"]]} for i in indices]

    def pixels(self, i: int) -> Tensor:
        """Row i's image, resized: uint8 `[3, S, S]`, from the store."""
        row = self.rows[i]
        stored = self.store.get(row["image_id"], lambda: self._picture(i), f"row {row['id']}")
        pixels = torch.from_numpy(stored)
        return self._change(pixels, row["image_id"]) if self._change else pixels

    def altered(self, change: Callable[[Tensor, str], Tensor]) -> VQADataset:
        """The same rows with `change(pixels, image_id)`, uint8 `[3,S,S]`, in place of every image's pixels."""
        other = copy.copy(self)
        other._change = change
        return other

    def with_pictures_of(self, rows: list[int]) -> VQADataset:
        """The same rows, each with the picture and the `image_id` of the row that `rows` names in its place."""
        other = copy.copy(self)
        pairs = zip(self.rows, rows, strict=True)
        other.rows = [{**row, "image_id": self.rows[i]["image_id"]} for row, i in pairs]
        other._source_rows = [self._source_rows[i] for i in rows]
        return other

    def stored_in(self, store: ImageStore) -> VQADataset:
        """The same rows with pixels of another store, and so of its size."""
        other = copy.copy(self)
        other.store = store
        return other

    def chosen(self, rows: list[int]) -> VQADataset:
        """These rows only."""
        other = copy.copy(self)
        other.rows, other._source_rows = [self.rows[i] for i in rows], [self._source_rows[i] for i in rows]
        other.__dict__.pop("_by_id", None)
        return other

    def image(self, i: int):
        """Row i's picture at its own size, RGB."""
        return open_picture(self._picture(i), f"row {self.rows[i]['id']}")

    def image_path(self, i: int) -> str | None:
        """Row i's picture as the source names it, a path inside its folder; None where the source holds the picture."""
        cell = self._pictures.cell(self._source_rows[i])
        return cell if isinstance(cell, str) else None

    def _picture(self, i: int) -> bytes | memoryview | PictureFile:
        """The file of row i's picture; of a DICOM file or slide, the part that the row shows.

        Raises ImageError for a file that was replaced since the rows were read: its pixels would be stored, and shown,
        as those of the first one.
        """
        row, one = self._source_rows[int(i)], self.rows[int(i)]
        picture = picture_of(self._pictures.cell(row), self.folder, self._views.get(row, View()))
        whole_slide = isinstance(picture, PictureFile) and isinstance(picture.content, Path)  # gigabytes to read
        if not whole_slide and picture_id(picture) != one["image_id"]:
            raise ImageError(f"row {one['id']}: its picture was replaced after the data was read: load the data anew")
        return picture

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {row["id"]: i for i, row in enumerate(self.rows)}

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
    splits = {name: VQADataset(split, name, store, breakdown) for name, split in checked.items()}
    return Splits(splits, notes + one_colour_notes(splits) + store.notes)
