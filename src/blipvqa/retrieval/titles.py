"""The measures that pages show first, as people read them."""

from __future__ import annotations

from blipvqa.plural import how_many
from blipvqa.retrieval.measures import DIRECTIONS, MEASURES, title

HEADLINE = {
    name: title(name)
    for name in (
        "r_mean",
        *(
            f"{direction}_{what}"
            for direction in DIRECTIONS
            for what in ("r1", "r5", "r10", "r_mean", "median_rank", "mean_rank")
        ),
    )
}
RECALLS = {name: title(name) for name in HEADLINE if name in MEASURES and "rank" not in name}


OUTSIDE = (
    "Only the matched candidates of a search have a score: a right one that is not among them counts as behind every "
    "wrong one. Ties count against the run."
)


def gallery_line(gallery: dict) -> str:
    """What was searched, in words: "140 pictures, 280 texts; of each search the best 16 were matched"."""
    matched = gallery.get("matched", 0)
    texts = f"{how_many(gallery['pictures'], 'picture')}, {how_many(gallery['texts'], 'text')}"
    return f"{texts}; of each search the best {matched:,} matched" if matched else f"{texts}; by cosine alone"
