"""VQA v2, LLaVA's conversations and imagefolder: layouts that sets of any field come in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from blipvqa.data.image_files import FILMS
from blipvqa.data.json_files import whole_json
from blipvqa.data.layouts import Layout, Source, Table, first_row, split_in, table_of, tops
from blipvqa.data.several_pictures import cells_of
from blipvqa.data.split_names import SYNONYMS, SourceError, TableFile, split_of
from blipvqa.data.text_tables import checked_row, read_text_table
from blipvqa.data.values import DoubledObject, folded_name, kind_of
from blipvqa.plural import how_many


def vqa_v2(source: Source) -> Layout | None:
    """VQA v2 (Goyal et al. 2017): questions and their annotations in two files a split, ten answers a question."""
    questions, annotations = (
        source.one_a_split(
            (split, path)
            for path in tops(source, ("json",))
            if re.search(f"{kind}.*[.]json$", path.name) and (split := split_in(path.name))
        )
        for kind in ("questions", "annotations")
    )
    splits = [split for split in SYNONYMS if split in questions and split in annotations]
    if not splits:
        return None
    tables, within, notes = {}, ["images", "imgs"], []
    for split in splits:
        asked, answered = whole_json(questions[split]), whole_json(annotations[split])
        if not (isinstance(asked, dict) and isinstance(asked.get("questions"), list)):
            return None
        if not (isinstance(answered, dict) and isinstance(answered.get("annotations"), list)):
            raise SourceError(f"{annotations[split].name}: no list `annotations`, as VQA v2 has")
        subtype = str(asked.get("data_subtype") or answered.get("data_subtype") or "")
        within += [folder for folder in (subtype, f"images/{subtype}") if subtype]
        rows, unasked = _joined(source, asked["questions"], answered["annotations"], subtype)
        tables[split] = [Table(questions[split], enumerate(rows, 1), "element")]
        if unasked:
            notes.append(f"{annotations[split].name}: {unasked:,} of its annotations belong to no question")
    read = list(dict.fromkeys(within))
    return Layout(
        "VQA v2 (questions and annotations)", tables, tuple(read), notes, [annotations[split] for split in splits]
    )


def _joined(source: Source, questions: list, annotations: list, subtype: str) -> tuple[list[dict | str], int]:
    """Each question with its annotation, or what is wrong with them; how many annotations belong to no question."""
    asked, answered = _by_id(questions), _by_id(annotations)
    rows = [_annotated(source, question, asked, answered, subtype) for question in questions]
    return rows, len(annotations) - sum(len(each) for number, each in answered.items() if number in asked)


def _by_id(elements: list) -> dict[str | int, list[dict]]:
    """The elements with a `question_id`; a number and its digits are two."""
    by_id: dict[str | int, list[dict]] = {}
    for each in elements:
        if isinstance(each, dict) and type(each.get("question_id")) in (str, int):
            by_id.setdefault(each["question_id"], []).append(each)
    return by_id


def _annotated(source: Source, question: Any, asked: dict, answered: dict, subtype: str) -> dict | str:
    if isinstance(question, DoubledObject) or not isinstance(question, dict):
        return checked_row(question)
    number = question.get("question_id")
    if type(number) not in (str, int):
        return f"question_id: found {kind_of(number)} ({number!r:.40}), expected a whole number or text"
    annotations = answered.get(number, [])
    if len(asked[number]) != 1 or len(annotations) != 1:
        several = f"{how_many(len(asked[number]), 'question')} and {how_many(len(annotations), 'annotation')}"
        return f"question_id {number!r:.40} has {several if annotations else 'no annotation'}"
    annotation = checked_row(annotations[0])
    if isinstance(annotation, str):
        return f"the annotation of question_id {number!r:.40}: {annotation}"
    if annotation.get("image_id", question.get("image_id")) != question.get("image_id", annotation.get("image_id")):
        return f"question_id {number!r:.40} is of image_id {question['image_id']}, its annotation of another"
    key = next((key for key in ("image", "file_name", "image_name") if key in question), "image_id")
    name = question.get(key)
    if key == "image_id" and type(name) is int:
        name = f"COCO_{subtype}_{name:012d}.jpg" if subtype else str(name)
    row = {"question": question.get("question"), "answer": annotation.get("multiple_choice_answer")}
    row |= {"answers": annotation.get("answers"), "question_id": number}
    further = {key: annotation[key] for key in ("question_type", "answer_type") if key in annotation}
    return source.image(row | further, key, name)


def llava(source: Source) -> Layout | None:
    """LLaVA's and LLaVA-Med's instructions: `conversations` of human and gpt; each turn is a question of its own."""
    files = source.one_a_split(
        (split_in(path.name) or "train", path)
        for path in tops(source, ("json", "jsonl"))
        if _turns(first_row(path)) is not None
    )
    if not files:
        return None
    splits = {split: [table_of(path, _asked)] for split, path in files.items()}
    return Layout("LLaVA's conversations (each turn is a question of its own)", splits, ("images", "imgs"))


def _turns(row: dict) -> list | None:
    turns = row.get("conversations", row.get("conversatons"))  # LLaVA-Med's own files are misspelt
    return turns if isinstance(turns, list) else None


def _asked(row: dict) -> Iterator[dict | str]:
    turns = _turns(row)
    texts = [(turn.get("from"), turn.get("value")) for turn in turns or [] if isinstance(turn, dict)]
    pairs = list(zip(texts[::2], texts[1::2], strict=False))
    plain = all((one, other) == ("human", "gpt") for (one, _), (other, _) in pairs)
    if not pairs or not plain or len(texts) % 2 or len(texts) != len(turns):
        yield "its conversations are no turns of human and gpt, one after the other"
        return
    if problem := _wrong_marks(row, [one for (_, one), _ in pairs], [other for _, (_, other) in pairs]):
        yield problem
        return
    further = {key: value for key, value in row.items() if key not in ("conversations", "conversatons")}
    for (_, question), (_, answer) in pairs:
        bare = question.replace("<image>", "").strip() if isinstance(question, str) else question
        yield {"image": None, **further, "question": bare, "answer": answer}


def _wrong_marks(row: dict, questions: list, answers: list) -> str | None:
    """What is wrong with the marks of pictures in a conversation; None where nothing is."""
    asked, said = (" ".join(text for text in texts if isinstance(text, str)) for texts in (questions, answers))
    if "<video>" in asked:
        return "its question shows a <video>: name the film in `image`, without the mark, and set data.frames"
    if mark := next((mark for mark in ("<image>", "<video>") if mark in said), None):
        return f"its answer holds {mark}, which is no word"
    names, marks = cells_of(row.get("image")), asked.count("<image>")
    is_film = len(names) == 1 and str(names[0]).lower().endswith(FILMS)  # each mark may mean a frame
    if names != [None] and marks > len(names) and not is_film:
        named = f"{how_many(len(names), 'picture')}: name as many in a list"
        return f"its questions show {marks} times <image>, and `image` names {named}"
    return None


def imagefolder(source: Source) -> Layout | None:
    """The datasets library's imagefolder: `metadata.csv` or `.jsonl` with `file_name`, here or in a folder a split;
    `data/` counts as here."""
    named = re.compile(r"(?:data/)?(?:(?P<split>[^/]+)/)?metadata\.(csv|jsonl)", re.IGNORECASE)
    places: list[tuple[str, TableFile, Callable[[dict], list[dict | str]]]] = []
    for name, path in source.tables.items():
        match = named.fullmatch(name)
        if not match or "file_name" not in map(folded_name, first_row(path)):
            continue
        folder = name.rpartition("/")[0]
        if not match["split"]:
            rows = (row for _, row in read_text_table(path) if isinstance(row, dict))
            splits = dict.fromkeys(map(_split_of_name, rows))
            places += [(split, path, _below(source, folder, split)) for split in splits]
        elif split := split_of(match["split"]):
            places.append((split, path, _below(source, folder)))
    source.one_a_split((split, path) for split, path, _ in places)
    tables = {split: [table_of(path, change)] for split, path, change in places}
    return Layout("imagefolder (metadata with file_name)", tables) if tables else None


def _file_name(row: dict) -> tuple[str, Any]:
    key = next((key for key in row if folded_name(key) == "file_name"), "file_name")
    return key, row.get(key)


def _split_of_name(row: dict) -> str:
    """The split by the folders of a picture's name, the first that is one; train where none is."""
    folders = re.split(r"[/\\]", str(_file_name(row)[1]))[:-1]
    return next((split for folder in folders if (split := split_of(folder))), "train")


def _below(source: Source, folder: str, split: str | None = None) -> Callable[[dict], list[dict | str]]:
    """A row with its picture's path from `folder`; of a file of several splits none where it is not of `split`."""

    def change(row: dict) -> list[dict | str]:
        key, name = _file_name(row)
        if split and _split_of_name(row) != split:
            return []
        inside = f"{folder}/{name}" if folder and isinstance(name, str) and name else name
        return [source.image(row, key, inside)]

    return change
