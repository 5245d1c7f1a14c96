"""The measures that pages show first, as people read them."""

from __future__ import annotations

from blipvqa.captions.measures import MEASURES

HEADLINE = {
    name: MEASURES.title(name)
    for name in (
        "cider_d",
        "bleu_1",
        "bleu_4",
        "rouge_l",
        "terms_recalled",
        "terms_invented",
        "pictures_with_invented",
        "sides_exchanged",
        "distinct_captions",
        "words",
    )
}
SHARES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "terms_recalled", "terms_invented", "sides_exchanged")
