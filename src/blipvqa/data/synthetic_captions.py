"""Captions of the drawn pictures: stain, cellularity and what lies where, in two wordings a picture.

Notable:
- Everything that a caption says is seen in the picture; the wording is drawn without a look at it.
- A thing and its place stand side by side ("an upper left gland"), so that whether a caption names both rightly is a
  matter of its words: `TERMS` lists them.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from blipvqa.data.synthetic_questions import KINDS, PLACES, STAINS, Scene

WORDINGS = (
    "{cells} tissue in {stain} stain with {things}",
    "{stain} stain of {cells} tissue showing {things}",
    "section with {things} in {cells} tissue and {stain} stain",
)
CELLS = ("sparse", "dense")
TERMS = {
    **{term: () for term in (*STAINS, *CELLS)},
    **{f"{place} {kind}": () for place in PLACES for kind in KINDS},
}


ASKED = "what does the picture show?"


class Caption(TypedDict):
    """One row of the data, but for its image."""

    caption: str
    stain: str
    things: str  # how many there are: an axis of the metrics
    scene: Scene  # what was drawn, and by which of WORDINGS it is told: no columns of the file
    wording: int


def captions_of(scene: Scene, rng: np.random.Generator) -> list[Caption]:
    """Two captions of a scene, of different wording."""
    things = str(len(scene.objects))
    return [
        Caption(caption=told(scene, wording), stain=scene.stain, things=things, scene=scene, wording=wording)
        for wording in rng.permutation(len(WORDINGS))[:2].tolist()
    ]


def description(scene: Scene, rng: np.random.Generator) -> dict:
    """A row of the question what the picture shows, which either caption answers."""
    one, other = captions_of(scene, rng)
    answers = [one["caption"], other["caption"]]
    return {"question": ASKED, "answers": answers, "stain": one["stain"], "things": one["things"]}


def told(scene: Scene, wording: int) -> str:
    """The caption of a scene in one of WORDINGS; things are listed in reading order."""
    phrases = [_phrase(place, scene.objects[place]) for place in PLACES if place in scene.objects]
    things = " and ".join(filter(None, (", ".join(phrases[:-1]), phrases[-1])))
    return WORDINGS[wording].format(cells=CELLS[scene.crowded], stain=scene.stain, things=things)


def _phrase(place: str, kind: str) -> str:
    article = "" if KINDS[kind][0] == kind else "an " if place[0] == "u" else "a "  # pigment and fat take none
    return f"{article}{place} {kind}"
