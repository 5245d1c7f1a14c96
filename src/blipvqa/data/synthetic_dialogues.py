"""Conversations about the drawn pictures, in which later questions refer to what was spoken of before.

Notable:
- A conversation brings one thing up ("what is in the upper left?", "is there a gland?"), and then speaks of "it": of
  where it is, of its colour, of what lies beside it, which then is "it". A follow-up alone does not say of which of
  the three things it asks, and whatever was asked before, all of them can be meant.
- Two conversations a picture begin with different things: one follow-up has two answers, by its conversation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blipvqa.data.history import Turn
from blipvqa.data.synthetic_questions import KINDS, PIGMENTS, PLACES, STAINS, WHOLE, WORDINGS, Box, Scene

THINGS = 3  # in a picture, each another kind: one quadrant is empty, and two kinds are not there
FOLLOW_UPS = 3  # in a conversation
CONVERSATIONS = 2  # about a picture
NOTHING = "nothing"
GLANDS = dict(zip(STAINS, ("pink", "magenta", "blue", "grey"), strict=True))  # the colour of their walls
COLOURS = {"vessel": "red", "calcification": "violet", "fat": "white"}
FOLLOWING = {  # form: its wording
    "where": "where is it?",
    "half": "is it in the {side} half?",
    "colour": "what colour is it?",
    "beside": "what is beside it?",
    "over": "what is above or below it?",
}
SIDES = ("left", "upper")


def dialogue_scene(rng: np.random.Generator) -> Scene:
    """Three things of different kinds in three quadrants."""
    kinds, places = _shuffled(rng, KINDS)[:THINGS], _shuffled(rng, PLACES)
    objects = dict(zip(places, kinds, strict=False))
    return Scene(_pick(rng, STAINS), bool(rng.integers(2)), _pick(rng, PIGMENTS), objects, None)


def dialogues_about(scene: Scene, boxes: dict[str, Box], rng: np.random.Generator) -> list[dict]:
    """The questions of two conversations, each with `history`, the turns before it, and `turn`, its number."""
    rows = []
    for place in _shuffled(rng, scene.objects)[:CONVERSATIONS]:
        history: list[Turn] = []
        for question, answer, topic, box in _conversation(scene, boxes, place, rng):
            row = {"question": question, "answer": answer, "topic": topic, "box": list(box)}
            rows.append(row | {"turn": str(len(history) + 1), "history": list(history)})
            history.append(Turn(question=question, answer=answer))
    return rows


def _conversation(
    scene: Scene, boxes: dict[str, Box], place: str, rng: np.random.Generator
) -> Iterator[tuple[str, str, str, Box]]:
    """Question, answer, topic and box of each turn of a conversation that brings up the thing at `place`."""
    kind, opening = scene.objects[place], _pick(rng, ("structure", "location", "presence"))
    if opening == "presence":  # as often no as yes
        for other in _shuffled(rng, [other for other in KINDS if other not in scene.kinds()])[: rng.integers(0, 3)]:
            yield _worded(rng, "presence", kind=other), "no", "presence", WHOLE
        yield _worded(rng, "presence", kind=kind), "yes", "presence", boxes[place]
    elif opening == "structure":
        yield _worded(rng, "structure", place=place), kind, "structure", boxes[place]
    else:
        yield _worded(rng, "location", kind=kind), place, "location", boxes[place]
    said = {"where", "half"} if opening != "presence" else set()  # what no longer needs the picture
    for _ in range(FOLLOW_UPS):
        form = _pick(rng, [form for form in FOLLOWING if form not in said])
        said.add(form)
        side = _pick(rng, SIDES)
        answer = _answer(scene, place, form, side)
        yield FOLLOWING[form].format(side=side), answer, form, boxes[place]
        if form in ("where", "half"):
            said |= {"where", "half"}
        elif form != "colour" and answer != NOTHING:  # now that is spoken of
            place = _neighbour(place, form)
            said = (said | {"where", "half"}) - {"colour"}


def _answer(scene: Scene, place: str, form: str, side: str) -> str:
    if form == "where":
        return place
    if form == "half":
        return "yes" if side in place.split() else "no"
    if form == "colour":
        colours = COLOURS | {"gland": GLANDS[scene.stain], "pigment": scene.pigment}
        return colours[scene.objects[place]]
    return scene.objects.get(_neighbour(place, form), NOTHING)


def _neighbour(place: str, form: str) -> str:
    """The quadrant beside a place, or that above or below it."""
    row, column = divmod(PLACES.index(place), 2)
    return PLACES[2 * row + 1 - column] if form == "beside" else PLACES[2 * (1 - row) + column]


def _worded(rng: np.random.Generator, form: str, kind: str = "", place: str = "") -> str:
    one, several = KINDS.get(kind, ("", ""))
    return _pick(rng, WORDINGS[form]).format(kind=kind, one=one, several=several, place=place)


def _pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def _shuffled(rng: np.random.Generator, options) -> list:
    options = list(options)
    return [options[i] for i in rng.permutation(len(options))]
