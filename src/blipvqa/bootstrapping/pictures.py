"""Pictures with their texts: what was kept and dropped, and what a model wrote, marked as such wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.bootstrapping.candidates import SYNTHETIC, Candidate
from blipvqa.data.dataset import VQADataset
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.gallery import FAINT, MARK, NO_PICTURES, RIGHT, WRONG, card, grid, line
from blipvqa.pages.html import Html, escape
from blipvqa.pages.wording import number, said, share


def text_line(text: Candidate) -> Html:
    """One text with what the filter says of it, where it comes from, and what is wrong with it where that is known."""
    verdict = "✓ kept" if text["kept"] else "✗ dropped"
    origin = Html("<b>{}</b>").format(MARK) if text["origin"] == SYNTHETIC else "of the source"
    truth = ""
    if "right" in text:
        truth = " · in truth right" if text["right"] else f" · in truth wrong: {text['fault']}"
    markup = Html("<b>{}</b><br><span style='{}'>{} · match {} · {}{}</span>")
    content = markup.format(escape(said(text, "caption"), 300), Html(FAINT), verdict, _fit(text), origin, truth)
    return line(content, RIGHT if text["kept"] else WRONG)


def _fit(text: Candidate) -> str:
    """A probability in percent; where captioners judge, too, a number that is none, and what it is made of."""
    if "likelihood" not in text:
        return share(text["match"])
    return f"{number(text, 'match')} (matching {share(text['matching'])}, likelihood {number(text, 'likelihood')})"


def pictures_of(dataset: VQADataset, texts: Sequence[Candidate]) -> list[tuple[Html, bool]]:
    """A card a picture, and whether all of its texts are kept: those first that lost a text and got one written."""
    row_of = {row["image_id"]: i for i, row in reversed(list(enumerate(dataset.rows)))}
    by_picture = [[texts[i] for i in rows] for rows in rows_by(text["image_id"] for text in texts).values()]
    by_picture.sort(key=_interest)
    return [
        (
            card(dataset.image(row_of[own[0]["image_id"]]), [text_line(text) for text in own], alt="a picture"),
            all(text["kept"] for text in own),
        )
        for own in by_picture
    ]


def _interest(texts: Sequence[Mapping]) -> tuple[bool, bool]:
    """Sorts first: a text of the source dropped, and a written one kept."""
    dropped = any(text["origin"] != SYNTHETIC and not text["kept"] for text in texts)
    written = any(text["origin"] == SYNTHETIC and text["kept"] for text in texts)
    return not (dropped and written), not dropped


def gallery(
    dataset: VQADataset, texts: Sequence[Candidate], origin: str, kept: bool, count: int = 8, columns: int = 4
) -> Html:
    """`count` texts of an origin that the filter keeps, or drops, each under its picture: the least sure first."""
    row_of = {row["image_id"]: i for i, row in reversed(list(enumerate(dataset.rows)))}
    chosen = [text for text in texts if text["origin"] == origin and text["kept"] == kept]
    chosen.sort(key=lambda text: text["match"], reverse=not kept)
    cards = [card(dataset.image(row_of[t["image_id"]]), [text_line(t)], alt="a picture") for t in chosen[:count]]
    return grid(cards, columns) if cards else NO_PICTURES
