"""Pairs of pictures with their statements: samples of the data, judgements beside what is right.

Right and wrong are told by colour, sign and word; the surest mistakes come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import VQADataset
from blipvqa.data.labels import LABELS
from blipvqa.data.several_pictures import sheet
from blipvqa.pages.gallery import RIGHT, WRONG, card, drawn_pictures, grid, line, progress_table
from blipvqa.pages.html import Html, escape, join
from blipvqa.pages.wording import share
from blipvqa.pairs.predictions import Judgement

SIDE = 300  # pixels of a sheet of two pictures
ALT = "the two pictures that the statement is about"


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` pairs of a split, drawn from `seed`, each with its first four statements."""
    return drawn_pictures(dataset, _statement, count, columns, seed)


def _statement(row: Mapping) -> Html:
    return Html("{} <b>{}</b>").format(escape(row["sentence"], 300), row["label"])


def is_right(prediction: Mapping) -> bool:
    """Whether a statement was judged rightly."""
    return prediction["prediction"] == prediction["label"]


def said(prediction: Mapping) -> str:
    """ "true (91%)", or the bare word."""
    confidence = prediction.get("confidence")
    return prediction["prediction"] if confidence is None else f"{prediction['prediction']} ({share(confidence)})"


def prediction_card(dataset: VQADataset, prediction: Mapping) -> Html:
    """A pair with its statement, what the model said of it, what is right, and what it says in the other order."""
    right = is_right(prediction)
    mark, colour = ("✓", RIGHT) if right else ("✗", WRONG)
    lines = [line(escape(prediction["sentence"], 300))]
    correct = "" if right else Html("<br>right: {}").format(prediction["label"])
    lines.append(line(Html("{} <b>{}</b>{}").format(mark, said(prediction), correct), colour))
    if prediction.get("swapped") is not None:
        then = LABELS[prediction["swapped"] >= 0.5]
        stays = then == prediction["prediction"]
        lines.append(line(f"swapped: {'stays' if stays else 'becomes'} {then}", RIGHT if stays else WRONG))
    return card(dataset.image(dataset.index(prediction["id"])), lines, SIDE, ALT)


def worst_first(predictions: Sequence[Mapping]) -> list[Mapping]:
    """Mistakes first, the surest first; then what is right, the least sure first."""

    def key(prediction: Mapping) -> tuple[bool, float]:
        right, sure = is_right(prediction), prediction.get("confidence") or 0.0
        return right, sure if right else -sure

    return sorted(predictions, key=key)


def gallery(dataset: VQADataset, predictions: Sequence[Mapping], count: int = 12, columns: int = 3) -> Html:
    """`count` pairs with what the model said of them, the surest mistakes first."""
    return grid([prediction_card(dataset, row) for row in worst_first(predictions)[:count]], columns)


def sample_progress(run, dataset: VQADataset, most: int = 5) -> Html:
    """A run's fixed validation samples, as judged before training and after epochs up to the last."""
    facts = {"statement": lambda row: escape(row["sentence"], 160), "right": lambda row: row["label"]}
    return progress_table(run, dataset, facts, _said, most)


def _said(row: Mapping) -> Html:
    return Html("{} {}").format("✓" if is_right(row) else "✗", said(row))


def _note(text: str) -> Html:
    return Html("<br>{}").format(text)


def judged(judgements: Judgement | Sequence[Judgement], side: int = SIDE) -> Html:
    """One's own two pictures with what the model said of each statement."""
    every = [judgements] if isinstance(judgements, Judgement) else list(judgements)
    if not every:
        return Html("<p>No statement.</p>")
    lines = [
        line(Html("{}<br><b>{}</b>{}").format(escape(one.statement, 300), one, join(map(_note, one.notes))))
        for one in every
    ]
    return card(sheet(every[0].images), lines, side, ALT)
