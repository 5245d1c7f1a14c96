"""What leads on where a folder holds no source that is recognised."""

from __future__ import annotations

import re
from pathlib import Path

from blipvqa.data.image_files import PICTURES
from blipvqa.data.layouts import split_in
from blipvqa.data.split_names import (
    INSTEAD,
    READ,
    TableFile,
    ending_of,
    find_split_files,
    is_unread,
    listed,
    split_of,
    tables_in,
)


def what_to_do(folder: Path, tables: dict[str, TableFile], source: str, texts: tuple[str, ...]) -> str:
    """What leads on, made of what is there: a table of another name, or tables in a folder below."""
    names = sorted(name for name, path in tables.items() if "/" not in name and ending_of(path) in READ)
    if asked := next((name for name in names if re.search("questions.*[.]json$", name)), None):
        return f"If '{asked}' holds VQA v2's questions, put its annotations beside it, as `…annotations.json`."
    for name in names:
        if split := split_in(name.lower().replace("data", " ")):
            return f"'{name}' looks like the split {split}: name it {split}.{ending_of(tables[name])}."
    if names:
        return f"If '{names[0]}' holds the rows, name it train.{ending_of(tables[names[0]])}."
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for place in below:
        if not split_of(place.name) and find_split_files(tables_in(place)).files:
            return f"Tables lie in '{place.name}': set data.source={source}/{place.name}."
    if unread := [name for name in tables if is_unread(name)]:
        return f"Not read: {listed(unread)}. {INSTEAD}."
    for place in below:
        if split_of(place.name) and (table := next(place.rglob("*.csv"), None)):
            name = table.relative_to(folder).as_posix()
            return f"Put tables such as {name} into '{folder.name}' itself, as train.csv, validation.csv, test.csv."
    if classes := _class_folders(below):
        example = (
            next(path for path in sorted(classes[0].iterdir()) if _is_picture(path)).relative_to(folder).as_posix()
        )
        row = {"question": "what is shown?"} | dict.fromkeys(texts[-1:], classes[0].name)
        cells = ",".join([example, *(row[column] for column in texts if column in row)])
        return (
            f"Its folders ({', '.join(path.name for path in classes[:3])}) hold pictures by class: write a table of "
            f"them, '{folder.name}/train.csv', with a head 'image,{','.join(texts)}' and a line a picture, such as "
            f"'{cells}'."
        )
    if folder.is_file() and tables:
        return f"A table lies deep in it, '{next(iter(tables))}': zip the folder that holds the table."
    return "Name files by split: train, validation, test."


def _class_folders(below: list[Path]) -> list[Path]:
    """The folders that hold pictures themselves, in `below` or, where these are called by split, in them."""
    deeper = [path for place in below if split_of(place.name) for path in sorted(place.iterdir()) if path.is_dir()]
    return [place for place in deeper or below if any(_is_picture(path) for path in place.iterdir())]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()
