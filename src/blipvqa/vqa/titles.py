"""The measures that tables, figures and cards show first, each with its title."""

from collections.abc import Mapping

from blipvqa.vqa.measures import MEASURES

SHOWN_FIRST = ("exact_match", "yes_no_accuracy", "open_exact_match", "open_token_f1")
HEADLINE = {name: MEASURES.title(name) for name in (*SHOWN_FIRST, "bleu_1", "bleu_2", "bleu_3", "bleu_4")}

CONTROLS = ("another_row", "another_question", "random_decoder")  # of the pointing game, see `explanations`


def spoken(name: str) -> str:
    """A column's or a measure's name in words, for a heading."""
    return MEASURES.title(name) if name in MEASURES else name.replace("_", " ")


def unit(scores: Mapping) -> str:
    """What intervals are drawn over: "images", or "groups" where `data.group_column` makes them (patients, say)."""
    return "images" if scores.get("group", "image_id") == "image_id" else "groups"


def counted(scores: Mapping) -> str:
    """The heading of a column of `wording.count`, "questions (images)"."""
    return f"questions ({unit(scores)})"
