"""Pictures with their questions and answers: samples of the data, a batch, predictions right and wrong, one's own.

Notable:
- One card a picture, with every question that is shown about it: a hundred questions stay a light page.
- Right and wrong are told by colour, sign and word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.data.dataset import VQADataset
from blipvqa.data.several_pictures import sheet
from blipvqa.errors import InputError
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.gallery import (
    FAINT,
    MARK,
    NO_PICTURES,
    RIGHT,
    WRONG,
    as_image,
    card,
    drawn_pictures,
    grid,
    line,
    mark_of,
    progress_table,
)
from blipvqa.pages.html import Html, escape, join, picture
from blipvqa.pages.maps import beside_its_map
from blipvqa.pages.tables import table
from blipvqa.pages.wording import said, share
from blipvqa.plural import how_many
from blipvqa.vqa.answers import actual_answer, answered_right, question_type
from blipvqa.vqa.explained import StoredExplanation
from blipvqa.vqa.turns import conversation

if TYPE_CHECKING:  # a picture of an answer needs nothing of what answers
    from blipvqa.vqa.asking import Alike, Answer

SAID = 3  # questions with their answers that a training picture shows beside one's own


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four questions and answers."""
    return drawn_pictures(dataset, _question_and_answer, count, columns, seed)


def _question_and_answer(row: Mapping) -> Html:
    return Html("{}<br><b>{}</b>").format(_asked(row), row["answer"])


def _asked(row: Mapping) -> Html:
    """The question, behind the turns before it."""
    before = conversation(row)
    faint = Html("<span style='{}'>{}</span><br>").format(Html(FAINT), escape(before, 300)) if before else Html("")
    return Html("{}{}").format(faint, row["question"])


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
    notes.insert(0, f"{how_many(len(chosen), 'question')}, {right} right, {len(chosen) - right} wrong")
    by_image = rows_by(predictions[i]["image_id"] for i in chosen).values()
    numbers = [[chosen[k] for k in places] for places in by_image]
    cards = [prediction_card(dataset, [predictions[i] for i in rows], numbers=rows) for rows in numbers]
    return Html("<p style='margin:4px 0'>{}</p>{}").format("; ".join(notes), grid(cards, columns))


def prediction_card(dataset: VQADataset, predictions: Sequence[Mapping], numbers: Sequence[int] = ()) -> Html:
    """One picture with predictions about it; `numbers` are their positions in the split."""
    lines = []
    for k, row in enumerate(predictions):
        number = Html("<span style='{}'>{} · </span>").format(Html(FAINT), numbers[k]) if len(numbers) else ""
        lines.append(_answer_line(row, number, sure=True))
    place = dataset.index(predictions[0]["id"])
    alt = f"picture {dataset.image_path(place) or predictions[0]['image_id'][:12]}"
    return card(dataset.image(place), lines, alt=alt)


def _answer_line(row: Mapping, number: Html | str = "", sure: bool = False) -> Html:
    """The question, what was said and, where that is wrong, what the data set says."""
    parts = [Html("{}{}<br>").format(number, _asked(row)), _said(row, 120, bold=True)]
    if sure and row.get("confidence") is not None:
        parts.append(_sure(row["confidence"]))
    if row.get("withheld"):
        parts.append(Html("<br>withheld: not sure enough"))
    if not answered_right(row):
        parts.append(Html("<br>actual: <b>{}</b>").format(escape(actual_answer(row), 120)))
    return line(join(parts), RIGHT if answered_right(row) else WRONG)


def _said(row: Mapping, longest: int, bold: bool = False) -> Html:
    """The predicted answer in the colour and with the sign of right or wrong."""
    colour, sign = (RIGHT, "✓") if answered_right(row) else (WRONG, "✗")
    tag = "b" if bold else "span"
    markup = Html(f"<{tag} style='color:{colour}'>{sign} {{}}</{tag}>")
    return markup.format(escape(said(row), longest))


def _sure(confidence: float | None) -> Html:
    if confidence is None:
        return Html("")
    return Html(" <span style='{}'>{} sure</span>").format(Html(FAINT), share(confidence))


def sample_progress(run, dataset: VQADataset, most: int = 6) -> Html:
    """A run's fixed validation samples, as answered before training and after epochs up to the last."""
    facts = {"question": _asked, "actual": lambda row: Html("<b>{}</b>").format(row["answer"])}
    return progress_table(run, dataset, facts, lambda row: _said(row, 40), most)


def explanations(
    dataset: VQADataset, predictions: Sequence[Mapping], stored: Sequence[StoredExplanation], columns: int = 3
) -> Html:
    """What of the picture moved each answer, drawn over it: warm is where; beside the picture as it is.

    `stored` comes from `explained.stored_explanations`; a map of another answer than the prediction's is left out, and
    of an answer that says nothing.
    """
    row_of = {row["id"]: row for row in predictions}
    asked = [row_of[explanation.id] for explanation in stored if explanation.id in row_of] or predictions
    if asked and not any(row["prediction"] for row in asked):
        return Html("<p>No map: the model said nothing, so nothing moved its answer.</p>")
    cards = []
    for explanation in stored:
        row = row_of.get(explanation.id)
        if row and row["prediction"] and explanation.explains(row):
            images = dataset.images(dataset.index(row["id"]))
            maps = explanation.map.view(len(images), *explanation.map.shape[-2:])
            both = sheet([beside_its_map(image, patches) for image, patches in zip(images, maps, strict=True)])
            cards.append(card(both, [_answer_line(row)], side=320))
    if not cards:
        return Html("<p>No explanation is stored for these predictions: run notebook 03_evaluate again.</p>")
    return grid(cards, columns)


def said_of(alike: Alike) -> list[str]:
    """Questions with their answers (or captions) of a training picture, the first SAID of them."""
    keys = ("question", "answer", "caption")
    return [
        " ".join([*(str(row[key]) for key in keys if row.get(key)), *[f"({MARK})"] * bool(mark_of([row]))])
        for row in alike.rows[:SAID]
    ]


def answer_card(answer: Answer) -> Html:
    """What `ask` found, with the training pictures that look most alike where they were searched."""
    told = Html("{}<br><b style='font-size:16px'>{}</b>{}").format(
        answer.question, said(vars(answer), "answer"), _sure(answer.confidence)
    )
    told += join(Html("<br>{}").format(note) for note in answer.notes)
    shown = grid([card(answer.image, [line(told)])], 3)
    if not answer.alike:
        return shown
    cards = [
        card(
            alike.image(),
            [line(f"cosine {alike.score:.2f}"), *(line(escape(text, 160)) for text in said_of(alike))],
            130,
        )
        for alike in answer.alike
    ]
    return join([shown, Html("<p>Training pictures that look most alike:</p>"), grid(cards, 4)])


def unlikest(dataset: VQADataset, predictions: Sequence[Mapping], most: int = 4) -> Html:
    """The pictures of a split that are most unlike those of training, each with how much."""
    unlike = {row["image_id"]: (row.get("unlike"), i) for i, row in reversed(list(enumerate(predictions)))}
    ranked = sorted(((value, i) for value, i in unlike.values() if value is not None), reverse=True)
    if not ranked:
        return Html("<p>How unlike those of training the pictures are was not measured: evaluate the run anew.</p>")
    cards = []
    for value, i in ranked[:most]:
        words = f"{value:.2f} of the threshold" + (": unlike those of training" if value > 1 else "")
        cards.append(
            card(dataset.image(dataset.index(predictions[i]["id"])), [line(words, WRONG if value > 1 else RIGHT)])
        )
    return grid(cards, 4)


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


def corrupted(dataset: VQADataset, kinds: Sequence[str] | None = None, strengths: Sequence[int] = (1, 3, 5)) -> Html:
    """A split's first picture, corrupted in every way."""
    if not len(dataset):
        return NO_PICTURES
    pixels, image_id = dataset.pixels(0), dataset.rows[0]["image_id"]
    rows = [
        [kind, *(picture(as_image(corrupt(pixels, image_id, kind, strength)), 110, "110px") for strength in strengths)]
        for kind in kinds or CORRUPTIONS
    ]
    return table(["", *(f"strength {strength}" for strength in strengths)], rows, left=1 + len(strengths))
