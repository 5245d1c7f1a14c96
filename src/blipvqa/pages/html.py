"""HTML of notebooks and the report: text from data is escaped, and pictures are small and carry nothing along.

`Html` shows itself in a notebook; in the report it is pasted as it is.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure
from PIL import Image

TABLE = "border-collapse:collapse;font-size:13px;margin:6px 0;background:#fff;color:#222"
CELL = "padding:3px 10px;border-bottom:1px solid #e3e6e8;vertical-align:top;"
TEXT, NUMBER = "text-align:left;min-width:4em;overflow-wrap:anywhere", "text-align:right;white-space:nowrap"


class Html(str):
    """Markup that is safe to show. `repr` is short: a notebook stores it beside the markup."""

    def _repr_html_(self) -> str:
        return f'<div class="tex2jax_ignore mathjax_ignore">{self!s}</div>'

    def __repr__(self) -> str:
        return f"<{len(self):,} characters of HTML>"

    def __str__(self) -> str:
        return str.__str__(self)


def escape(text, longest: int = 400) -> str:
    """Text from data for HTML: no markup, and no `$` or backslash that MathJax would read across."""
    text = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    text = text if len(text) <= longest else text[:longest] + "…"
    # a tag ends every formula
    return html.escape(text).replace("$", "<span>&#36;</span>").replace("\\", "<span>&#92;</span>")


def table(head: Sequence[str], rows: Iterable[Sequence], left: int = 1) -> Html:
    """A table; the first `left` columns are text, the rest numbers. Cells that are Html stay as they are."""

    def row(cells: Sequence, tag: str) -> str:
        styles = (CELL + (TEXT if i < left else NUMBER) for i in range(len(cells)))
        return "".join(
            f'<{tag} style="{style}">{cell if isinstance(cell, Html) else escape(cell)}</{tag}>'
            for cell, style in zip(cells, styles, strict=True)
        )

    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return Html(f'<table style="{TABLE}"><thead><tr>{row(head, "th")}</tr></thead><tbody>{body}</tbody></table>')


def picture(image: Image.Image, side: int = 200, width: str = "100%") -> Html:
    """A light JPEG of at most `side` pixels, inside the page; `width` is what it takes of its place."""
    image = image.copy()
    image.thumbnail((2 * side, 2 * side) if min(image.size) >= 2 * side else (side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Html(
        f'<img alt="" style="max-width:{side}px;width:{width};display:block;margin:0 auto" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def drawing(figure: Figure, alt: str) -> Html:
    """A figure as an SVG inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Html(f'<img class="figure" alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}">')


def bullets(texts: Iterable[str], nothing: str = "Nothing to note.") -> Html:
    """A list of notes or warnings."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return Html(f"<ul>{items}</ul>" if items else f"<p>{escape(nothing)}</p>")
