"""The model card of a captioner, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.captions.titles import HEADLINE
from blipvqa.config.knobs import CaptionConfig
from blipvqa.pages import cards
from blipvqa.pages.cards import Kind, limits_part, markdown_table, not_evaluated, plain, settings_part, warnings_of
from blipvqa.pages.wording import count, counted, interval, number, unit
from blipvqa.runs.run import Run

LIMITS = (
    "Word overlap with a reference is no measure of truth: a caption can score well and name a wrong side.",
    "On pictures from elsewhere expect less.",
)
KIND = Kind(
    task="image-to-text",
    tag="captioning",
    purpose="describe pictures",
    danger="It writes what captions of such pictures usually say, names things that are not there, and must not be "
    "used for diagnosis, for treatment, or on anyone's behalf.",
    titles=HEADLINE,
)


def write_card(run: Run) -> None:
    """Write the card of `run`'s export."""

    def parts(scores: Mapping | None) -> list[str]:
        caption = (run.scored_config(scores["split"]) if scores else run.config).caption
        own = {
            "prompt": plain(caption.prompt),
            "written with": f"{caption.num_beams} beams, {caption.min_length} to {caption.max_length} tokens",
        }
        return [
            settings_part(run, "captions", own),
            _numbers(scores) if scores else not_evaluated(run),
            _use(caption),
            limits_part(LIMITS, warnings_of(run, scores)),
        ]

    cards.write_card(run, KIND, parts)


def _numbers(scores: Mapping) -> str:
    rows = [
        (
            title,
            number(entry),
            interval(entry),
            count(entry),
            *(number(scores.get(column, {}).get(name)) for column in ("baseline", "nearest", "exchanged")),
        )
        for name, title in HEADLINE.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    unit_of_count = counted(scores, "pictures", "pictures")
    head = ["", "value", "95 % interval", unit_of_count, "commonest caption", "nearest picture's", "other pictures"]
    return f"""## Numbers on {scores["split"]}

95 % intervals are bootstrapped over {unit(scores, "pictures")}. The last three columns write nothing: the commonest
caption of train for every picture, the caption of the training picture that looks most alike, and the model's captions
each under another picture.

{markdown_table(head, rows)}"""


def _use(caption: CaptionConfig) -> str:
    prompt = caption.prompt.replace('"', "'")
    settings = f"num_beams={caption.num_beams}, max_length={caption.max_length}"
    return f"""## Use

```python
from PIL import Image
from transformers import BlipForConditionalGeneration, BlipProcessor

processor = BlipProcessor.from_pretrained("this-folder")
model = BlipForConditionalGeneration.from_pretrained("this-folder").eval()
inputs = processor(Image.open("slide.png").convert("RGB"), "{prompt}", return_tensors="pt")
caption = model.generate(**inputs, {settings})
print(processor.decode(caption[0], skip_special_tokens=True))
```

transformers compares beams otherwise than the authors; `blipvqa` writes captions by the authors' rule."""
