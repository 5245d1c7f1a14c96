"""VQA v2, LLaVA's conversations and imagefolder: layouts that sets of any field come in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from blipvqa.data.layouts import Layout, Source, Table, first_row, split_in, table_of, tops
from blipvqa.data.raw import PlacedRow
from blipvqa.data.split_names import SYNONYMS, SourceError, TableFile, split_of
from blipvqa.data.text_tables import read_text_table, whole_json


def vqa_v2(source: Source) -> Layout | None:
    """VQA v2 (Goyal et al. 2017): questions and their annotations in two files a split, ten answers a question."""
    questions, annotations = (
        {split_in(path.name): path for path in tops(source, ("json",)) if re.search(f"{kind}.*[.]json$", path.name)}
        for kind in ("questions", "annotations")
    )
    splits = [split for split in SYNONYMS if split in questions and split in annotations]
    if not splits:
        return None
    tables, within = {}, ["images", "imgs"]
    for split in splits:
        asked, answered = whole_json(questions[split]), whole_json(annotations[split])
        if not (isinstance(asked, dict) and isinstance(asked.get("questions"), list)):
            return None
        if not (isinstance(answered, dict) and isinstance(answered.get("annotations"), list)):
            raise SourceError(f"{annotations[split].name}: no list `annotations`, as VQA v2 has")
        subtype = str(asked.get("data_subtype") or answered.get("data_subtype") or "")
        within += [folder for folder in (subtype, f"images/{subtype}") if subtype]
        rows = _joined(source, asked["questions"], answered["annotations"], subtype)
        tables[split] = [Table(questions[split].name, rows, "element")]
    unanswered = sorted(questions[split].name for split in questions if split not in splits)
    notes = [f"without annotations, not read: {', '.join(unanswered)}"] if unanswered else []
    return Layout("VQA v2 (questions and annotations)", tables, tuple(dict.fromkeys(within)), notes)


def _joined(source: Source, questions: list, annotations: list, subtype: str) -> Iterator[PlacedRow]:
    by_id = {each.get("question_id"): each for each in annotations if isinstance(each, dict)}
    for number, question in enumerate(questions, 1):
        if not isinstance(question, dict):
            yield number, "it is no JSON object"
            continue
        annotation = by_id.get(question.get("question_id"))
        if annotation is None:
            yield number, f"question_id {question.get('question_id')!r:.40} has no annotation"
            continue
        texts = [one.get("answer") if isinstance(one, dict) else one for one in annotation.get("answers") or []]
        answer = annotation.get("multiple_choice_answer")
        if answer is None and texts:
            answer = Counter(map(str, texts)).most_common(1)[0][0]
        key = next((key for key in ("image", "file_name", "image_name") if key in question), "image_id")
        name = question.get(key)
        if key == "image_id" and type(name) is int:
            name = f"COCO_{subtype}_{name:012d}.jpg" if subtype else str(name)
        further = {key: annotation[key] for key in ("question_type", "answer_type") if key in annotation}
        row = {"question": question.get("question"), "answer": answer, "answers": texts or None, **further}
        yield number, source.image(row | {"question_id": question.get("question_id")}, key, name)


def llava(source: Source) -> Layout | None:
    """LLaVA's and LLaVA-Med's instructions: `conversations` of human and gpt; each turn is a question of its own."""
    files: dict[str, list[TableFile]] = {}
    for path in tops(source, ("json", "jsonl")):
        if _turns(first_row(path)) is not None:
            files.setdefault(split_in(path.name) or "train", []).append(path)
    if not files:
        return None
    if several := next((paths for paths in files.values() if len(paths) > 1), None):
        names = ", ".join(path.name for path in several)
        raise SourceError(f"several files with conversations are one split: {names}. Name them train, validation, test")
    splits = {split: [table_of(path, _asked) for path in paths] for split, paths in files.items()}
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
    further = {key: value for key, value in row.items() if key not in ("conversations", "conversatons")}
    for (_, question), (_, answer) in pairs:
        bare = question.replace("<image>", "").strip() if isinstance(question, str) else question
        yield {"image": None, **further, "question": bare, "answer": answer}


def imagefolder(source: Source) -> Layout | None:
    """The datasets library's imagefolder: `metadata.csv` or `.jsonl` with `file_name`, here or in a folder a split."""
    named = re.compile(r"(?:(?:data/)?(?P<split>[^/]+)/)?metadata\.(csv|jsonl)", re.IGNORECASE)
    splits: dict[str, list[Table]] = {}
    for name, path in source.tables.items():
        match = named.fullmatch(name)
        if not match or "file_name" not in {str(key).strip().lower() for key in first_row(path)}:
            continue
        folder = name.rpartition("/")[0]
        if match["split"]:
            if split := split_of(match["split"]):
                splits.setdefault(split, []).append(table_of(path, _below(source, folder, None)))
            continue
        for split in dict.fromkeys(_split_of_name(row) for _, row in read_text_table(path) if isinstance(row, dict)):
            splits.setdefault(split, []).append(table_of(path, _below(source, "", split)))
    return Layout("imagefolder (metadata with file_name)", splits) if splits else None


def _file_name(row: dict) -> tuple[str, str]:
    key = next(key for key in row if str(key).strip().lower() == "file_name")
    return key, row[key]


def _split_of_name(row: dict) -> str:
    """The split by the first folder of a picture's name; train where that is no split."""
    _, name = _file_name(row)
    return split_of(re.split(r"[/\\]", str(name))[0]) or "train"


def _below(source: Source, folder: str, split: str | None) -> Callable[[dict], list[dict | str]]:
    def change(row: dict) -> list[dict | str]:
        key, name = _file_name(row)
        if split is not None and _split_of_name(row) != split:
            return []
        inside = f"{folder}/{name}" if folder and isinstance(name, str) and name else name
        return [source.image(row, key, inside)]

    return change
