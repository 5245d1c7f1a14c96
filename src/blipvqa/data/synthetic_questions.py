"""What the drawn pictures contain, and what may be asked about them.

Notable:
- A `Scene` is the truth behind one picture: at most one object in each quadrant, so that "where is the
  gland?" has one answer.
- Nothing can be answered without looking. The scene fixes the answer, the wording is drawn afterwards, and
  every choice is symmetric between the answers: neither the words nor the object that they name give it away.
- Half of a picture's questions are yes/no questions, as in PathVQA, whose first words (is, does, are, what,
  which, where, how) these questions share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from blipvqa.config.synthetic_knobs import STAINS

Box = tuple[float, float, float, float]  # left, top, right, bottom: fractions of the picture's width, height
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

PLACES = ("upper left", "upper right", "lower left", "lower right")
SIDES = ("left", "upper")  # with the opposites too, a small model learns the rows by heart before the rule
PIGMENTS = ("brown", "black")
NUMBERS = {1: "one", 2: "two", 3: "three"}

KINDS = {  # what a question calls one of them, and several
    "gland": ("a gland", "glands"),
    "vessel": ("a vessel", "vessels"),
    "calcification": ("a calcification", "calcifications"),
    "pigment": ("pigment", "pigment granules"),
    "fat": ("fat", "fat vacuoles"),
}
COUNTED = ("gland", "vessel", "calcification")  # the others are clusters, of which nobody would count two

WORDINGS = {  # form: its paraphrases
    "presence": (
        "is {one} present?",
        "is there {one} in the picture?",
        "does the tissue contain {one}?",
        "does the picture show {one}?",
        "are there any {several}?",
    ),
    "side": (
        "is the {kind} in the {side} half?",
        "is the {kind} located in the {side} half of the picture?",
        "does the {kind} lie in the {side} half?",
    ),
    "crowding": (
        "is the tissue rich in nuclei?",
        "are the nuclei densely packed?",
        "are there many nuclei?",
        "does the tissue contain many nuclei?",
    ),
    "structure": (
        "what is seen in the {place}?",
        "what is present in the {place} quadrant?",
        "what does the {place} show?",
        "which structure is in the {place}?",
    ),
    "location": (
        "where is the {kind}?",
        "where is the {kind} located?",
        "where does the {kind} lie?",
        "which quadrant contains the {kind}?",
    ),
    "count": (
        "how many {several} are there?",
        "how many {several} are present?",
        "how many {several} does the picture show?",
    ),
    "cellularity": (
        "how cellular is the tissue?",
        "how are the nuclei distributed?",
        "how is the cellularity of the tissue?",
    ),
    "stain": (
        "what stain was used?",
        "what is the stain of this section?",
        "which stain is shown?",
        "which stain was applied to the tissue?",
    ),
    "colour": (
        "what colour is the pigment?",
        "what is the colour of the pigment?",
        "which colour does the pigment have?",
    ),
}


class Question(TypedDict):
    """One row of the data, but for its image."""

    question: str
    answer: str
    topic: str  # what the question is about; eleven values
    box: list[float]  # as `Box`; the whole picture where the question is about all of it or what is not there


@dataclass(frozen=True)
class Scene:
    """The truth behind one picture."""

    stain: str
    crowded: bool  # nuclei densely packed, or sparse
    pigment: str  # the colour that pigment has, if there is any
    objects: dict[str, str]  # place: kind
    counted: str | None  # the kind whose number may be asked

    def places(self, kind: str) -> list[str]:
        """The quadrants in which `kind` lies."""
        return [place for place, there in self.objects.items() if there == kind]

    def kinds(self) -> list[str]:
        """The kinds that are there."""
        return [kind for kind in KINDS if kind in self.objects.values()]

    def alone(self) -> list[str]:
        """The kinds that are there once, so that "the gland" can only mean one."""
        return [kind for kind in KINDS if len(self.places(kind)) == 1]


def random_scene(rng: np.random.Generator, stains: Sequence[str] = STAINS) -> Scene:
    """Draw a scene of one to three kinds; in most scenes one kind is there up to three times, to be counted.

    The number of copies comes first and the kinds come independently of it, so that one, two and three are
    about equally frequent, and each kind is as likely to be there as any other.
    """
    copies = int(rng.integers(0, 4))  # 0: all alone, and none is counted
    kinds = _shuffled(rng, KINDS)[: rng.integers(1, min(3, 5 - copies) + 1)]
    counted = next((kind for kind in kinds if kind in COUNTED), None) if copies else None
    objects = kinds + [counted] * (copies - 1) if counted else kinds
    places = _shuffled(rng, PLACES)
    return Scene(
        stain=_pick(rng, stains),
        crowded=bool(rng.integers(2)),
        pigment=_pick(rng, PIGMENTS),
        objects=dict(zip(places, objects, strict=False)),  # the places left over stay empty
        counted=counted,
    )


def questions_about(scene: Scene, boxes: dict[str, Box], rng: np.random.Generator) -> list[Question]:
    """Ask six to eight questions about a scene, half of them yes/no, in random order and none twice.

    `boxes` holds the box of the object at each occupied place.
    """
    number = int(rng.integers(3, 5))
    questions = _yes_no(scene, boxes, rng)[:number] + _open(scene, boxes, rng)[:number]
    return _shuffled(rng, questions)


def _yes_no(scene: Scene, boxes: dict[str, Box], rng: np.random.Generator) -> list[Question]:
    """Three or four questions, the hardest to learn first; each form is answered by yes as often as by no."""
    here = _pick(rng, scene.kinds())
    absent = _pick(rng, [kind for kind in KINDS if kind not in scene.kinds()])
    questions = [
        _question(rng, "presence", "yes", here, _around(scene, boxes, here), kind=here),
        _question(rng, "presence", "no", absent, WHOLE, kind=absent),
    ]
    if scene.alone():
        kind, side = _pick(rng, scene.alone()), _pick(rng, SIDES)
        (place,) = scene.places(kind)
        answer = "yes" if side in place.split() else "no"
        questions.append(_question(rng, "side", answer, "location", boxes[place], kind=kind, side=side))
    crowding = _question(rng, "crowding", "yes" if scene.crowded else "no", "cellularity", WHOLE)
    return [*questions, crowding]


def _open(scene: Scene, boxes: dict[str, Box], rng: np.random.Generator) -> list[Question]:
    """Three to six questions, the hardest to learn first: what is where, then how many, then by chance."""
    kind = _pick(rng, scene.kinds())  # not a place: a kind with three copies would be the answer more often
    place = _pick(rng, scene.places(kind))
    questions = [_question(rng, "structure", kind, "structure", boxes[place], place=place)]
    if scene.alone():
        kind = _pick(rng, scene.alone())
        (place,) = scene.places(kind)
        questions.append(_question(rng, "location", place, "location", boxes[place], kind=kind))
    if scene.counted:
        number, box = len(scene.places(scene.counted)), _around(scene, boxes, scene.counted)
        questions.append(_question(rng, "count", NUMBERS[number], "count", box, kind=scene.counted))
    easy = [
        _question(rng, "cellularity", "dense" if scene.crowded else "sparse", "cellularity", WHOLE),
        _question(rng, "stain", scene.stain, "stain", WHOLE),
    ]
    if "pigment" in scene.kinds():
        easy.append(_question(rng, "colour", scene.pigment, "colour", _around(scene, boxes, "pigment")))
    return questions + _shuffled(rng, easy)


def _question(rng, form: str, answer: str, topic: str, box: Box, *, kind="", **slots: str) -> Question:
    """Word a question of one form; the answer has no say in which paraphrase it is."""
    one, several = KINDS.get(kind, ("", ""))
    wording = _pick(rng, WORDINGS[form]).format(kind=kind, one=one, several=several, **slots)
    return Question(question=wording, answer=answer, topic=topic, box=list(box))


def _around(scene: Scene, boxes: dict[str, Box], kind: str) -> Box:
    """The box round all objects of a kind that is there."""
    left, top, right, bottom = zip(*(boxes[place] for place in scene.places(kind)), strict=True)
    return min(left), min(top), max(right), max(bottom)


def _pick(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def _shuffled(rng: np.random.Generator, options) -> list:
    options = list(options)
    return [options[i] for i in rng.permutation(len(options))]
