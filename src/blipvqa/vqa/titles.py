"""The measures that tables, figures and cards show first, each with its title."""

from blipvqa.vqa.measures import MEASURES

SHOWN_FIRST = ("exact_match", "yes_no_accuracy", "open_exact_match", "open_token_f1")
HEADLINE = {name: MEASURES.title(name) for name in (*SHOWN_FIRST, "bleu_1", "bleu_2", "bleu_3", "bleu_4")}

CONTROLS = ("another_row", "another_question", "random_decoder")  # of the pointing game, see `explanations`


def spoken(name: str) -> str:
    """A column's or a measure's name in words, for a heading."""
    return MEASURES.title(name) if name in MEASURES else name.replace("_", " ")
