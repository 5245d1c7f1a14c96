"""The model card of a captioner, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from blipvqa.captions.titles import HEADLINE
from blipvqa.pages.cards import front_matter, markdown_table, plain, results
from blipvqa.pages.wording import count, interval, last_part, number
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run

TASK = "image-to-text"


def write_card(run: Run) -> None:
    """Write the card of `run`'s export. Paths are cut to their last part: a card travels."""
    config, environment = run.config.as_dict(), run.environment
    splits = [split for split in ("test", "validation") if (run.folder / f"metrics-{split}.json").exists()]
    scores = run.metrics(splits[0]) if splits else None
    parts = [
        _head(config, scores),
        _settings(config, environment),
        _numbers(scores, run),
        _use(config),
        _limits(scores),
    ]
    write_text(run.model_folder / "README.md", "\n\n".join(parts) + "\n")


def _head(config: dict, scores: dict | None) -> str:
    source, split = config["data"]["source"], scores["split"] if scores else ""
    measured = results(scores["overall"], HEADLINE, task=TASK, source=source, split=split) if scores else []
    tags = ("medical", "captioning", "blip")
    matter = front_matter(config["name"], task=TASK, tags=tags, start=config["model"]["name"], results=measured)
    return f"""{matter}

# {config["name"]}: BLIP, fine-tuned to describe pictures of {plain(last_part(source))}

**This is no medical device.** It writes what captions of such pictures usually say, names things that are not there,
and must not be used for diagnosis, for treatment, or on anyone's behalf. Use it for research on methods, and read the
numbers below with their intervals."""


def _settings(config: dict, environment: dict) -> str:
    train, model, caption = config["train"], config["model"], config["caption"]
    rows = {
        "started from": plain(last_part(model["name"])),
        "image size": f"{model['image_size']} pixels, square",
        "prompt": plain(caption["prompt"]),
        "captions a step": train["batch_size"],
        "epochs, at most": train["epochs"],
        "learning rate": f"{train['learning_rate']:g}, {train['schedule']}",
        "label smoothing": train["label_smoothing"],
        "LoRA rank": model["lora"]["rank"] or "none: every weight",
        "written with": f"{caption['num_beams']} beams, {caption['min_length']} to {caption['max_length']} tokens",
        "seed": config["seed"],
        "device": environment.get("device", "unknown"),
        "precision": environment.get("precision", "unknown"),
    }
    return "## Training\n\n" + markdown_table(["", ""], rows.items())


def _numbers(scores: dict | None, run: Run) -> str:
    if scores is None:
        best = run.state.get("best")
        so_far = f"Best validation {best['metric']}: {best['value']:.3f} (epoch {best['epoch']}). " if best else ""
        return f"## Numbers\n\n{so_far}Not evaluated on a held-out split yet."
    rows = [
        (
            title,
            number(entry),
            interval(entry),
            count(entry),
            number(scores.get("baseline", {}).get(name)),
            number(scores.get("exchanged", {}).get(name)),
        )
        for name, title in HEADLINE.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    head = ["", "value", "95 % interval", "pictures", "commonest caption", "other pictures"]
    return f"""## Numbers on {scores["split"]}

95 % intervals are bootstrapped over images. The last two columns need no picture: the commonest caption of train for
every picture, and the model's captions each under another picture.

{markdown_table(head, rows)}"""


def _use(config: dict) -> str:
    caption = config["caption"]
    prompt = caption["prompt"].replace('"', "'")
    settings = f"num_beams={caption['num_beams']}, max_length={caption['max_length']}"
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


def _limits(scores: dict | None) -> str:
    lines = [
        "## Limits",
        "",
        "- Word overlap with a reference is no measure of truth: a caption can score well and name a wrong side.",
        "- On pictures from elsewhere expect less.",
    ]
    if scores and scores["warnings"]:
        lines += ["", "What the evaluation warns of:", "", *(f"- {plain(text)}" for text in scores["warnings"])]
    return "\n".join(lines)
