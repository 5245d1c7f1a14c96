"""The measures that pages show first, as people read them."""

from __future__ import annotations

from blipvqa.pairs.measures import MEASURES

HEADLINE = {name: MEASURES.title(name) for name in MEASURES}
CHANGED = {
    "first_dropped": "the second picture alone",
    "second_dropped": "the first picture alone",
    "first_exchanged": "another first picture",
    "second_exchanged": "another second picture",
    "both_exchanged": "another pair's pictures",
}
