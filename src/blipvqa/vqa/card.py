"""The model card, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from pathlib import PurePath

from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run

HEADLINE = {
    "exact_match": "exact match",
    "yes_no_accuracy": "yes/no accuracy",
    "open_exact_match": "open exact match",
    "open_token_f1": "open token F1",
    "bleu_1": "BLEU-1",
}


def write_card(run: Run) -> None:
    """Write the card of `run`'s export. Paths are cut to their last part: a card travels."""
    config, environment = run.config.as_dict(), run.environment
    splits = [split for split in ("test", "validation") if (run.folder / f"metrics-{split}.json").exists()]
    scores = run.metrics(splits[0]) if splits else None
    parts = [
        _head(config),
        _data(config, environment, scores),
        _settings(config, environment),
        _numbers(scores, run),
        _use(),
        _limits(scores),
    ]
    write_text(run.model_folder / "README.md", "\n\n".join(parts) + "\n")


def last_part(path: str) -> str:
    """A Hub id or word as it is, a path's last part: where files lay is nobody's business."""
    text = str(path)
    is_path = text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text
    return PurePath(text.replace("\\", "/")).name if is_path else text


def plain(text) -> str:
    """Text from data or settings as Markdown that is only text: in code, on one line."""
    return "`" + " ".join(str(text).replace("`", "'").split()) + "`"


def _head(config: dict) -> str:
    return f"""---
library_name: transformers
pipeline_tag: visual-question-answering
tags: [medical, vqa, blip]
---

# {config["name"]}: BLIP, fine-tuned for visual question answering on {plain(last_part(config["data"]["source"]))}

**This is no medical device.** It answers questions about pictures as the answers in its training data would have it,
is often wrong, and must not be used for diagnosis, for treatment, or on anyone's behalf. Use it for research on
methods, and read the numbers below with their intervals."""


def _data(config: dict, environment: dict, scores: dict | None) -> str:
    lines = ["## Data", "", f"Source: {plain(last_part(config['data']['source']))}, `{config['data']['split']}` split."]
    cut = environment.get("texts_cut", {}).get("train")
    if cut:
        lines.append(f"Cut to the token limits in train: {cut['question']} questions, {cut['answer']} answers.")
    notes = [note for kind in scores["data"].values() for note in kind] if scores else environment.get("notes", [])
    if notes:
        lines += ["", "Known of this data:", "", *(f"- {plain(note)}" for note in notes)]
    return "\n".join(lines)


def _settings(config: dict, environment: dict) -> str:
    train, model = config["train"], config["model"]
    rows = {
        "started from": plain(last_part(model["name"])),
        "image size": f"{model['image_size']} pixels, square",
        "questions a step": train["batch_size"],
        "epochs, at most": train["epochs"],
        "learning rate": f"{train['learning_rate']:g}, {train['schedule']}",
        "weight decay": train["weight_decay"],
        "label smoothing": train["label_smoothing"],
        "LoRA rank": model["lora"]["rank"] or "none: every weight",
        "augmentation": train["augment"],
        "seed": config["seed"],
        "device": environment.get("device", "unknown"),
        "precision": environment.get("precision", "unknown"),
    }
    return "## Training\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _numbers(scores: dict | None, run: Run) -> str:
    if scores is None:
        best = run.state.get("best")
        known = f"Best validation {best['metric']}: {best['value']:.3f} (epoch {best['epoch']}). " if best else ""
        return f"## Numbers\n\n{known}Not evaluated on a held-out split yet."
    lines = [
        f"## Numbers on {scores['split']}",
        "",
        "95 % intervals are bootstrapped over images. The ceiling is what repeated questions with several answers "
        "allow; the baseline is the majority answer per question type, which sees no picture.",
        "",
        "| | value | 95 % interval | questions | ceiling | baseline |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in HEADLINE.items():
        entry = scores["overall"].get(name)
        if entry and entry["value"] is not None:
            interval = "–" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"
            lines.append(
                f"| {title} | {entry['value']:.3f} | {interval} | {entry['n']} | "
                f"{_value(scores['ceiling'].get(name))} | {_value(scores.get('baseline', {}).get(name))} |"
            )
    lines += ["", *_grounding_lines(scores), *_confidence_lines(scores)]
    return "\n".join(lines).rstrip()


def _value(entry: dict | None, key: str = "value") -> str:
    return "–" if not entry or entry[key] is None else f"{entry[key]:.3f}"


def _grounding_lines(scores: dict) -> list[str]:
    if "grounding" not in scores:
        return []
    found = scores["grounding"]
    lines = [
        "How much of exact match needs the picture:",
        "",
        "| | exact match | lost | 95 % interval | answers that change |",
        "|---|---|---|---|---|",
    ]
    for name, words in (("blank", "picture blanked"), ("shuffled", "another picture in its place")):
        gap = found["gap"][name]
        interval = "–" if gap["low"] is None else f"{gap['low']:.3f} to {gap['high']:.3f}"
        lines.append(
            f"| {words} | {_value(found[name]['overall']['exact_match'])} | {_value(gap, 'difference')} | {interval} | "
            f"{'–' if found['changed'][name] is None else format(found['changed'][name], '.0%')} |"
        )
    return [*lines, "", *_least_grounded(scores)]


def _least_grounded(scores: dict, fewest: int = 30) -> list[str]:
    """The question type that loses least with its picture blanked, of those with enough questions to tell."""
    blank, seen = scores["grounding"]["blank"]["by"]["question_type"], scores["by"]["question_type"]
    lost = {
        kind: entry["exact_match"]["value"] - blank[kind]["exact_match"]["value"]
        for kind, entry in seen.items()
        if entry["exact_match"]["n"] >= fewest
    }
    if not lost:
        return []
    kind = min(lost, key=lost.get)
    return [
        f"Of the question types with {fewest} questions and more, {plain(kind)} needs the picture least: "
        f"{lost[kind]:.3f} lost.",
        "",
    ]


def _confidence_lines(scores: dict) -> list[str]:
    found = scores.get("confidence")
    if not found or found["before"]["ece"]["value"] is None:
        return []
    after = found["after"] and f", {found['after']['ece']['value']:.3f} after calibration on validation"
    return [f"- Expected calibration error {found['before']['ece']['value']:.3f}{after or ''}."]


def _use() -> str:
    return """## Use

```python
from PIL import Image
from transformers import BlipForQuestionAnswering, BlipProcessor

processor = BlipProcessor.from_pretrained("this-folder")
model = BlipForQuestionAnswering.from_pretrained("this-folder").eval()
inputs = processor(Image.open("slide.png").convert("RGB"), "is there necrosis?", return_tensors="pt")
answer = model.generate(**inputs, max_length=42)  # the library's default is 20 tokens; max_length counts the first
print(processor.decode(answer[0], skip_special_tokens=True))
```

Questions were lower-cased, without `.!"()*#:;~`. Ask one question at a time: transformers lets the padding of a batch
leak into its answers. `blipvqa` asks in batches without that, and tells how sure the model is."""


def _limits(scores: dict | None) -> str:
    lines = [
        "## Limits",
        "",
        "- Pathology and radiology data sets hold few patients, few scanners and few readers; on pictures from "
        "elsewhere expect less.",
        "- Half of PathVQA's answers are yes or no, and its open answers come from figure captions: exact match "
        "counts synonyms as wrong.",
        "- Left and right are findings; training used no flips.",
    ]
    warnings = [text for text in scores["warnings"] if text not in scores["data"]["leaks"]] if scores else []
    if warnings:
        lines += ["", "What the evaluation warns of:", "", *(f"- {plain(text)}" for text in warnings)]
    return "\n".join(lines)
