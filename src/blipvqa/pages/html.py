"""HTML of notebooks and the report: text from data is escaped, and pictures are small and carry nothing along.

`Html` shows itself in a notebook; in the report it is pasted as it is. `Html("<b>{}</b>").format(text)` escapes what it
is filled with, and so do the templates of `page`: one rule, `escape`, stands behind all of them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import markupsafe
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 400  # characters of a text from data that a page shows
PROSE = 4000  # of a paragraph of our own, whatever texts from data stand in it
# letters as outlines and ids by a salt: a figure looks the same wherever it is opened, and the same twice
SVG = {"svg.fonttype": "path", "svg.hashsalt": "blipvqa"}


class Html(markupsafe.Markup):
    """Markup that is safe to show. `repr` is short: a notebook stores it beside the markup."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<div class="tex2jax_ignore mathjax_ignore">{self!s}</div>'

    def __repr__(self) -> str:
        return f"<{len(self):,} characters of HTML>"

    @classmethod
    def escape(cls, text) -> Html:
        """As `escape`; what is markup already stays as it is."""
        return cls(text) if hasattr(text, "__html__") else escape(text)


def escape(text, longest: int = LONGEST) -> Html:
    """Text from data for HTML: no markup, and no `$` or backslash that MathJax would read across."""
    # a tag ends every formula
    return Html(attribute(text, longest).replace("$", "<span>&#36;</span>").replace("\\", "<span>&#92;</span>"))


def attribute(text, longest: int = LONGEST) -> str:
    """Text from data inside an attribute or a title, where no tag may stand."""
    return str(markupsafe.escape(shown(text, longest)))


def shown(text, longest: int = LONGEST) -> str:
    """Text from data as a page shows it: cut, and without characters that are no letters."""
    text = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return text if len(text) <= longest else text[:longest] + "…"


def prose(text) -> Html:
    """A sentence or more of our own: not cut where a text from data would be."""
    return Html(text) if hasattr(text, "__html__") else escape(text, PROSE)


def join(parts: Iterable) -> Html:
    """Parts one after the other; what is not markup is escaped."""
    return Html("").join(parts)


def picture(image: Image.Image, side: int = 200, width: str = "100%", alt: str = "") -> Html:
    """A light JPEG of at most `side` pixels, inside the page; `width` is what it takes of its place, and `alt` what is
    said of it where it is not seen (nothing where the text beside it says all). Its place is as large before it is
    drawn as after: it is drawn late, and what stands below would move."""
    image = image.copy()
    image.thumbnail((2 * side, 2 * side) if min(image.size) >= 2 * side else (side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=78)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Html(
        f'<img alt="{attribute(alt)}" loading="lazy" decoding="async" '
        f'style="max-width:{side}px;width:{width};aspect-ratio:{image.width}/{image.height};'
        f'display:block;margin:0 auto" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def drawing(figure: Figure, alt: str) -> Html:
    """A figure as an SVG inside the page."""
    from matplotlib import rc_context  # here, not above: a second, for whoever draws nothing

    buffer = io.BytesIO()
    with rc_context(SVG):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    image = f'<img class="figure" alt="{attribute(alt)}" src="data:image/svg+xml;base64,{data}">'
    return Html(f'<div class="wide">{image}</div>')  # on a telephone it scrolls: shrunk, nobody could read it


def bullets(texts: Iterable[str], nothing: str = "Nothing to note.") -> Html:
    """A list of notes or warnings."""
    items = join(Html("<li>{}</li>").format(prose(text)) for text in texts)
    return Html("<ul>{}</ul>").format(items) if items else Html("<p>{}</p>").format(nothing)
