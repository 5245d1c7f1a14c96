"""Cards and tables with pictures: one card a picture with its lines of text, a grid of cards, rows before and after.

A report that is dark sets the variables of the colours; elsewhere a card is dark on white.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import torch
from PIL import Image

from blipvqa.data.dataset import VQADataset
from blipvqa.data.duplicates import duplicate_notes, near_duplicates
from blipvqa.data.several_pictures import sheet
from blipvqa.data.splitting import SYNTHETIC
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.html import Html, bullets, escape, join, picture
from blipvqa.pages.tables import table
from blipvqa.runs.run import Run

MARK = "SYNTHETIC, written by a model"
RIGHT, WRONG, PLAIN = "var(--right,#1f6e52)", "var(--wrong,#b3321f)", "var(--line,#d9dde0)"
FAINT = "color:var(--faint,#707070)"
CARD = (
    "border:1px solid var(--line,#d9dde0);border-radius:6px;padding:8px;background:var(--paper,#fff);"
    "color:var(--ink,#222);font-size:13px;line-height:1.35"
)
# so many columns where they fit, and fewer where a card would be narrower than 160 pixels
GRID = (
    "display:grid;grid-template-columns:repeat(auto-fill,minmax(max(160px,calc((100% - {gaps}px)/{columns})),1fr));"
    "gap:10px;align-items:start"
)
NO_PICTURES = Html("<p>This split has no picture.</p>")


def caption_of(row: Mapping, longest: int) -> Html:
    """A row's caption, marked where a model wrote it, as column `origin` of bootstrapped captions says."""
    return Html("{}{}").format(escape(row["caption"], longest), mark_of([row]))


def mark_of(rows: Sequence[Mapping]) -> Html:
    """What stands behind a text of these rows, where a model wrote it and no person did."""
    written = bool(rows) and all(row.get("origin") == SYNTHETIC for row in rows)
    return Html(" <b>{}</b>").format(MARK) if written else Html("")


def line(content: Html | str, colour: str = PLAIN) -> Html:
    """A line of a card, with a bar of this colour before it."""
    style = f"margin-top:6px;padding-left:7px;border-left:3px solid {colour};overflow-wrap:anywhere"
    return Html("<div style='{}' dir='auto'>{}</div>").format(Html(style), content)


def card(image: Image.Image, lines: Sequence[Html], side: int = 200, alt: str = "the picture asked about") -> Html:
    """A picture above its lines."""
    shown = picture(image, side, alt=alt)
    return Html("<div class='card' style='{}'>{}{}</div>").format(Html(CARD), shown, join(lines))


def grid(cards: Sequence[Html], columns: int) -> Html:
    """Cards side by side."""
    columns = max(1, int(columns))
    style = GRID.format(columns=columns, gaps=10 * (columns - 1) + 1)
    return Html("<div class='grid' style='{}'>{}</div>").format(Html(style), join(cards))


def drawn_pictures(
    dataset: VQADataset, text: Callable[[Mapping], Html], count: int, columns: int, seed: int, most: int = 4
) -> Html:
    """`count` images of a split, drawn from `seed`, each with the `text` of its first `most` rows."""
    by_image = rows_by(row["image_id"] for row in dataset.rows)
    if not by_image:
        return NO_PICTURES
    cards = []
    for image_id in random.Random(seed).sample(sorted(by_image), min(count, len(by_image))):
        rows = by_image[image_id]
        lines = [line(text(dataset.rows[i])) for i in rows[:most]]
        if len(rows) > most:
            lines.append(Html("<div style='{}'>and {} more</div>").format(Html(FAINT), len(rows) - most))
        cards.append(card(dataset.image(rows[0]), lines))
    return grid(cards, columns)


def progress_table(
    run: Run,
    dataset: VQADataset,
    facts: Mapping[str, Callable[[Mapping], Html | str]],
    said: Callable[[Mapping], Html],
    most: int,
) -> Html:
    """A run's validation samples: picture, `facts` by their heads, and what was `said` before training and after at
    most `most` epochs, the last among them."""
    epochs = sorted({row["epoch"] for row in run.samples})
    if not epochs:
        return Html("<p>This run keeps no samples (train.samples: 0).</p>")
    shown = sorted({epochs[round(i * (len(epochs) - 1) / max(most - 1, 1))] for i in range(most)})
    by_row: dict[str, dict[int, Mapping]] = {}
    for row in run.samples:
        by_row.setdefault(row["id"], {})[row["epoch"]] = row
    rows = [
        [
            picture(dataset.image(dataset.index(row_id)), 84, "84px"),
            *(fact(next(iter(samples.values()))) for fact in facts.values()),
            *(said(samples[epoch]) if epoch in samples else "" for epoch in shown),
        ]
        for row_id, samples in by_row.items()
    ]
    head = ["picture", *facts, *(f"epoch {epoch}" if epoch else "before" for epoch in shown)]
    return table(head, rows, left=len(head))


def batch_look(batch: Mapping[str, torch.Tensor], processor, most: int = 6) -> Html:
    """A batch as the model gets it: shapes, ids decoded back to words, and the pictures, un-normalized."""
    shapes = table(
        ["tensor", "shape", "type"],
        [
            (n, list(t.shape), str(t.dtype).removeprefix("torch."))
            for n, t in batch.items()
            if isinstance(t, torch.Tensor)
        ],
        left=3,
    )
    texts = [name for name in ("input_ids", "decoder_input_ids", "labels") if name in batch]
    rows = [
        [
            picture(_seen(batch, q), 84, "84px"),
            *(processor.tokenizer.decode(batch[name][q][batch[name][q] != -100]) for name in texts),
        ]
        for q in range(min(most, len(batch["input_ids"])))
    ]
    return shapes + table(["image", *(name.removesuffix("_ids") for name in texts)], rows, left=1 + len(texts))


def _seen(batch: Mapping[str, torch.Tensor], q: int) -> Image.Image:
    index = batch["image_index"][q].view(-1)
    return sheet([as_image(batch["pixel_values"][i]) for i in index[index >= 0]])


def look_alikes(splits: Mapping[str, VQADataset], most: int = 6) -> Html:
    """Pictures of one split that look like one of another: how many, and the likest pairs side by side."""
    pairs = near_duplicates(splits)
    rows = []
    for pair in pairs[:most]:
        sides = [
            picture(splits[name].image(row), 160, "160px")
            for name, row in zip(pair["splits"], pair["rows"], strict=True)
        ]
        rows.append([*sides, f"{' and '.join(pair['splits'])}, {pair['bits']} bits"])
    notes = bullets(duplicate_notes(pairs), nothing="No picture of one split looks like another of a second split.")
    return notes + table(["", "", "differ in"], rows, left=3) if rows else notes


def as_image(pixels: torch.Tensor) -> Image.Image:
    """A uint8 `[3,H,W]` tensor as a picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
