"""Wrong captions among the drawn ones, as those of the web are: of another picture, or with one fact exchanged.

Notable:
- A wrong caption is worded as it would have been, with its things in reading order: nothing but the picture tells it
  from a right one.
- Every wrong caption is false of its picture: whichever tells another picture tells one where something differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from blipvqa.data.synthetic_captions import told
from blipvqa.data.synthetic_questions import KINDS, PLACES, STAINS, Scene

TRIES = 20  # pictures drawn until one shows something else
RIGHT, OTHER_PICTURE = "none", "other picture"  # values of the column `fault`; the others are names of FACTS


def spoil(rows: list[dict], share: float, seed: int) -> None:
    """Make this share of the captions wrong, drawn from `seed`; `rows` are of `synthetic_captions.captions_of`.

    Half of them get the caption of another picture, the others one fact exchanged. Each row gets `fault`, what is wrong
    with its caption, and `truth`, the caption as it was.
    """
    rng = np.random.default_rng([seed, len(rows)])
    for row in rows:
        row |= {"fault": RIGHT, "truth": row["caption"]}
    wrong = rng.permutation(len(rows))[: round(share * len(rows))]
    for number, i in enumerate(wrong.tolist()):
        row = rows[i]
        others = (rows[other] for other in rng.integers(len(rows), size=TRIES) if _differs(rows[other], row))
        other = next(others, None) if number % 2 else None
        if other is not None:
            row |= {"fault": OTHER_PICTURE, "caption": other["truth"]}
        else:
            fact = _pick(rng, list(FACTS))
            scene = FACTS[fact](row["scene"], rng)
            row |= {"fault": fact, "caption": told(scene, row["wording"])}


def _differs(one: dict, other: dict) -> bool:
    """Whether the caption of one row is false of the other's picture."""
    a, b = one["scene"], other["scene"]
    return (a.stain, a.crowded, a.objects) != (b.stain, b.crowded, b.objects)


def _stain(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, stain=_pick(rng, [stain for stain in STAINS if stain != scene.stain]))


def _cells(scene: Scene, _rng: np.random.Generator) -> Scene:
    return replace(scene, crowded=not scene.crowded)


def _kind(scene: Scene, rng: np.random.Generator) -> Scene:
    place = _pick(rng, list(scene.objects))
    kind = _pick(rng, [kind for kind in KINDS if kind != scene.objects[place]])
    return replace(scene, objects={**scene.objects, place: kind})


def _place(scene: Scene, rng: np.random.Generator) -> Scene:
    """A thing exchanges places with what lies in another quadrant: with nothing, or with another kind."""
    one = _pick(rng, list(scene.objects))
    other = _pick(rng, [place for place in PLACES if scene.objects.get(place) != scene.objects[one]])
    moved = {place: {one: other, other: one}.get(place, place) for place in PLACES}
    return replace(scene, objects={moved[place]: kind for place, kind in scene.objects.items()})


FACTS: dict[str, Callable[[Scene, np.random.Generator], Scene]] = {
    "stain": _stain,
    "cells": _cells,
    "kind": _kind,
    "place": _place,
}


def _pick(rng: np.random.Generator, options: list):
    return options[rng.integers(len(options))]
