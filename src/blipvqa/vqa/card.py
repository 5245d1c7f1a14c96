"""The model card, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from blipvqa.config.paths import project_path
from blipvqa.pages.cards import front_matter, markdown_table, plain, results
from blipvqa.pages.wording import count, interval, last_part, number
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run
from blipvqa.vqa.baselines import TITLES
from blipvqa.vqa.grounding import verdict_line
from blipvqa.vqa.notes import stored_notes
from blipvqa.vqa.tables import GROUNDING_HEAD, grounding_rows
from blipvqa.vqa.titles import HEADLINE, counted

TASK = "visual-question-answering"
SHOWN = {name: title for name, title in HEADLINE.items() if name not in ("bleu_2", "bleu_3", "bleu_4")}


def write_card(run: Run) -> None:
    """Write the card of `run`'s export. Paths are cut to their last part: a card travels."""
    config, environment = run.config.as_dict(), run.environment
    splits = [split for split in ("test", "validation") if (run.folder / f"metrics-{split}.json").exists()]
    scores = run.metrics(splits[0]) if splits else None
    parts = [
        _head(config, scores),
        _data(config, environment, scores),
        _settings(config, environment),
        _numbers(scores, run),
        _use(),
        _limits(scores),
    ]
    write_text(run.model_folder / "README.md", "\n\n".join(parts) + "\n")


def _head(config: dict, scores: dict | None) -> str:
    source, split = config["data"]["source"], scores["split"] if scores else ""
    measured = results(scores["overall"], SHOWN, task=TASK, source=source, split=split) if scores else []
    tags, start = ("medical", "vqa", "blip"), config["model"]["name"]
    start = "" if project_path(start).exists() else start  # a folder of this machine is no Hub id
    matter = front_matter(config["name"], task=TASK, tags=tags, start=start, results=measured)
    return f"""{matter}

# {config["name"]}: BLIP, fine-tuned for visual question answering on {plain(last_part(source))}

**This is no medical device.** It answers questions about pictures as the answers in its training data would have it,
is often wrong, and must not be used for diagnosis, for treatment, or on anyone's behalf. Use it for research on
methods, and read the numbers below with their intervals."""


def _data(config: dict, environment: dict, scores: dict | None) -> str:
    lines = ["## Data", "", f"Source: {plain(last_part(config['data']['source']))}, `{config['data']['split']}` split."]
    cut = environment.get("texts_cut", {}).get("train")
    if cut:
        lines.append(f"Cut to the token limits in train: {cut['question']} questions, {cut['answer']} answers.")
    notes = stored_notes(scores) if scores else environment.get("notes", [])
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
    return "## Training\n\n" + markdown_table(["", ""], rows.items())


def _numbers(scores: dict | None, run: Run) -> str:
    if scores is None:
        best = run.state.get("best")
        so_far = f"Best validation {best['metric']}: {best['value']:.3f} (epoch {best['epoch']}). " if best else ""
        return f"## Numbers\n\n{so_far}Not evaluated on a held-out split yet."
    blind = scores.get("baseline", {})
    rows = [
        (
            title,
            number(entry),
            interval(entry),
            count(entry),
            number(scores["ceiling"].get(name)),
            number(blind.get(name)),
        )
        for name, title in SHOWN.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    lines = [
        f"## Numbers on {scores['split']}",
        "",
        "95 % intervals are bootstrapped over images. The ceiling is what repeated questions with several answers "
        f"allow; the baseline is {_baseline(scores)}, which sees no picture.",
        "",
        markdown_table(["", "value", "95 % interval", counted(scores), "ceiling", "baseline"], rows),
        "",
        *_grounding_lines(scores),
        *_confidence_lines(scores),
    ]
    return "\n".join(lines).rstrip()


def _baseline(scores: dict) -> str:
    if "baseline_name" not in scores:  # scored before there were three
        return "the majority answer per question type"
    return f"the {TITLES[scores['baseline_name']]}, the strongest of {len(TITLES)} answerers of questions alone"


def _grounding_lines(scores: dict) -> list[str]:
    if "grounding" not in scores:
        return []
    heading = "How much of exact match needs the picture: what is lost without it, and how many answers change."
    rows = markdown_table(GROUNDING_HEAD, grounding_rows(scores))
    return [verdict_line(scores), "", heading, "", rows, "", *_least_grounded(scores)]


def _least_grounded(scores: dict, fewest: int = 30) -> list[str]:
    """The question type that loses least with another picture, of those with enough questions to tell."""
    exchanged, own = scores["grounding"]["shuffled"]["by"]["question_type"], scores["by"]["question_type"]
    lost = {
        kind: entry["exact_match"]["value"] - exchanged[kind]["exact_match"]["value"]
        for kind, entry in own.items()
        if entry["exact_match"]["n"] >= fewest and kind in exchanged
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
    confidence = scores.get("confidence")
    if not confidence or confidence["before"]["ece"]["value"] is None:
        return []
    before, after = confidence["before"]["ece"], confidence["after"]
    line = f"- Expected calibration error {number(before)} (by noise alone {number(before, 'floor')})"
    if after:
        line += f", {number(after['ece'])} after calibration on validation ({number(after['ece'], 'floor')})"
    return [f"{line}.", f"- AUROC of confidence for right against wrong answers {number(confidence.get('auroc'))}."]


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
