"""Pictures of one's own, which belong to no split: a folder of them, or what a table names.

They become a data set like any other, by the same checks: each picture is looked at once, pictures with equal bytes are
one, and all that is wrong is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.dataset import VQADataset
from blipvqa.data.formats import SourceError
from blipvqa.data.image_files import FILMS, PICTURES, PictureFolder
from blipvqa.data.images import ImageStore
from blipvqa.data.one_colour import one_colour_notes
from blipvqa.data.raw import ListedPictures, Part, RawSplit
from blipvqa.data.row_table import row_table
from blipvqa.data.rows import check_split
from blipvqa.data.split_names import listed
from blipvqa.text import encodable

NO_TEXT = "its name is no UTF-8, so no table can hold it: rename the file"


def picture_names(folder: Path, data: DataConfig) -> list[str]:
    """Pictures of a folder and of those below it, with `data.frames` films too, as paths inside it, in alphabetical
    order. Raises SourceError where there is none."""
    endings = PICTURES + FILMS * bool(data.frames)
    names = [name for name in _names_below(folder) if name.lower().endswith(endings)]
    if not names:
        raise SourceError(f"'{folder.name}' holds no picture ({', '.join(endings)})")
    return names


def _names_below(folder: Path) -> list[str]:
    """All that is not hidden, but for folders; links to folders are not followed, and listed."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def _is_folder_called_as_picture(path: Path) -> bool:
    return path.name.lower().endswith(PICTURES) and path.is_dir() and not path.is_symlink()


def rows_of_pictures(folder: Path, names: Sequence[str], texts: Sequence[dict[str, str]]) -> RawSplit:
    """A row for each of `names`, with the texts that belong to it."""
    columns = ["image", *(texts[0] if texts else ())]
    part = Part(folder.name, 0, list(map(encodable, names)), "picture")
    broken = {row: NO_TEXT for row, name in enumerate(names) if encodable(name) != name}
    others = sorted(set(_names_below(folder)).difference(names))
    notes = [f"not read, since their names are no picture's: {listed(others)}"] if others else []
    called = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_folder_called_as_picture(path)]
    notes += [f"folders that are called like pictures, and are none: {listed(sorted(called))}"] if called else []
    return RawSplit(row_table(texts), columns, ListedPictures(list(names)), [part], broken, notes)


def own_dataset(
    raw: RawSplit, folder: Path, config: Config, texts: Sequence[str], data: DataConfig | None = None
) -> tuple[VQADataset, dict[str, str], list[str]]:
    """The rows of one's own that can be used; those left out, each with what is wrong with it; notes on the others."""
    data = data or config.data
    raw.folder = PictureFolder(folder, data.image_suffix)
    plain = {"on_error": "skip", "where": {}, "group_column": None, "breakdown": None}
    store = ImageStore(project_path(data.cache_dir) / "images", config.model.image_size, data.cache_gigabytes)
    needs = config.needs._replace(texts=tuple(texts))
    checked, notes = check_split(raw, "own", data.model_copy(update=plain), store, needs)
    dataset = VQADataset(checked, "own", store, [])
    notes = [note for note in notes if " rows left out: " not in note]  # they are named one by one
    return dataset, checked.left_out, notes + one_colour_notes({"own": dataset}) + store.notes
