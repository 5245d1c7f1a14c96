"""Whether a text is true of its picture: the drawn data knows it of its own texts, and written ones name things."""

from __future__ import annotations

from collections.abc import Sequence

from blipvqa.bootstrapping.candidates import WEB, Candidate
from blipvqa.captions.terms import Finder, Terms
from blipvqa.config.knobs import Config
from blipvqa.data.synthetic_faults import RIGHT

WRITTEN_WRONGLY = "written wrongly"  # the fault of a written text that names other things than its picture holds


def knows_truth(config: Config) -> bool:
    """Whether the source says which of its captions are wrong."""
    return config.data.source == "synthetic" and config.data.synthetic.caption_noise > 0


def mark_truth(texts: Sequence[Candidate], terms: Terms) -> None:
    """Give every text `right`; a written one also the `fault` that it has itself.

    A written text is right where it names exactly the things of the true caption, each at its place: stain, cellularity
    and what lies where is all that a drawn caption says.
    """
    finder = Finder(terms)
    for text in texts:
        if text["origin"] != WEB:
            same = finder.named(text["caption"]) == finder.named(text["truth"])
            text["fault"] = RIGHT if same else WRITTEN_WRONGLY
        text["right"] = text["fault"] == RIGHT
