"""Pictures with their questions and answers: samples of the data, a batch, predictions right and wrong, one's own.

Notable:
- One card a picture, with every question that is shown about it: a hundred questions stay a light page.
- Right and wrong are told by colour, sign and word.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.data.dataset import VQADataset
from blipvqa.errors import InputError
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.html import Html, escape, join, picture
from blipvqa.pages.maps import beside_its_map
from blipvqa.pages.tables import table
from blipvqa.vqa.answers import answered_right, question_type
from blipvqa.vqa.explained import StoredExplanation

if TYPE_CHECKING:  # a picture of an answer needs nothing of what answers
    from blipvqa.vqa.asking import Answer

# a report that is dark sets the variables; elsewhere a card is dark on white
RIGHT, WRONG = ("var(--right,#1f6e52)", "✓"), ("var(--wrong,#b3321f)", "✗")
CARD = (
    "border:1px solid var(--line,#d9dde0);border-radius:6px;padding:8px;background:var(--paper,#fff);"
    "color:var(--ink,#222);font-size:13px;line-height:1.35"
)
FAINT = "color:var(--faint,#707070)"
GRID = "display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:10px;align-items:start"
NO_PICTURES = Html("<p>This split has no picture.</p>")


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four questions and answers."""
    by_image = rows_by(row["image_id"] for row in dataset.rows)
    if not by_image:
        return NO_PICTURES
    chosen = random.Random(seed).sample(sorted(by_image), min(count, len(by_image)))
    cards = []
    for image_id in chosen:
        rows = by_image[image_id]
        lines = [
            _line(Html("{}<br><b>{}</b>").format(dataset.rows[i]["question"], dataset.rows[i]["answer"]))
            for i in rows[:4]
        ]
        if len(rows) > 4:
            lines.append(Html("<div style='{}'>and {} more</div>").format(Html(FAINT), len(rows) - 4))
        cards.append(_card(dataset.image(rows[0]), lines))
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

    `ranges` are positions in the split, end excluded: "0:100,500:600"; what lies beyond the split is left out.
    `indices` are single positions, in this order. Without both, the first 40 that `only` lets through are shown:
    "wrong", "right", or a question type such as "where". At most `most` questions are shown, and the rest is counted.

    Raises InputError for ranges, indices or a type that cannot be.
    """
    _check_only(only, predictions)
    chosen, notes = choose(len(predictions), ranges, indices)
    chosen = [i for i in chosen if _passes(predictions[i], only)]
    if ranges is None and indices is None:
        chosen, most = chosen[:most], min(most, 40)
    if len(chosen) > most:
        notes.append(f"{most} of {len(chosen):,} questions are shown")
        chosen = chosen[:most]
    right = sum(answered_right(predictions[i]) for i in chosen)
    notes.insert(0, f"{len(chosen)} questions, {right} right, {len(chosen) - right} wrong")
    by_image = rows_by(predictions[i]["image_id"] for i in chosen).values()
    numbers = [[chosen[k] for k in places] for places in by_image]
    cards = [prediction_card(dataset, [predictions[i] for i in rows], numbers=rows) for rows in numbers]
    return Html("<p style='margin:4px 0'>{}</p>{}").format("; ".join(notes), _grid(cards, columns))


def prediction_card(dataset: VQADataset, predictions: Sequence[Mapping], numbers: Sequence[int] = ()) -> Html:
    """One picture with predictions about it; `numbers` are their positions in the split."""
    lines = []
    for k, row in enumerate(predictions):
        number = Html("<span style='{}'>{} · </span>").format(Html(FAINT), numbers[k]) if len(numbers) else ""
        lines.append(_answer_line(row, number, sure=True))
    return _card(dataset.image(dataset.index(predictions[0]["id"])), lines)


def _answer_line(row: Mapping, number: Html | str = "", sure: bool = False) -> Html:
    """The question, what was said and, where that is wrong, what the data set says."""
    parts = [Html("{}{}<br>").format(number, row["question"]), _said(row, 120, bold=True)]
    if sure and row.get("confidence") is not None:
        parts.append(_sure(row["confidence"]))
    if row.get("withheld"):
        parts.append(Html("<br>withheld: {}").format(escape(row["withheld"], 120)))
    if not answered_right(row):
        parts.append(Html("<br>actual: <b>{}</b>").format(escape(row["answer"], 120)))
    return _line(join(parts), (RIGHT if answered_right(row) else WRONG)[0])


def _said(row: Mapping, longest: int, bold: bool = False) -> Html:
    """The predicted answer in the colour and with the sign of right or wrong."""
    colour, sign = RIGHT if answered_right(row) else WRONG
    tag = "b" if bold else "span"
    markup = Html(f"<{tag} style='color:{colour}'>{sign} {{}}</{tag}>")
    return markup.format(escape(row["prediction"] or "(empty)", longest))


def _sure(confidence: float | None) -> Html:
    if confidence is None:
        return Html("")
    return Html(" <span style='{}'>{:.0%} sure</span>").format(Html(FAINT), confidence)


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
            first["question"],
            Html("<b>{}</b>").format(first["answer"]),
        ]
        rows.append(cells + [_said(answers[epoch], 40) if epoch in answers else "" for epoch in shown])
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
    return shapes + table(["image", "question", "decoder input", "labels, without -100"], rows, left=4)


def explanations(
    dataset: VQADataset, predictions: Sequence[Mapping], stored: Sequence[StoredExplanation], columns: int = 3
) -> Html:
    """What of the picture moved each answer, drawn over it: warm is where; beside the picture as it is.

    `stored` comes from `explained.stored_explanations`; a map of another answer than the prediction's is left out.
    """
    row_of = {row["id"]: row for row in predictions}
    cards = []
    for explanation in stored:
        row = row_of.get(explanation.id)
        if row and explanation.explains(row):
            both = beside_its_map(dataset.image(dataset.index(row["id"])), explanation.map)
            cards.append(_card(both, [_answer_line(row)], side=320))
    if not cards:
        return Html("<p>No explanation is stored for these predictions: run notebook 03_evaluate again.</p>")
    return _grid(cards, columns)


def answer_card(answer: Answer) -> Html:
    """What `ask` found."""
    said = Html("{}<br><b style='font-size:16px'>{}</b>{}").format(
        answer.question, answer.answer, _sure(answer.confidence)
    )
    return _grid([_card(answer.image, [_line(said)])], 3)


def choose(count: int, ranges: str | None, indices: Sequence[int] | None) -> tuple[list[int], list[str]]:
    """Positions below `count` that ranges and indices name, and a note on what lies beyond."""
    if ranges is None and indices is None:
        return list(range(count)), []
    wanted, notes = [], []
    for part in (ranges or "").split(","):
        if not part.strip():
            continue
        start, colon, end = (piece.strip() for piece in part.partition(":"))
        if not colon or not (start + end).isdecimal() or (end and int(end) < int(start or 0)):
            raise InputError(f"ranges: '{part.strip()}' is not start:end, as in '0:100,500:600'")
        low, high = int(start or 0), int(end or count)
        if high > count:
            notes.append(f"{low}:{high} ends at the split's {count} questions")
        wanted += range(min(low, count), min(high, count))
    for i in indices or ():
        if not isinstance(i, int) or i < 0:
            raise InputError(f"indices: {i!r} is no position in the split, which are 0 to {count - 1}")
        wanted += [i] if i < count else []
    beyond = [i for i in indices or () if i >= count]
    if beyond:
        notes.append(f"beyond the split's {count} questions: {', '.join(map(str, beyond))}")
    return list(dict.fromkeys(wanted)), notes


def _check_only(only: str | None, predictions: Sequence[Mapping]) -> None:
    types = {question_type(row["question"]) for row in predictions}
    if only not in (None, "", "wrong", "right") and only not in types:
        raise InputError(f"only: '{only}' is none of wrong, right, {', '.join(sorted(types))}")


def _passes(row: Mapping, only: str | None) -> bool:
    if only in ("wrong", "right"):
        return answered_right(row) == (only == "right")
    return not only or question_type(row["question"]) == only


def _line(content: Html, colour: str = "var(--line,#d9dde0)") -> Html:
    style = f"margin-top:6px;padding-left:7px;border-left:3px solid {colour};overflow-wrap:anywhere"
    return Html("<div style='{}' dir='auto'>{}</div>").format(Html(style), content)


def _card(image: Image.Image, lines: Sequence[Html], side: int = 200) -> Html:
    card = Html("<div class='card' style='{}'>{}{}</div>")
    return card.format(Html(CARD), picture(image, side), join(lines))


def _grid(cards: Sequence[Html], columns: int) -> Html:
    style = GRID.format(columns=max(1, int(columns)))
    return Html("<div class='grid' style='{}'>{}</div>").format(Html(style), join(cards))


def corrupted(dataset: VQADataset, kinds: Sequence[str] | None = None, strengths: Sequence[int] = (1, 3, 5)) -> Html:
    """A split's first picture, corrupted in every way."""
    if not len(dataset):
        return NO_PICTURES
    pixels, image_id = dataset.pixels(0), dataset.rows[0]["image_id"]
    rows = [
        [kind, *(picture(_as_image(corrupt(pixels, image_id, kind, strength)), 110, "110px") for strength in strengths)]
        for kind in kinds or CORRUPTIONS
    ]
    return table(["", *(f"strength {strength}" for strength in strengths)], rows, left=1 + len(strengths))


def pairs(splits: Mapping[str, VQADataset], look_alikes: Sequence[Mapping]) -> Html:
    """Pairs of `duplicates.near_duplicates`, side by side."""
    rows = []
    for pair in look_alikes:
        sides = [
            picture(splits[name].image(row), 160, "160px")
            for name, row in zip(pair["splits"], pair["rows"], strict=True)
        ]
        rows.append([*sides, f"{' and '.join(pair['splits'])}, {pair['bits']} bits"])
    return table(["", "", "differ in"], rows, left=3) if rows else Html("<p>No pair to show.</p>")


def _as_image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
