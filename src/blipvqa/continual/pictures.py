"""The questions that were forgotten, with their pictures: right after their stage, wrong at the end."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import Splits
from blipvqa.pages.gallery import RIGHT, WRONG, card, grid, line
from blipvqa.pages.html import Html, escape
from blipvqa.training.trained import held_out
from blipvqa.vqa.answers import actual_answer
from blipvqa.vqa.turns import conversation


def forgotten(
    rows: Sequence[Mapping], data: Mapping[str, Splits], count: int = 12, columns: int = 4, seed: int = 0
) -> Html:
    """Some forgotten questions, drawn from `seed`, each under its picture with what was said then and now."""
    if not rows:
        return Html("<p>Nothing that was right after its stage is wrong at the end.</p>")
    chosen = random.Random(f"{seed}/forgotten").sample(list(rows), min(count, len(rows)))
    return grid([_card(row, data[row["stage"]]) for row in chosen], columns)


def _card(row: Mapping, splits: Splits) -> Html:
    dataset = splits[held_out(splits)]
    asked = " ".join(filter(None, (conversation(row), row["question"])))
    lines = [
        line(
            Html("{} · {}<br>right: <b>{}</b>").format(
                row["stage"], escape(asked, 300), escape(actual_answer(row), 200)
            )
        ),
        line(Html("✓ right after its stage: <b>{}</b>").format(escape(row["then"], 200)), RIGHT),
        line(Html("✗ at the end: <b>{}</b>").format(escape(row["now"] or "(nothing)", 200)), WRONG),
    ]
    return card(dataset.image(dataset.index(row["id"])), lines)
