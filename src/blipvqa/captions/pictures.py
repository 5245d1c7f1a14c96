"""Pictures with their captions: samples of the data, predictions beside references, and where a word looked.

Things named wrongly come first, told by colour, sign and word.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from blipvqa.captions.predictions import Caption
from blipvqa.captions.terms import Finder, Terms
from blipvqa.data.dataset import VQADataset
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.html import Html, escape, join, picture
from blipvqa.pages.maps import beside_its_map
from blipvqa.pages.tables import table

# a report that is dark sets the variables; elsewhere a card is dark on white
RIGHT, WRONG, PLAIN = "var(--right,#1f6e52)", "var(--wrong,#b3321f)", "var(--line,#d9dde0)"
CARD = (
    "border:1px solid var(--line,#d9dde0);border-radius:6px;padding:8px;background:var(--paper,#fff);"
    "color:var(--ink,#222);font-size:13px;line-height:1.35"
)
GRID = "display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:10px;align-items:start"


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four captions."""
    by_image = rows_by(row["image_id"] for row in dataset.rows)
    chosen = random.Random(seed).sample(sorted(by_image), min(count, len(by_image)))
    cards = [
        _card(dataset, by_image[image][0], [_line(dataset.rows[i]["caption"]) for i in by_image[image][:4]])
        for image in chosen
    ]
    return _grid(cards, columns)


def mistakes(prediction: Mapping, finder: Finder) -> tuple[set[str], set[str]]:
    """(things that the caption names and no reference does, things that it leaves out)."""
    named = finder.named(prediction["prediction"])
    there = set().union(*map(finder.named, prediction["references"]))
    return named - there, there - named


def prediction_card(dataset: VQADataset, prediction: Mapping, finder: Finder) -> Html:
    """One picture with its caption, what it names wrongly or leaves out, and its references."""
    invented, left_out = mistakes(prediction, finder)
    colour = WRONG if invented or left_out else RIGHT if finder.patterns else PLAIN
    lines = [_line(Html("<b>{}</b>").format(escape(prediction["prediction"] or "(empty)", 300)), colour)]
    if invented:
        lines.append(_line(f"✗ not there: {', '.join(sorted(invented))}", WRONG))
    if left_out:
        lines.append(_line(f"✗ left out: {', '.join(sorted(left_out))}", WRONG))
    lines += [_line(Html("reference: {}").format(escape(text, 300))) for text in prediction["references"][:3]]
    return _card(dataset, dataset.index(prediction["id"]), lines)


def worst_first(predictions: Sequence[Mapping], finder: Finder) -> list[Mapping]:
    """Those with most things named wrongly or left out first; among equals, the least likely caption."""

    def key(prediction: Mapping) -> tuple[int, float]:
        return -sum(map(len, mistakes(prediction, finder))), prediction.get("score") or 0.0

    return sorted(predictions, key=key)


def gallery(
    dataset: VQADataset, predictions: Sequence[Mapping], terms: Terms, count: int = 12, columns: int = 4
) -> Html:
    """`count` pictures with captions and references, things named wrongly first."""
    finder = Finder(terms)
    return _grid([prediction_card(dataset, row, finder) for row in worst_first(predictions, finder)[:count]], columns)


def sample_progress(run, dataset: VQADataset, most: int = 5) -> Html:
    """A run's fixed validation samples, as described before training and after epochs up to the last."""
    epochs = sorted({row["epoch"] for row in run.samples})
    if not epochs:
        return Html("<p>This run keeps no samples (train.samples: 0).</p>")
    shown = sorted({epochs[round(i * (len(epochs) - 1) / max(most - 1, 1))] for i in range(most)})
    by_picture: dict[str, dict[int, Mapping]] = {}
    for row in run.samples:
        by_picture.setdefault(row["id"], {})[row["epoch"]] = row
    rows = [
        [
            picture(dataset.image(dataset.index(row_id)), 84, "84px"),
            escape(next(iter(captions.values()))["references"][0], 160),
            *(escape(captions[epoch]["prediction"], 160) if epoch in captions else "" for epoch in shown),
        ]
        for row_id, captions in by_picture.items()
    ]
    head = ["", "reference", *(f"epoch {epoch}" if epoch else "before" for epoch in shown)]
    return table(head, rows, left=len(head))


def word_maps(caption: Caption, columns: int = 4, side: int = 130) -> Html:
    """A described picture with, for each word of its caption, where the model looked when it wrote it."""
    cards = [
        Html("<div class='card' style='{}'>{}{}</div>").format(
            Html(CARD), picture(beside_its_map(caption.image, look, side), 2 * side), _line(word)
        )
        for word, look in caption.looks
    ]
    return Html("<p><b>{}</b></p>{}").format(caption.caption, _grid(cards, columns))


def _line(content: Html | str, colour: str = PLAIN) -> Html:
    style = f"margin-top:6px;padding-left:7px;border-left:3px solid {colour};overflow-wrap:anywhere"
    return Html("<div style='{}' dir='auto'>{}</div>").format(Html(style), content)


def _card(dataset: VQADataset, row: int, lines: Sequence[Html]) -> Html:
    card = Html("<div class='card' style='{}'>{}{}</div>")
    return card.format(Html(CARD), picture(dataset.image(row), 200), join(lines))


def _grid(cards: Sequence[Html], columns: int) -> Html:
    return Html("<div class='grid' style='{}'>{}</div>").format(Html(GRID.format(columns=columns)), join(cards))
