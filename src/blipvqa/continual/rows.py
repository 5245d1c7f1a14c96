"""Folders of mixed rows, each a source like any other: a stage's rows beside those of earlier stages.

Notable:
- Replay keeps a share of each earlier stage's pictures, with all that is asked about them.
- Question-only replay keeps questions, without pictures and answers. They are asked about pictures of the new stage,
  and what the last model answers is learnt with it (after Marouf et al. 2025, "Ask and Remember", without its attention
  loss). Only `origin: question` tells such rows apart.
- A picture, or a patient by the same name, that another stage holds out is never replayed.
- Pictures are written anew from their pixels, named by their digest: nothing that a file says beside them goes along.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from blipvqa.continual.stages import GROUP
from blipvqa.data.dataset import VQADataset
from blipvqa.data.held_out import Names, rows_apart
from blipvqa.data.several_pictures import pictures_of
from blipvqa.runs.files import write_lines
from blipvqa.text import normalize
from blipvqa.training.stored import content_digest, stored_folder

OWN, REPLAYED, QUESTION = "own", "replay", "question"  # of a row: `origin`
TEXTS = ("question", "answer", "answers", "history")


def lines_of(
    dataset: VQADataset, stage: str, origin: str = OWN, rows: Iterable[int] | None = None, grouped: bool = False
) -> list[dict]:
    """Lines of a folder of mixed rows, of all `rows` of a data set or some; `pixels` says where its pictures are."""
    lines = []
    for i in range(len(dataset)) if rows is None else rows:
        row = dataset.rows[i]
        files = [f"images/{image_id}.png" for image_id in pictures_of(row)]
        line = {"image": files[0] if len(files) == 1 else files}
        line |= {key: row[key] for key in TEXTS if row.get(key) is not None} | {"stage": stage, "origin": origin}
        line |= {GROUP: f"{stage} {row.get('group_id', row['image_id'])}"} if grouped else {}
        lines.append(line | {"pixels": (dataset, i)})
    return lines


def replayed_rows(dataset: VQADataset, share: float, seed: int, held_out: Names) -> list[int]:
    """The rows of a share of a training set's pictures, drawn once for all later stages; none that is held out."""
    pictures = sorted({dataset.rows[i]["image_id"] for i in rows_apart(dataset, held_out)})
    count = min(len(pictures), max(1, round(share * len(pictures))))
    kept = set(random.Random(f"{seed}/replay").sample(pictures, count))
    return [i for i, row in enumerate(dataset.rows) if row["image_id"] in kept]


def kept_questions(dataset: VQADataset, share: float, seed: int) -> list[str]:
    """A share of a training set's questions: all that is kept of it."""
    count = max(1, round(share * len(dataset)))
    return [dataset.rows[i]["question"] for i in random.Random(f"{seed}/questions").sample(range(len(dataset)), count)]


def asked_about(dataset: VQADataset, questions: Sequence[str], seed: int) -> VQADataset:
    """Earlier questions about drawn pictures of a new stage, but for pictures that it asks the same about."""
    draw = random.Random(f"{seed}/pictures")
    asked: dict[str, set[str]] = {}
    for row in dataset.rows:
        asked.setdefault(row["image_id"], set()).add(normalize(row["question"]))
    first = {row["image_id"]: i for i, row in reversed(list(enumerate(dataset.rows)))}
    chosen: list[tuple[int, str]] = []
    for question in questions:
        free = [i for image_id, i in first.items() if normalize(question) not in asked[image_id]]
        if free:
            i = draw.choice(free)
            asked[dataset.rows[i]["image_id"]].add(normalize(question))
            chosen.append((i, question))
    other = dataset.chosen([i for i, _ in chosen])
    other.rows = [
        {key: value for key, value in row.items() if key not in ("history", "answers")} | {"question": question}
        for row, (_, question) in zip(other.rows, chosen, strict=True)
    ]
    return other


def answered(dataset: VQADataset, predictions: Sequence[Mapping]) -> VQADataset:
    """The same rows with what a model answered; rows to which it said nothing are left out."""
    said = [i for i, row in enumerate(predictions) if row["prediction"].strip()]
    other = dataset.chosen(said)
    other.rows = [row | {"answer": predictions[i]["prediction"]} for i, row in zip(said, other.rows, strict=True)]
    return other


def write_rows(folder: Path, splits: Mapping[str, Sequence[dict]]) -> None:
    """Write `lines_of` the splits as a source; it is left alone where it would be the same. Raises RunError where
    somebody edited it."""
    groups: dict[str, int] = {}
    written = {
        split: [
            {key: value for key, value in line.items() if key not in ("pixels", GROUP)}
            | ({GROUP: f"group {groups.setdefault(line[GROUP], len(groups) + 1)}"} if GROUP in line else {})
            for line in lines
        ]
        for split, lines in splits.items()
    }

    def write(place: Path) -> None:
        (place / "images").mkdir()
        for lines in splits.values():
            for line in lines:
                _write_pictures(place, *line["pixels"])
        for split, lines in written.items():
            write_lines(place / f"{split}.jsonl", lines)

    stored_folder(folder, {"lines": content_digest(list(written.items()))}, write)


def _write_pictures(place: Path, dataset: VQADataset, number: int) -> None:
    paths = [place / f"images/{image_id}.png" for image_id in pictures_of(dataset.rows[number])]
    if all(path.exists() for path in paths):
        return
    for path, image in zip(paths, dataset.images(number), strict=True):
        image.info.clear()  # what the file said beside its pixels
        image.save(path, "PNG", compress_level=1)
