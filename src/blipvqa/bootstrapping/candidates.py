"""The texts of each picture, from the source and written by captioners, and how surely the filters call each a match.

Notable:
- Pictures go in parts of PART; each part's captions and probabilities are stored as soon as they are there, with what
  made them: a kill costs one part, and nothing is written or judged again while its inputs are the same.
- A caption is drawn from (seed, picture): it does not depend on the part or batch.
- Several filters judge by the mean of their probabilities, softmax of ITM's two logits, text first by [ENC].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from blipvqa.captions.predictions import predict
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import ImageStore
from blipvqa.data.splitting import SYNTHETIC
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.loading import load_processor
from blipvqa.models.tokenizer import captions_cut
from blipvqa.numbers.grouping import rows_by
from blipvqa.retrieval.batches import text_tokens
from blipvqa.retrieval.encoding import EncodedPictures, match
from blipvqa.runs.run import Run
from blipvqa.text import normalize, says_something
from blipvqa.training.stored import ModelsOfRun, content_digest, stored

PART = 1024  # pictures whose texts are stored together
WEB, HUMAN = "web", "human"  # where a text comes from, if it is not SYNTHETIC


class Candidate(TypedDict, total=False):
    """A text of a picture: one line of `texts-<round>.jsonl`, with the further columns of its source row."""

    id: str  # of the source's row; a written one has that of the picture's first row, and a number
    image_id: str
    origin: str
    caption: str
    match: float  # the filters' probability that it belongs to its picture
    kept: bool
    unfinished: bool  # of a written one: it stops at `caption.max_length`


class Member:
    """A trained captioner or filter, loaded when it is first needed."""

    def __init__(self, config: Config, splits: Mapping[str, VQADataset]):
        self.config, self.models = config, ModelsOfRun(config, Run(config.folder), splits)

    def pictures(self, dataset: VQADataset) -> VQADataset:
        """The same rows with pixels of this member's size."""
        data, size = self.config.data, self.config.model.image_size
        store = ImageStore(project_path(data.cache_dir) / "images", size, data.cache_gigabytes)
        return dataset.stored_in(store)

    def longer_than_read(self, texts: Sequence[str]) -> int:
        """How many texts this filter reads the beginning of only."""
        tokenizer = load_processor(str(self.models.run.model_folder)).tokenizer
        return sum(captions_cut(tokenizer, texts, self.config.retrieval.max_words, self.config.retrieval.max_tokens))

    def made_by(self, dataset: VQADataset) -> dict:
        """What its words depend on, the settings of writing or judging aside."""
        return self.models.made_by() | {"image_ids": content_digest([row["image_id"] for row in dataset.rows])}


def parts_of(dataset: VQADataset) -> Iterator[VQADataset]:
    """The rows of PART pictures after the other."""
    pictures = list(rows_by(row["image_id"] for row in dataset.rows).values())
    for first in range(0, len(pictures), PART):
        yield dataset.chosen([row for rows in pictures[first : first + PART] for row in rows])


def candidates(
    dataset: VQADataset,
    captioners: Sequence[Member],
    filters: Sequence[Member],
    folder: Path,
    prefix: str,
    captions: int = 1,
    progress: bool = True,
) -> list[Candidate]:
    """Every text of every picture, each with its `match`; what models say is kept in `folder`, under `prefix`."""
    texts: list[Candidate] = []
    parts = list(parts_of(dataset))
    written: list[list[Candidate]] = [[] for _ in parts]
    for number, captioner in enumerate(captioners):  # one model at a time in memory
        for i, part in enumerate(parts):
            for draw in range(captions):
                name = f"{prefix}-written-{number}-{draw}-part{i}"
                written[i] += _written(captioner, part, draw, folder, name, progress)
    judged = [_web(part) + _distinct(some) for part, some in zip(parts, written, strict=True)]
    matches: list[list[list[float]]] = [[] for _ in parts]
    for number, one in enumerate(filters):
        for i, (part, some) in enumerate(zip(parts, judged, strict=True)):
            matches[i].append(_matches(one, part, some, folder, f"{prefix}-match-{number}-part{i}", progress))
    for some, by_filter in zip(judged, matches, strict=True):
        texts += [{**text, "match": match} for text, match in zip(some, mean_match(by_filter), strict=True)]
    return texts


def mean_match(by_filter: Sequence[Sequence[float]]) -> list[float]:
    """What several filters say together of each pair."""
    return [round(float(match), 6) for match in np.mean(by_filter, axis=0)]


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


def _matches(
    one: Member, part: VQADataset, texts: Sequence[Candidate], folder: Path, name: str, progress: bool
) -> list[float]:
    pictures = {row["image_id"]: i for i, row in reversed(list(enumerate(part.rows)))}
    pairs = [(text["image_id"], text["caption"]) for text in texts]
    made_by = one.made_by(part) | {"pairs": content_digest(pairs), "retrieval": reading(one.config)}

    def judge() -> list[dict]:
        return [{"match": p} for p in match_pairs(one, part, list(pictures.values()), pairs, progress)]

    return [row["match"] for row in stored(folder, name, made_by, judge)]


def reading(config: Config) -> dict:
    """How much of a text a filter reads."""
    return {"max_words": config.retrieval.max_words, "max_tokens": config.retrieval.max_tokens}


@torch.no_grad()
def match_pairs(
    one: Member, dataset: VQADataset, picture_rows: list[int], pairs: Sequence[tuple[str, str]], progress: bool
) -> list[float]:
    """ITM's probability of a match of each pair of an image id and a text; `picture_rows` are a row of each picture."""
    model, processor = one.models.load()
    device = pick_device()
    pin_number_formats(device)
    model.to(device).eval()
    sized = one.pictures(dataset)
    number = {dataset.rows[row]["image_id"]: i for i, row in enumerate(picture_rows)}
    numbered = np.array([(number[image_id], i) for i, (image_id, _) in enumerate(pairs)])
    order = np.argsort(numbered[:, 0], kind="stable")  # a picture's texts side by side
    with autocast(prediction_precision(one.config, device), device):
        encoded = EncodedPictures(
            model,
            lambda numbers: torch.stack([sized.pixels(picture_rows[i]) for i in numbers]),
            len(picture_rows),
            one.config.generate.batch_size,
            f"encode {dataset.split}" if progress else None,
        )
        tokens = text_tokens(processor.tokenizer, [text for _, text in pairs], one.config.retrieval)
        logits = match(model, encoded, tokens, numbered[order], f"match {dataset.split}" if progress else None)
    probabilities = np.empty(len(pairs))
    probabilities[order] = torch.from_numpy(logits).softmax(-1)[:, 1].numpy()
    return [round(float(p), 6) for p in probabilities]
