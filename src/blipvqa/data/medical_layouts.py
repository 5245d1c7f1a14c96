"""SLAKE, VQA-RAD and PathVQA as their authors give them. Pickles are never read: they are programs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from blipvqa.data.layouts import Layout, Source, first_row, split_in, table_of, tops
from blipvqa.data.split_names import SourceError, TableFile, split_of
from blipvqa.data.text_tables import read_text_table

UNPICKLE = (
    "python -c \"import json, pickle; [json.dump(pickle.load(open(f'qas/{s}_vqa.pkl', 'rb')), "
    "open(f'qas/{s}_vqa.json', 'w')) for s in ('train', 'val', 'test')]\""
)


def slake(source: Source) -> Layout | None:
    """SLAKE (Liu et al. 2021): json by split, `img_name` inside `imgs/`, two languages in `q_lang`."""
    if not source.files or not all({"img_name", "q_lang"} <= first_row(p[0]).keys() for p in source.files.values()):
        return None

    def change(row: dict) -> list[dict | str]:
        return [source.image(row, "img_name", row.get("img_name"))]

    splits = {split: [table_of(path, change) for path in paths] for split, paths in source.files.items()}
    return Layout("SLAKE (img_name, q_lang; data.where={q_lang: en} keeps one language)", splits, ("imgs", "images"))


def vqa_rad(source: Source) -> Layout | None:
    """VQA-RAD's own json (Lau et al. 2018): one list; test questions are those whose `phrase_type` says so."""
    files = [path for path in tops(source, ("json",)) if {"image_name", "question"} <= first_row(path).keys()]
    if not files:
        return None
    by_name = {split: path for path in files if (split := split_in(path.name))} if len(files) > 1 else {}

    def change(row: dict) -> list[dict | str]:
        numbers = {key: str(row[key]) for key in ("question", "answer") if _is_number(row.get(key))}
        return [source.image(row | numbers, "image_name", row.get("image_name"))]

    def of_phrase(split: str) -> Callable[[dict], list[dict | str]]:
        def chosen(row: dict) -> list[dict | str]:
            test = str(row.get("phrase_type")).lower().startswith("test")
            return change(row) if test == (split == "test") else []

        return chosen

    within = ("VQA_RAD Image Folder", "images", "imgs")
    if len(by_name) == len(files) > 1:
        return Layout("VQA-RAD's json", {split: [table_of(path, change)] for split, path in by_name.items()}, within)
    if len(files) > 1:
        raise SourceError(f"several files are VQA-RAD's json: {', '.join(path.name for path in files)}. Keep one")
    tests = any(
        str(row.get("phrase_type")).lower().startswith("test")
        for _, row in read_text_table(files[0])
        if type(row) is dict
    )
    splits = {split: [table_of(files[0], of_phrase(split))] for split in ("train", "test") if tests or split == "train"}
    return Layout("VQA-RAD's json (test is what phrase_type calls test)", splits, within)


def _is_number(value: Any) -> bool:
    """ "How many" is answered by a number there; NaN stands for no answer."""
    return type(value) in (int, float) and math.isfinite(value)


def pathvqa(source: Source) -> Layout | None:
    """PathVQA's own folders (He et al. 2020): `images/<split>/`, and questions in `qas/`, as pickles there."""
    names = source.pictures.names_in("qas")
    if not any(re.fullmatch(r"\w+_v?qa\.(pkl|json)", name) for name in names):
        return None
    files: dict[str, tuple[str, TableFile]] = {}
    for name, path in source.tables.items():
        match = re.fullmatch(r"qas/([a-z]+)_v?qa\.json", name)
        if match and (split := split_of(match[1])):
            source.one_a_split([(split, files.get(split, ("", path))[1]), (split, path)])
            files[split] = (match[1], path)
    if "train" not in files:
        raise SourceError(
            "this is PathVQA as its authors give it, with questions in pickles, which are programs and are not read. "
            f"If you trust them, make json of them, in the folder that holds qas: {UNPICKLE}"
        )

    def change(row: dict, folder: str) -> list[dict | str]:
        key = "img_id" if "img_id" in row else "image"
        name = row.get(key)
        if isinstance(name, str):
            name = f"{folder}/{name}" + ("" if re.search(r"\.\w{3,4}$", name) else ".jpg")
        label = row.get("label")
        answers = list(label) if isinstance(label, dict) else []
        row = source.image(
            {k: v for k, v in row.items() if k not in ("sent", "label")} | _texts(row, answers), key, name
        )
        return [row]

    def _texts(row: dict, answers: list[str]) -> dict:
        texts = {"question": row.get("question", row.get("sent")), "answer": row.get("answer", (answers or [None])[0])}
        return texts | ({"answers": answers} if len(answers) > 1 else {})

    splits = {
        split: [table_of(path, lambda row, folder=folder: change(row, folder))]
        for split, (folder, path) in files.items()
    }
    return Layout("PathVQA's folders (qas made into json)", splits, ("images",))
