"""Pictures with their questions and answers: samples of the data, a batch, predictions right and wrong, one's own.

Notable:
- One card a picture, with every question that is shown about it: a hundred questions stay a light page.
- Right and wrong are told by colour, sign and word.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.data.dataset import VQADataset
from blipvqa.pages.html import Html, escape, picture, table
from blipvqa.text import answered_right, question_type
from blipvqa.vqa.explanations import explain, spread_over
from blipvqa.vqa.predictions import Answer

RIGHT, WRONG = ("#1f6e52", "✓"), ("#b3321f", "✗")
CARD = (
    "border:1px solid #d9dde0;border-radius:6px;padding:8px;background:#fff;color:#222;font-size:13px;line-height:1.35"
)
GRID = "display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:10px;align-items:start"


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four questions and answers."""
    by_image = _by_image(range(len(dataset)), dataset.rows)
    chosen = random.Random(seed).sample(sorted(by_image), min(count, len(by_image)))
    cards = []
    for image_id in chosen:
        rows = by_image[image_id]
        lines = [
            f"{escape(dataset.rows[i]['question'])}<br><b>{escape(dataset.rows[i]['answer'])}</b>" for i in rows[:4]
        ]
        more = f"<div style='color:#777'>and {len(rows) - 4} more</div>" if len(rows) > 4 else ""
        cards.append(_card(dataset.image(rows[0]), [_line(line) for line in lines], more))
    return _grid(cards, columns)


def gallery(
    dataset: VQADataset,
    predictions: Sequence[Mapping],
    *,
    ranges: str | None = None,
    indices: Sequence[int] | None = None,
    only: str | None = None,
    columns: int = 4,
    most: int = 1000,
) -> Html:
    """Predicted against actual answers with their pictures.

    Args:
        ranges: positions in the split, end excluded: "0:100,500:600". What lies beyond the split is left out.
        indices: single positions, in this order. Without both, the first 40 that `only` lets through.
        only: "wrong", "right", or a question type such as "where".
        most: questions shown at most; the rest is counted.

    Raises ValueError for ranges, indices or a type that cannot be.
    """
    chosen, notes = choose(len(predictions), ranges, indices)
    chosen = [i for i in chosen if _passes(predictions[i], _known(only, predictions))]
    if ranges is None and indices is None:
        chosen, most = chosen[:most], min(most, 40)
    if len(chosen) > most:
        notes.append(f"{most} of {len(chosen):,} questions are shown")
        chosen = chosen[:most]
    right = sum(answered_right(predictions[i]) for i in chosen)
    notes.insert(0, f"{len(chosen)} questions, {right} right, {len(chosen) - right} wrong")
    cards = [
        prediction_card(dataset, [predictions[i] for i in rows], numbers=rows)
        for rows in _by_image(chosen, predictions).values()
    ]
    return Html(f"<p style='margin:4px 0'>{escape('; '.join(notes))}</p>{_grid(cards, columns)}")


def prediction_card(dataset: VQADataset, predictions: Sequence[Mapping], numbers: Sequence[int] = ()) -> Html:
    """One picture with predictions about it; `numbers` are their positions in the split."""
    lines = []
    for k, row in enumerate(predictions):
        colour, sign = RIGHT if answered_right(row) else WRONG
        number = f"<span style='color:#888'>{numbers[k]} · </span>" if len(numbers) else ""
        sure = (
            f" <span style='color:#777'>{row['confidence']:.0%} sure</span>"
            if row.get("confidence") is not None
            else ""
        )
        said = f"<b style='color:{colour}'>{sign} {escape(row['prediction'] or '(empty)', 120)}</b>{sure}"
        withheld = f"<br>withheld: {escape(row['withheld'], 120)}" if row.get("withheld") else ""
        actual = "" if answered_right(row) else f"<br>actual: <b>{escape(row['answer'], 120)}</b>"
        lines.append(_line(f"{number}{escape(row['question'])}<br>{said}{withheld}{actual}", colour))
    return _card(dataset.image(dataset.index(predictions[0]["id"])), lines)


def sample_progress(run, dataset: VQADataset, most: int = 6) -> Html:
    """A run's fixed validation samples, as answered before training and after epochs up to the last."""
    epochs = sorted({row["epoch"] for row in run.samples})
    if not epochs:
        return Html("<p>This run keeps no samples (train.samples: 0).</p>")
    shown = (
        epochs
        if len(epochs) <= most
        else sorted({epochs[round(i * (len(epochs) - 1) / (most - 1))] for i in range(most)})
    )
    by_question: dict[str, dict] = {}
    for row in run.samples:
        by_question.setdefault(row["id"], {})[row["epoch"]] = row
    rows = []
    for row_id, answers in by_question.items():
        first = next(iter(answers.values()))
        cells = [
            picture(dataset.image(dataset.index(row_id)), 84, "84px"),
            Html(escape(first["question"])),
            Html(f"<b>{escape(first['answer'])}</b>"),
        ]
        rows.append(cells + [_said(answers[epoch]) if epoch in answers else "" for epoch in shown])
    head = ["", "question", "actual", *(f"epoch {e}" if e else "before" for e in shown)]
    return table(head, rows, left=len(head))


def batch_look(batch: Mapping[str, torch.Tensor], processor, most: int = 6) -> Html:
    """A batch as the model gets it: shapes, ids decoded back to words, and the pictures, un-normalized."""
    shapes = table(
        ["tensor", "shape", "type"],
        [(name, list(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in batch.items()],
        left=3,
    )
    decode = processor.tokenizer.decode
    rows = []
    for q in range(min(most, len(batch["input_ids"]))):
        pixels = batch["pixel_values"][batch["image_index"][q]]
        labels = batch["labels"][q]
        rows.append(
            (
                picture(_as_image(pixels), 84, "84px"),
                decode(batch["input_ids"][q]),
                decode(batch["decoder_input_ids"][q]),
                decode(labels[labels != -100]),
            )
        )
    return Html(shapes + table(["image", "question", "decoder input", "labels, without -100"], rows, left=4))


def explanations(
    dataset: VQADataset, predictions: Sequence[Mapping], model, processor, indices: Sequence[int], columns: int = 3
) -> Html:
    """What of the picture moved each answer, drawn over it: warm is where; beside the picture as it is."""
    cards = []
    for i in indices:
        row = predictions[i]
        place = dataset.index(row["id"])
        found = explain(
            model, processor, dataset.pixels(place), row["question"], row.get("withheld", row["prediction"])
        )
        image = dataset.image(place)
        image.thumbnail((260, 260))
        both = Image.new("RGB", (2 * image.width, image.height))
        both.paste(image)
        both.paste(_warmed(image, found.map), (image.width, 0))
        colour, sign = RIGHT if answered_right(row) else WRONG
        actual = "" if answered_right(row) else f"<br>actual: <b>{escape(row['answer'], 120)}</b>"
        said = f"<b style='color:{colour}'>{sign} {escape(row['prediction'] or '(empty)', 120)}</b>"
        line = _line(f"{escape(row['question'])}<br>{said}{actual}", colour)
        cards.append(Html(f"<div class='card' style='{CARD}'>{picture(both, 320)}{line}</div>"))
    return _grid(cards, columns)


def telling(predictions: Sequence[Mapping], count: int = 6) -> list[int]:
    """Positions of predictions worth explaining: of different pictures and types, wrong ones among them."""
    chosen, images, kinds = [], set(), set()
    wrong = [i for i, row in enumerate(predictions) if not answered_right(row)][: count // 3]
    for i in (*wrong, *range(len(predictions))):
        row = predictions[i]
        kind = (question_type(row["question"]), answered_right(row))
        if row["image_id"] not in images and kind not in kinds and len(chosen) < count:
            chosen.append(i)
            images.add(row["image_id"])
            kinds.add(kind)
    return chosen


def _warmed(image: Image.Image, found: torch.Tensor) -> Image.Image:
    """The picture in grey, with the map over it in colour."""
    heat = spread_over(found, *image.size).numpy()
    colours = colormaps["inferno"](heat)[..., :3] * 255
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    share = 0.25 + 0.55 * heat[..., None]
    return Image.fromarray((grey * (1 - share) + colours * share).astype(np.uint8))


def answer_card(answer: Answer) -> Html:
    """What `ask` found."""
    sure = f"<span style='color:#777'>{answer.confidence:.0%} sure</span>"
    said = f"<b style='font-size:16px'>{escape(answer.answer)}</b> {sure}"
    return _grid([_card(answer.image, [_line(f"{escape(answer.question)}<br>{said}")])], 3)


def choose(count: int, ranges: str | None, indices: Sequence[int] | None) -> tuple[list[int], list[str]]:
    """Positions below `count` that ranges and indices name, and a note on what lies beyond."""
    if ranges is None and indices is None:
        return list(range(count)), []
    wanted, notes = [], []
    for part in (ranges or "").split(","):
        if not part.strip():
            continue
        start, colon, end = part.partition(":")
        if not colon or not (start.strip() + end.strip()).isdigit() or (end.strip() and int(end) < int(start or 0)):
            raise ValueError(f"ranges: '{part.strip()}' is not start:end, as in '0:100,500:600'")
        low, high = int(start or 0), int(end or count)
        if high > count:
            notes.append(f"{low}:{high} ends at the split's {count} questions")
        wanted += range(min(low, count), min(high, count))
    for i in indices or ():
        if not isinstance(i, int) or i < 0:
            raise ValueError(f"indices: {i!r} is no position in the split, which are 0 to {count - 1}")
        wanted += [i] if i < count else []
    beyond = [i for i in indices or () if i >= count]
    if beyond:
        notes.append(f"beyond the split's {count} questions: {', '.join(map(str, beyond))}")
    return list(dict.fromkeys(wanted)), notes


def _known(only: str | None, predictions: Sequence[Mapping]) -> str | None:
    kinds = {question_type(row["question"]) for row in predictions}
    if only not in (None, "", "wrong", "right") and only not in kinds:
        raise ValueError(f"only: '{only}' is none of wrong, right, {', '.join(sorted(kinds))}")
    return only or None


def _passes(row: Mapping, only: str | None) -> bool:
    if only in ("wrong", "right"):
        return answered_right(row) == (only == "right")
    return only is None or question_type(row["question"]) == only


def _said(row: Mapping) -> Html:
    colour, sign = RIGHT if answered_right(row) else WRONG
    return Html(f"<span style='color:{colour}'>{sign} {escape(row['prediction'] or '(empty)', 40)}</span>")


def _by_image(positions: Iterable[int], rows: Sequence[Mapping]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i in positions:
        found.setdefault(rows[i]["image_id"], []).append(i)
    return found


def _line(content: str, colour: str = "#d9dde0") -> str:
    return (
        f"<div style='margin-top:6px;padding-left:7px;border-left:3px solid {colour};overflow-wrap:anywhere' "
        f"dir='auto'>{content}</div>"
    )


def _card(image: Image.Image, lines: Sequence[str], more: str = "") -> Html:
    return Html(f"<div class='card' style='{CARD}'>{picture(image)}{''.join(lines)}{more}</div>")


def _grid(cards: Sequence[Html], columns: int) -> Html:
    return Html(f"<div style='{GRID.format(columns=max(1, int(columns)))}'>{''.join(cards)}</div>")


def corrupted(dataset: VQADataset, kinds: Sequence[str] | None = None, strengths: Sequence[int] = (1, 3, 5)) -> Html:
    """A split's first picture, corrupted in every way."""
    pixels, image_id = dataset.pixels(0), dataset.rows[0]["image_id"]
    rows = [
        [kind, *(picture(_as_image(corrupt(pixels, image_id, kind, strength)), 110, "110px") for strength in strengths)]
        for kind in kinds or CORRUPTIONS
    ]
    return table(["", *(f"strength {strength}" for strength in strengths)], rows, left=1 + len(strengths))


def pairs(splits: Mapping[str, VQADataset], found: Sequence[Mapping]) -> Html:
    """Pairs of `duplicates.near_duplicates`, side by side."""
    rows = []
    for pair in found:
        sides = [
            picture(splits[name].image(row), 160, "160px")
            for name, row in zip(pair["splits"], pair["rows"], strict=True)
        ]
        rows.append([*sides, f"{' and '.join(pair['splits'])}, {pair['bits']} bits"])
    return table(["", "", "differ in"], rows, left=3) if rows else Html("<p>No pair to show.</p>")


def _as_image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
