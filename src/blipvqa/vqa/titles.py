"""The measures that tables, figures and cards show first, each with its title."""

HEADLINE = {
    "exact_match": "exact match",
    "yes_no_accuracy": "yes/no accuracy",
    "open_exact_match": "open exact match",
    "open_token_f1": "open token F1",
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
}


def spoken(name: str) -> str:
    """A column's or a measure's name in words, for a heading."""
    return HEADLINE.get(name, name.replace("_", " "))
