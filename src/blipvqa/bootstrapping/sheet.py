"""Pairs for a person to judge, where nobody knows which texts are right: a sheet of drawn ones, and what it says.

Half of the pairs are kept and half dropped, as far as there are so many: else a good filter would leave few of a kind.
Shares are told of kept and of dropped texts apart, so that no weights are needed. A sheet marks what a model wrote, and
does not show the filter's word: a person who knows it judges otherwise. It is read as long as the same texts are kept:
after another threshold those that were drawn as dropped would count among the kept ones, at another rate.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from blipvqa.bootstrapping.candidates import Candidate
from blipvqa.data.dataset import VQADataset
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_mean
from blipvqa.pages.spreadsheets import guard
from blipvqa.pages.verdicts import (
    DRAWN,
    drawn_otherwise,
    mark_of_strata,
    read_sheet,
    save_pictures,
    sheet_verdicts,
    write_sheet,
)

SHEET = "review-pairs.csv"
COLUMNS = ("id", "image", "caption", "origin", "verdict", DRAWN)
VERDICTS = {
    "match": "all that the text says is seen in the picture",
    "partly": "some of it is, and some is not, or nobody can say",
    "wrong": "the text does not belong to the picture, or says what is not there",
}


def write_pairs(
    folder: Path, texts: Sequence[Candidate], dataset: VQADataset, sample: int = 100, seed: int = 0
) -> Path:
    """Write `review-pairs.csv` of `sample` texts drawn from `seed`, and their pictures in `review-pairs/`.

    Verdicts of an existing file are carried over. Raises VerdictsError where one would be lost.
    """
    draw = random.Random(seed)
    kept, dropped = ([i for i, text in enumerate(texts) if text["kept"] == wanted] for wanted in (True, False))
    of_kept = min(len(kept), max(sample // 2, sample - len(dropped)))
    chosen = draw.sample(kept, of_kept) + draw.sample(dropped, min(len(dropped), sample - of_kept))
    draw.shuffle(chosen)
    pictures = {texts[i]["image_id"] for i in chosen}
    shown = dataset.chosen([i for i, row in enumerate(dataset.rows) if row["image_id"] in pictures])
    images = save_pictures(shown, folder, "pairs")
    mark = mark_of_strata(_kept(texts))
    rows = [
        {"id": guard(texts[i]["id"]), "image": images[texts[i]["image_id"]], "caption": guard(texts[i]["caption"])}
        | {"origin": texts[i]["origin"], "verdict": "", DRAWN: mark}
        for i in chosen
    ]
    return write_sheet(Path(folder) / SHEET, COLUMNS, rows, ("caption",))


def read_pairs(path: str | Path, texts: Sequence[Candidate], bootstrap: Bootstrap = BY_IMAGE) -> dict[str, Estimate]:
    """What a person's verdicts say: of kept and of dropped texts, the share that matches, and that matches or does so
    partly; `kept_match` is the filter's precision.

    Raises InputError, naming the sheet's row, for a verdict that is none of VERDICTS, an unknown or doubled id, a
    sheet without any verdict, and one that was drawn when other texts were kept.
    """
    by_id = {text["id"]: text for text in texts}
    sheet = read_sheet(path)
    verdicts = sheet_verdicts(sheet, by_id, VERDICTS, ("caption",))
    if not verdicts:
        raise InputError(f"{path} holds no verdict yet: write one of {', '.join(VERDICTS)} into the last column")
    if drawn_otherwise(sheet, _kept(texts)):
        raise InputError(
            f"{path} was drawn when other texts were kept: threshold, filter or data are others now, so that its "
            "shares of kept and of dropped texts would be of neither. Move it away, and draw another (write_pairs)"
        )
    shares = {}
    for name, wanted in (("kept", True), ("dropped", False)):
        judged = [by_id[row_id] for row_id in verdicts if by_id[row_id]["kept"] == wanted]
        groups = bootstrap.groups_of(judged)
        for verdict, accepted in (("match", ("match",)), ("match_or_partly", ("match", "partly"))):
            values = [verdicts[text["id"]] in accepted for text in judged]
            shares[f"{name}_{verdict}"] = estimate_mean(values, groups, bootstrap)
    return shares


def _kept(texts: Sequence[Candidate]) -> dict[str, bool]:
    return {text["id"]: text["kept"] for text in texts}
