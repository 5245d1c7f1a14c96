"""Statements about two drawn pictures: true or false, and mostly open to who sees one picture alone.

Notable:
- Whether a statement is true is drawn first, each as likely, and then the thing that it names: neither its words nor
  the thing give it away. A statement that the pair could not make both true and false is left out.
- Who sees one picture knows nothing of "only one", of what is the same and of the other picture, and can be right three
  times in four where both or neither show something. A model learns what one picture shows first, and needs it.
- `label_swapped` says what is right where the pictures change places and the words do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np

from blipvqa.data.synthetic_questions import KINDS, Scene

SIDES = ("first", "second")
WORDINGS = {
    "one": ("the {side} picture shows {one}", "there is {one} in the {side} picture"),
    "both": ("both pictures show {one}", "there is {one} in both pictures"),
    "neither": ("neither picture shows {one}", "there is {one} in neither picture"),
    "only one": ("only one of the pictures shows {one}", "there is {one} in only one of the pictures"),
    "which": ("only the {side} picture shows {one}", "there is {one} in the {side} picture only"),
    "same stain": ("both pictures have the same stain", "the stain is the same in both pictures"),
    "same nuclei": ("both pictures have about as many nuclei", "nuclei are as dense in both pictures"),
    "more nuclei": ("the {side} picture has more nuclei", "nuclei are denser in the {side} picture"),
}
State = tuple[bool, bool]  # of the first and the second picture
SIDES_OF = {(True, False): 0, (False, True): 1}  # which one has it alone


class Statement(TypedDict):
    """One row of the data, but for its pictures."""

    sentence: str
    label: str  # "true" or "false"
    label_swapped: bool
    topic: str  # one of WORDINGS


RULES: dict[
    str, Callable[[State, int], bool]
] = {  # whether a state of a pair makes a statement true; which side it names
    "one": lambda state, side: state[side],
    "both": lambda state, _side: all(state),
    "neither": lambda state, _side: not any(state),
    "only one": lambda state, _side: state[0] != state[1],
    "which": lambda state, side: state[side] and not state[1 - side],
    "same stain": lambda state, _side: state[0] == state[1],
    "same nuclei": lambda state, _side: state[0] == state[1],
    "more nuclei": lambda state, side: state[side] and not state[1 - side],
}
NEAR = {"both": any, "neither": lambda state: not all(state)}  # states that a false one is of, or one picture told all


def statements_about(first: Scene, second: Scene, rng: np.random.Generator) -> list[Statement]:
    """Five to nine statements about a pair, in random order."""
    things = {kind: (kind in first.kinds(), kind in second.kinds()) for kind in KINDS}
    drawn = [_of_things(topic, things, rng) for topic in ("one", "one", "both", "neither", "only one", "which")]
    stains, nuclei = (True, first.stain == second.stain), (first.crowded, second.crowded)
    drawn += [_of_state("same stain", stains, rng), _of_state("same nuclei", nuclei, rng)]
    if first.crowded != second.crowded:
        more = SIDES_OF[nuclei]
        drawn.append(_of_state("more nuclei", nuclei, rng, more if rng.random() < 0.75 else 1 - more))
    elif rng.integers(2):  # so often that half of these statements are true
        drawn.append(_of_state("more nuclei", nuclei, rng))
    distinct = {statement["sentence"]: statement for statement in drawn if statement}
    return [list(distinct.values())[i] for i in rng.permutation(len(distinct))]


def _of_things(topic: str, things: dict[str, State], rng: np.random.Generator) -> Statement | None:
    side, true, rule = int(rng.integers(2)), bool(rng.integers(2)), RULES[topic]
    near = NEAR.get(topic, lambda _state: True)
    by_state: dict[State, list[str]] = {}
    for kind, state in things.items():
        by_state.setdefault(state, []).append(kind)
    sides = [[state for state in by_state if near(state) and rule(state, side) == wished] for wished in (False, True)]
    if not all(sides):  # or one of the two would be the better guess
        return None
    state = sides[true][rng.integers(len(sides[true]))]
    kind = by_state[state][rng.integers(len(by_state[state]))]
    return _statement(topic, state, side, rng, one=KINDS[kind][0])


def _of_state(topic: str, state: State, rng: np.random.Generator, side: int | None = None) -> Statement:
    return _statement(topic, state, int(rng.integers(2)) if side is None else side, rng)


def _statement(topic: str, state: State, side: int, rng: np.random.Generator, one: str = "") -> Statement:
    wordings, rule = WORDINGS[topic], RULES[topic]
    return Statement(
        sentence=wordings[rng.integers(len(wordings))].format(one=one, side=SIDES[side]),
        label="true" if rule(state, side) else "false",
        label_swapped=rule(state[::-1], side),
        topic=topic,
    )
