"""Statements about the order of their pictures: "only the first picture shows a gland".

Notable:
- The rule. A statement is about the order where first and second, or left and right, stand beside a word for a picture
  ("the second image", "the picture on the left"). "The left lung" is not. In such a statement the same words count
  where no picture stands beside them and nothing else follows, too: "… than the first".
- With pictures *and* words in the other order, what is said is the same, and so is its truth: the authors swap so in
  training (docs/facts.md 12.4). Where no word is about the order the pictures alone are swapped: the answer must stay.
"""

from __future__ import annotations

import re

PICTURE = "(?:image|picture|photo|photograph|scan|slice|slide|frame|view|radiograph|x-ray)s?"
OTHER = {"first": "second", "second": "first", "left": "right", "right": "left"}
WORD = rf"\b({'|'.join(OTHER)})\b"
BESIDE = re.compile(rf"{WORD}(?=\s+{PICTURE}\b)|\b{PICTURE}\s+(?:on|to|at)\s+the\s+(left|right)\b", re.IGNORECASE)
ALONE = re.compile(rf"{WORD}(?=\s+one\b|\s*(?:$|[.,;:!?)]))", re.IGNORECASE)


def about_order(sentence: str) -> bool:
    """Whether a statement says something of which picture stands where."""
    return BESIDE.search(sentence) is not None


def in_other_order(sentence: str) -> str:
    """What a statement says once its pictures change places; the statement itself where it is not about the order."""
    if not about_order(sentence):
        return sentence
    places = {match.span(match.lastindex) for pattern in (BESIDE, ALONE) for match in pattern.finditer(sentence)}
    for start, end in sorted(places, reverse=True):  # from the end, or the later ones would move
        sentence = (
            sentence[:start] + _as_written(OTHER[sentence[start:end].lower()], sentence[start:end]) + sentence[end:]
        )
    return sentence


def _as_written(word: str, like: str) -> str:
    """`word` in upper case, with a capital or in lower case, as `like` is."""
    return word.upper() if like.isupper() else word.capitalize() if like[0].isupper() else word
