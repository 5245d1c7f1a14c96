"""The texts of each picture, from the source and written by captioners, and how well each fits.

Notable:
- Pictures go in parts of PART; each part's captions and verdicts are stored as soon as they are there, with what
  made them: a kill costs one part, and nothing is written or judged again while its inputs are the same.
- A caption is drawn from (seed, picture): it does not depend on the part or batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from blipvqa.bootstrapping.judging import Judges
from blipvqa.bootstrapping.members import Member
from blipvqa.captions.predictions import predict
from blipvqa.data.dataset import VQADataset
from blipvqa.data.splitting import SYNTHETIC
from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize, says_something
from blipvqa.training.stored import stored

PART = 1024  # pictures whose texts are stored together
WEB, HUMAN = "web", "human"  # where a text comes from, if it is not SYNTHETIC


class Candidate(TypedDict, total=False):
    """A text of a picture: one line of `texts-<round>.jsonl`, with the further columns of its source row."""

    id: str  # of the source's row; a written one has that of the picture's first row, and a number
    image_id: str
    origin: str
    caption: str
    match: float  # how well it fits its picture, from 0 to 1, as `judging` says
    matching: float  # with `judge: both`, the filters' part of it, and the captioners'
    likelihood: float
    kept: bool
    unfinished: bool  # of a written one: it stops at `caption.max_length`


def parts_of(dataset: VQADataset) -> Iterator[VQADataset]:
    """The rows of PART pictures after the other."""
    pictures = list(rows_by(row["image_id"] for row in dataset.rows).values())
    for first in range(0, len(pictures), PART):
        yield dataset.chosen([row for rows in pictures[first : first + PART] for row in rows])


def candidates(
    dataset: VQADataset,
    captioners: Sequence[Member],
    judges: Judges,
    folder: Path,
    prefix: str,
    captions: int = 1,
    progress: bool = True,
) -> list[Candidate]:
    """Every text of every picture, each with its `match`; what models say is kept in `folder`, under `prefix`."""
    parts = list(parts_of(dataset))
    written: list[list[Candidate]] = [[] for _ in parts]
    for number, captioner in enumerate(captioners):  # one model at a time in memory
        for i, part in enumerate(parts):
            for draw in range(captions):
                name = f"{prefix}-written-{number}-{draw}-part{i}"
                written[i] += _written(captioner, part, draw, folder, name, progress)
        captioner.let_go()
    texts = [_web(part) + _distinct(some) for part, some in zip(parts, written, strict=True)]
    pairs = [[(text["image_id"], text["caption"]) for text in of_part] for of_part in texts]

    def name_of(kind: str, number: int, part: int) -> str:
        return f"{prefix}-{kind}-{number}-part{part}"

    judged = judges(list(zip(parts, pairs, strict=True)), folder, name_of, progress)
    return [
        {**text, **said}
        for of_part, words in zip(texts, judged, strict=True)
        for text, said in zip(of_part, words, strict=True)
    ]


def origin_of(row: Mapping, otherwise: str) -> str:
    """Where a source's text comes from: SYNTHETIC where its own column says so, as that of an earlier bootstrap."""
    return SYNTHETIC if row.get("origin") == SYNTHETIC else otherwise


def _web(part: VQADataset) -> list[Candidate]:
    return [Candidate({**row, "origin": origin_of(row, WEB)}) for row in part.rows]


def _written(
    captioner: Member, part: VQADataset, draw: int, folder: Path, name: str, progress: bool
) -> list[Candidate]:
    """One caption of each picture; of an empty one nothing is left."""
    config = captioner.config.model_copy(update={"seed": captioner.config.seed + 1000 * draw})
    settings = config.caption.model_dump(mode="json", exclude={"terms", "max_words", "max_tokens"})
    made_by = captioner.made_by(part) | {"caption": settings, "seed": config.seed if config.caption.sample else None}

    def write() -> list[dict]:
        model, processor = captioner.models.load()
        rows = predict(model, processor, captioner.pictures(part), config, progress)
        return [
            {"image_id": row["image_id"], "caption": row["prediction"], "unfinished": row["unfinished"]} for row in rows
        ]

    first = {row["image_id"]: row for row in reversed(part.rows)}
    return [
        Candidate({**first[row["image_id"]], "origin": SYNTHETIC} | row)
        for row in stored(folder, name, made_by, write)
        if says_something(row["caption"])
    ]


def _distinct(texts: list[Candidate]) -> list[Candidate]:
    """Each text of a picture once, with an id of its own."""
    distinct = rows_by((text["image_id"], normalize(text["caption"])) for text in texts)
    numbers: dict[str, int] = {}
    chosen = []
    for rows in distinct.values():
        text = texts[rows[0]]
        numbers[text["image_id"]] = number = numbers.get(text["image_id"], -1) + 1
        chosen.append(Candidate(text | {"id": f"{text['id']}/{SYNTHETIC}-{number}"}))
    return chosen
