"""How much of a score needs the picture: the same questions with another picture in its place, and with a blank one.

Notable:
- The exchange is the test, the blank picture a detail: grey is a picture that no model ever saw, and answers change
  under it for that reason alone.
- Visual Reliance Score: exact match with the own picture minus that with another one. Image Sensitivity: the share of
  answers that change. Both with 95 % intervals over images, in pairs.
- `verdict` says in words what follows, by a rule on these intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import Bootstrap, Estimate, estimate_mean
from blipvqa.numbers.comparison import Difference, compare_counts
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.wording import interval, number, share
from blipvqa.text import same_text
from blipvqa.vqa.answers import Prediction, agree, answered_right, question_type
from blipvqa.vqa.exchange import of_several
from blipvqa.vqa.measures import MEASURES, counts
from blipvqa.vqa.scores import score

SMALL_RELIANCE = 0.05  # an exact match that the picture adds surely less to does not need it
SMALL_SENSITIVITY = 0.10  # nor do answers of which surely fewer change with it
FEWEST_IMAGES = 30  # with fewer, an interval that lies close to 0 is too narrow to be believed
LOOKS, CANNOT_TELL, DOES_NOT_LOOK = "looks", "cannot tell", "does not look"
SENTENCES = {
    LOOKS: "The model looks at its pictures",
    CANNOT_TELL: "Whether the model looks at its pictures, these questions cannot tell",
    DOES_NOT_LOOK: "The model does not look at its pictures",
}


class Verdict(TypedDict):
    """Whether the model looks at its pictures."""

    verdict: str  # LOOKS, CANNOT_TELL or DOES_NOT_LOOK
    why: str  # the numbers that say so, in a sentence


def grounding(
    own: list[Prediction],
    blank: list[Prediction],
    exchanged: list[Prediction] | None,
    bootstrap: Bootstrap,
    of_parts: Mapping[str, list[Prediction]] | None = None,
) -> dict:
    """The scores without the right picture, what that costs (paired, over images), and how often answers change.

    `exchanged` (see `exchange.as_exchanged`) is None where the split has a single image: its numbers are then None.
    `of_parts` are predictions on the rows with several pictures, one of which was dropped or exchanged
    (`exchange.PARTS`); their names stand beside "blank" and "shuffled".
    Returns {"verdict": Verdict, "blank", "shuffled" (the exchange): {"overall", "by"} as of `score`,
    "gap": {"blank", "shuffled": Difference in exact match}, "sensitivity": {…: Estimate},
    "followed", "stayed": Estimate, see `followed`,
    "changed": {…: share of answers}, "changed_by": {…: {question type: share}}}.
    """
    parts: dict = {"gap": {}, "sensitivity": {}, "changed": {}, "changed_by": {}}
    several = [own[i] for i in of_several(own)]
    compared = {"blank": (own, blank), "shuffled": (own, exchanged)}
    compared |= {name: (several, predictions) for name, predictions in (of_parts or {}).items()}
    for name, (before, after) in compared.items():
        before, after = (before, after) if after is not None else ([], [])
        scores = score(after, bootstrap=bootstrap)
        parts[name] = {key: scores[key] for key in ("overall", "by")}
        parts["gap"][name], parts["sensitivity"][name], changed = without(before, after, bootstrap)
        parts["changed"][name] = parts["sensitivity"][name]["value"]
        kinds = rows_by(question_type(row["question"]) for row in before)
        parts["changed_by"][name] = {
            kind: sum(changed[i] for i in rows) / len(rows) for kind, rows in sorted(kinds.items())
        }
    parts |= followed(own, exchanged or [], bootstrap)
    images = len(np.unique(bootstrap.groups_of(own)))
    return {"verdict": verdict(parts["gap"]["shuffled"], parts["sensitivity"]["shuffled"], images)} | parts


def without(
    before: Sequence[Prediction], after: Sequence[Prediction], bootstrap: Bootstrap
) -> tuple[Difference, Estimate, list[bool]]:
    """What exact match loses from `after`, without something, to `before`, with it; the share of answers that change;
    and which do. In pairs."""
    groups = bootstrap.groups_of(before)
    everything = [np.arange(len(before))]
    (gap,) = compare_counts(counts(after), counts(before), groups, everything, MEASURES, ["exact_match"], bootstrap)
    pairs = zip(before, after, strict=True)
    changed = [not same_text(one["prediction"], other["prediction"]) for one, other in pairs]
    return gap["exact_match"], estimate_mean(changed, groups, bootstrap), changed


def followed(own: Sequence[Prediction], exchanged: Sequence[Prediction], bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Of the questions that were answered right, and that what was put in place answers otherwise (`exchange.shown`):
    how often the answer follows it, and how often it stays."""
    contrasts = [
        (before, after)
        for before, after in zip(own, exchanged, strict=False)
        if after.get("shown_answer") is not None and not agree(before, _of_shown(after)) and answered_right(before)
    ]
    groups = bootstrap.groups_of([before for before, _ in contrasts])
    follows = [answered_right(_of_shown(after)) for _, after in contrasts]
    stays = [same_text(after["prediction"], before["prediction"]) for before, after in contrasts]
    return {"followed": estimate_mean(follows, groups, bootstrap), "stayed": estimate_mean(stays, groups, bootstrap)}


def _of_shown(after: Prediction) -> Prediction:
    """A prediction under the answers of what was shown; of older runs one alone is known."""
    return {**after, "answer": after["shown_answer"], "answers": after.get("shown_answers")}


def verdict(reliance: Difference, sensitivity: Estimate, images: int) -> Verdict:
    """Whether a model looks, from exact match and answers under exchanged pictures.

    It looks where the interval of its visual reliance lies above 0, on six images at least. It does not look where that
    is not so, and the interval of the reliance, from thirty images or more, ends below 0.05, or that of the image
    sensitivity below 0.10. Else these questions cannot tell, and `why` says how many images would.
    """
    if reliance["low"] is None or sensitivity["high"] is None:
        return {"verdict": CANNOT_TELL, "why": "there is no other picture to show, or there are no intervals"}
    if reliance["real"] and reliance["low"] > 0:
        word = LOOKS
    elif (images >= FEWEST_IMAGES and reliance["high"] < SMALL_RELIANCE) or sensitivity["high"] < SMALL_SENSITIVITY:
        word = DOES_NOT_LOOK
    else:
        word = CANNOT_TELL
    more = f"; some {_images_that_tell(reliance, images):,} images like these would tell" if word == CANNOT_TELL else ""
    return {
        "verdict": word,
        "why": f"with another picture in place of its own, exact match is {number(reliance, 'a')} instead of "
        f"{number(reliance, 'b')} ({number(reliance, 'difference', sign=True)} with its own, "
        f"{interval(reliance, sign=True)}), and {share(sensitivity['value'], 1)} of the answers change "
        f"({share(sensitivity['low'], 1)} to {share(sensitivity['high'], 1)}){more}",
    }


def _images_that_tell(reliance: Difference, images: int) -> int:
    """How many images give an interval half as wide as the reliance is far from 0, or from SMALL_RELIANCE; to the next
    hundred.

    A width falls with the square root of the images, if the reliance stays what it is.
    """
    half = (reliance["high"] - reliance["low"]) / 2
    distance = max(abs(reliance["difference"]), SMALL_RELIANCE - reliance["difference"])
    needed = max(images + 1, FEWEST_IMAGES, images * (half / distance) ** 2)
    return int(-(-needed // 100) * 100)


def verdict_line(scores: Mapping) -> str:
    """The verdict with its numbers, as report, card and warnings say it; "" where nothing was exchanged or asked."""
    judged = scores.get("grounding", {}).get("verdict")
    return f"{SENTENCES[judged['verdict']]}: {judged['why']}." if judged else ""


def several_line(scores: Mapping) -> str:
    """What one picture less, or another in its place, costs questions about several; "" where there are none."""
    gaps = scores.get("grounding", {}).get("gap", {})
    if gaps.get("one_dropped", {}).get("a") is None:
        return ""
    dropped, other = gaps["one_dropped"], gaps["one_exchanged"]
    return (
        f"Of {dropped['n']:,} questions about several pictures, exact match is {dropped['b']:.3f} with all of them, "
        f"{dropped['a']:.3f} with one dropped and {other['a']:.3f} with one exchanged."
    )


def verdict_warnings(scores: Mapping) -> list[str]:
    """The verdict as a warning, where it is not that the model looks."""
    line = verdict_line(scores)
    return [line] if line and scores["grounding"]["verdict"]["verdict"] != LOOKS else []
