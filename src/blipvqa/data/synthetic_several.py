"""Drawn rows of several pictures: pairs of pictures, and series of slices through one scene.

Notable:
- What one picture shows leaves the answer open: whether both show a gland, in which slice a vessel appears first.
- A kind of thing is asked about after its state in *both* pictures was drawn, each of the four as likely. In a series
  it is asked either when it appears or how often it is there, and that is what is drawn evenly.
- A series is one tissue. Each thing keeps its place and its shape, and grows or shrinks from slice to slice, always
  from the same size: or its first slice would tell which (a model of the first slices alone was right 76 times in 100).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypedDict

import numpy as np
from PIL import Image

from blipvqa.data.synthetic_drawing import draw_scene, draw_slices
from blipvqa.data.synthetic_questions import KINDS, PIGMENTS, PLACES, STAINS, Scene, random_scene

SLICES = 4
WHICH = {(True, False): "the first", (False, True): "the second", (True, True): "both", (False, False): "neither"}
ORDER = ("the first", "the second", "the third", "the fourth")
NUMBERS = ("one", "two", "three", "four")
BEGINS, GROWN, SHRUNK = 0.63, 1.0, 0.4  # of its full size: a thing where it is seen first, and last

WORDINGS = {
    "which picture": ("which picture shows {one}?", "in which picture is {one} present?"),
    "both": ("do both pictures show {one}?", "is {one} present in both pictures?"),
    "only one": ("does only one of the pictures show {one}?", "is {one} present in only one of the pictures?"),
    "same stain": ("do both pictures have the same stain?", "is the stain the same in both pictures?"),
    "more nuclei": ("which picture has more nuclei?", "in which picture are there more nuclei?"),
    "nuclei second": ("does the second picture have more nuclei?", "are there more nuclei in the second picture?"),
    "appears": ("in which slice does the {kind} appear first?", "which slice is the first to show the {kind}?"),
    "slices": ("how many slices show the {kind}?", "in how many slices is the {kind} present?"),
    "grows": ("does the {kind} grow from slice to slice?", "is the {kind} larger in later slices?"),
}


class Question(TypedDict):
    """One row of the data, but for its pictures."""

    question: str
    answer: str
    topic: str  # one of WORDINGS


def random_pictures(
    kind: Literal["pairs", "series"], size: int, rng: np.random.Generator
) -> tuple[list[Image.Image], list[Question]]:
    """The pictures of a pair or of a series, `size` pixels a side, and what is asked about them."""
    return _pair(size, rng) if kind == "pairs" else _series(size, rng)


# ------------------------------------------------------------------------------------------------ pairs


def draw_pair(size: int, rng: np.random.Generator) -> tuple[tuple[Scene, Scene], list[Image.Image]]:
    """Two scenes, of one stain as often as of two, and their pictures, `size` pixels a side."""
    first, second = random_scene(rng), random_scene(rng)
    stain = first.stain if rng.integers(2) else _one_of(rng, [stain for stain in STAINS if stain != first.stain])
    second = replace(second, stain=stain)
    return (first, second), [draw_scene(scene, size, rng)[0] for scene in (first, second)]


def _pair(size: int, rng: np.random.Generator) -> tuple[list[Image.Image], list[Question]]:
    (first, second), pictures = draw_pair(size, rng)
    states: dict[tuple[bool, bool], list[str]] = {}  # in which of the pictures each kind is
    for kind in KINDS:
        states.setdefault((kind in first.kinds(), kind in second.kinds()), []).append(kind)
    questions = []
    for state in _some(rng, list(states), 3):
        questions.append(_question(rng, "which picture", WHICH[state], _one_of(rng, states[state])))
    for form, right in (("both", [(True, True)]), ("only one", [(True, False), (False, True)])):
        sides = [[state for state in states if any(state) and (state in right) == true] for true in (True, False)]
        if all(sides):  # or no would be the better guess
            true = bool(rng.integers(2))
            kind = _one_of(rng, states[_one_of(rng, sides[0 if true else 1])])
            questions.append(_question(rng, form, "yes" if true else "no", kind))
    questions.append(_question(rng, "same stain", "yes" if first.stain == second.stain else "no"))
    more = "neither" if first.crowded == second.crowded else "the first" if first.crowded else "the second"
    questions.append(_question(rng, "more nuclei", more))
    if first.crowded != second.crowded:
        questions.append(_question(rng, "nuclei second", "yes" if second.crowded else "no"))
    return pictures, _some(rng, questions, len(questions))


# ------------------------------------------------------------------------------------------------ series


def _series(size: int, rng: np.random.Generator) -> tuple[list[Image.Image], list[Question]]:
    stain, pigment, crowded = _one_of(rng, STAINS), _one_of(rng, PIGMENTS), bool(rng.integers(2))
    kinds, places = _some(rng, list(KINDS), int(rng.integers(2, 4))), _some(rng, list(PLACES), len(PLACES))
    sizes: dict[str, list[float]] = {}  # of the thing at each place, in each slice; 0 where it is not seen
    questions = []
    for kind, place in zip(kinds, places, strict=False):
        asked = _one_of(rng, ("appears", "slices"))
        begin, end = _interval(asked, rng)
        grows = bool(rng.integers(2))
        seen = np.geomspace(BEGINS, GROWN if grows else SHRUNK, end - begin)
        sizes[place] = [0.0] * begin + seen.tolist() + [0.0] * (SLICES - end)
        answer = ORDER[begin] if asked == "appears" else NUMBERS[end - begin - 1]
        questions.append(_question(rng, asked, answer, kind))
        if end - begin > 1:
            questions.append(_question(rng, "grows", "yes" if grows else "no", kind))
    objects = dict(zip(places, kinds, strict=False))
    scene = Scene(stain, crowded, pigment, objects, None)
    return draw_slices(scene, sizes, size, rng), _some(rng, questions, len(questions))


def _interval(asked: str, rng: np.random.Generator) -> tuple[int, int]:
    """The slices that show a thing: from `begin`, counted from 0, to `end`, which does not.

    What is asked is drawn first, its first slice or how many there are, so that no answer is a good guess.
    """
    if asked == "appears":
        begin = int(rng.integers(SLICES))
        return begin, int(rng.integers(begin + 1, SLICES + 1))
    count = int(rng.integers(1, SLICES + 1))
    begin = int(rng.integers(SLICES - count + 1))
    return begin, begin + count


def _question(rng: np.random.Generator, form: str, answer: str, kind: str = "") -> Question:
    one = KINDS[kind][0] if kind else ""
    return Question(question=_one_of(rng, WORDINGS[form]).format(kind=kind, one=one), answer=answer, topic=form)


def _one_of(rng: np.random.Generator, options):
    return options[rng.integers(len(options))]


def _some(rng: np.random.Generator, options: list, count: int) -> list:
    return [options[i] for i in rng.permutation(len(options))[:count]]
