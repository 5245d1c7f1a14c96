"""Whole pages: a title, warnings and sections, put into the templates beside this file.

Notable:
- A page loads nothing: its policy forbids every request, its one script is known by its digest, and whatever a template
  is filled with is escaped by `html.escape`. Rows that the script shows stand in the page as data, which never runs.
- A page is light or dark as the reader's system is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from blipvqa.pages.html import Html, attribute, bullets, join, prose, shown

TEMPLATES = Path(__file__).parent / "templates"
LANDSCAPE = "@page{size:A4 landscape}"  # on paper a table of many columns has no room upright
_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    finalize=Html.escape,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["attribute"] = lambda text: Html(attribute(text))


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it: notes, figures, tables, cards."""

    title: str
    parts: tuple[Html, ...]


def section(title: str, *parts: Html) -> Section:
    """A section of these parts, in this order."""
    return Section(title, parts)


def write_page(
    title: str,
    sections: Sequence[Section],
    *,
    heading: str | None = None,
    subtitle: str = "",
    warnings: Sequence[str] = (),
    sortable: bool = False,
) -> str:
    """A self-contained page with its contents above its sections; without a `heading` it shows its title, `sortable`
    where it has tables of `tables.sortable_table`."""
    script = _file("page.js") + _file("sort.js") * sortable
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment.get_template("page.html").render(
        title=title,
        heading=title if heading is None else heading,
        subtitle=prose(subtitle),
        warnings=bullets(warnings) if warnings else "",
        sections=sections,
        style=Html(_file("page.css") + LANDSCAPE * sortable),
        script=Html(script),
        policy=Html(f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"),
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def search_gallery(cards: Iterable[tuple[Html, bool]], placeholder: str, buttons: tuple[str, str]) -> Html:
    """Cards below a search box; each with whether all that it shows is right, and `buttons` for the cards where it is
    not, and where it is. One a page."""
    wrong, right = buttons
    template = _environment.get_template("search.html")
    return Html(template.render(cards=cards, placeholder=placeholder, wrong=wrong, right=right))


def search_rows(
    head: Sequence[str],
    rows: Iterable[tuple[Sequence, bool, int | None]],
    placeholder: str,
    buttons: tuple[str, str],
    caption: str,
) -> Html:
    """A table of any length to search and sort, of which a few hundred rows are shown at once. One a page.

    Each row: its cells (text, numbers or None), whether it is right, and the number of its card in the gallery, from 1.
    """
    wrong, right = buttons
    listed = [{"cells": [_cell(cell) for cell in cells], "right": right, "card": card} for cells, right, card in rows]
    data = json.dumps(listed, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign in ("\\\\", "<", "$"):  # a text from data must neither end the element nor begin a formula
        data = data.replace(sign, f"\\u{ord(sign[0]):04x}")
    template = _environment.get_template("listing.html")
    return Html(
        template.render(head=head, rows=Html(data), placeholder=placeholder, wrong=wrong, right=right, caption=caption)
    )


def _cell(value) -> str | float | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float):
        return round(value, 6)  # the page shows three digits, mostly
    return value if isinstance(value, int) and not isinstance(value, bool) else shown(value)


def remark(text: str) -> Html:
    """A line in small grey letters."""
    return Html('<p class="sub">{}</p>').format(prose(text))


def paragraph(text: str) -> Html:
    """A line of text."""
    return Html("<p>{}</p>").format(prose(text))


def wide(*parts: Html) -> Html:
    """What may be wider than a telephone: it scrolls by itself, not the page."""
    return Html('<div class="wide">{}</div>').format(join(parts))


def folded(summary: str, *parts: Html) -> Html:
    """What is shown when the reader asks for it."""
    return Html("<details><summary>{}</summary>{}</details>").format(summary, join(parts))
