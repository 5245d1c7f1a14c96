"""The model card of a retriever, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages import cards
from blipvqa.pages.cards import Kind, limits_part, markdown_table, not_evaluated, settings_part, warnings_of
from blipvqa.pages.wording import count, counted, interval, number, unit
from blipvqa.retrieval.tables import by_cosine
from blipvqa.retrieval.titles import HEADLINE, gallery_line
from blipvqa.runs.run import Run

LIMITS = (
    "A recall means nothing without the gallery's size: of more pictures fewer are found.",
    "Near is not right: a picture may look alike and show something else.",
    "On pictures from elsewhere expect less.",
)
KIND = Kind(
    task="zero-shot-image-classification",
    tag="image-text-retrieval",
    purpose="find pictures by words and words by pictures",
    danger="What it finds first is often wrong. It must not be used for diagnosis, for treatment, or on anyone's "
    "behalf.",
    titles=HEADLINE,
)


def write_card(run: Run) -> None:
    """Write the card of `run`'s export."""
    settings = run.config.retrieval
    own = {
        "queue": f"{settings.queue:,} pairs",
        "momentum": settings.momentum,
        "soft targets": settings.alpha,
        "matched": f"the best {settings.rerank:,} of each search, ordered by the rule “{settings.rerank_by}”"
        if settings.rerank
        else "none",
    }
    cards.write_card(
        run,
        KIND,
        lambda scores: [
            settings_part(run, "pairs", own),
            _numbers(scores) if scores else not_evaluated(run),
            USE,
            limits_part(LIMITS, warnings_of(run, scores)),
        ],
    )


def _numbers(scores: Mapping) -> str:
    cosine = by_cosine(scores)
    rows = [
        (
            title,
            number(entry),
            interval(entry),
            count(entry),
            number(cosine.get(name)),
            number(scores["chance"].get(name)),
        )
        for name, title in HEADLINE.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    head = ["", "value", "95 % interval", counted(scores, "searches", "pictures"), "cosine alone", "chance"]
    return f"""## Numbers on {scores["split"]}

Gallery: {gallery_line(scores["gallery"])}. 95 % intervals are bootstrapped over {unit(scores, "pictures")}. Equal texts
are one candidate, and right for every picture that they describe.

{markdown_table(head, rows)}"""


USE = """## Use

```python
from PIL import Image
from transformers import BlipForImageTextRetrieval, BlipProcessor

processor = BlipProcessor.from_pretrained("this-folder")
model = BlipForImageTextRetrieval.from_pretrained("this-folder").eval()
inputs = processor(Image.open("slide.png").convert("RGB"), "a lung", return_tensors="pt")
match = model(**inputs).itm_score.softmax(-1)[0, 1]
```

The folder's tokenizer begins texts with [ENC], as matching wants it; the cosine (`use_itm_head=False`) wants [CLS].
`blipvqa` feeds each what it was trained with, and searches whole folders (`make_index`, `search`)."""
