"""The model card, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages import cards
from blipvqa.pages.cards import Kind, limits_part, markdown_table, not_evaluated, plain, settings_part
from blipvqa.pages.wording import count, counted, interval, last_part, number, unit
from blipvqa.runs.run import Run
from blipvqa.vqa.baselines import TITLES
from blipvqa.vqa.grounding import verdict_line
from blipvqa.vqa.notes import stored_notes
from blipvqa.vqa.sections import answering_lines
from blipvqa.vqa.tables import GROUNDING_HEAD, grounding_rows
from blipvqa.vqa.titles import HEADLINE

KIND = Kind(
    task="visual-question-answering",
    tag="vqa",
    purpose="answer questions",
    danger="It answers questions about pictures as the answers in its training data would have it, is often wrong, and "
    "must not be used for diagnosis, for treatment, or on anyone's behalf.",
    titles={name: title for name, title in HEADLINE.items() if name not in ("bleu_2", "bleu_3", "bleu_4")},
)


def write_card(run: Run) -> None:
    """Write the card of `run`'s export."""
    cards.write_card(
        run,
        KIND,
        lambda scores: [
            _data(run, scores),
            settings_part(run, "questions", {}),
            _numbers(scores) if scores else not_evaluated(run),
            _use(),
            _limits(scores),
        ],
    )


def _data(run: Run, scores: Mapping | None) -> str:
    data, environment = run.config.data, run.environment
    lines = ["## Data", "", f"Source: {plain(last_part(data.source))}, `{data.split}` split."]
    cut = environment.get("texts_cut", {}).get("train")
    if cut:
        lines.append(f"Cut to the token limits in train: {cut['question']} questions, {cut['answer']} answers.")
    notes = stored_notes(scores) if scores else environment.get("notes", [])
    if notes:
        lines += ["", "Known of this data:", "", *(f"- {plain(note)}" for note in notes)]
    return "\n".join(lines)


def _numbers(scores: Mapping) -> str:
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
        for name, title in KIND.titles.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    lines = [
        f"## Numbers on {scores['split']}",
        "",
        f"95 % intervals are bootstrapped over {unit(scores)}. The ceiling is what repeated questions with several "
        f"answers allow; the baseline is {_baseline(scores)}, which sees no picture.",
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
    auroc = f"- AUROC of confidence for right against wrong answers {number(confidence.get('auroc'))}."
    return [f"{line}.", auroc, *answering_lines(scores)]


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


def _limits(scores: Mapping | None) -> str:
    lines = [
        "Medical data sets hold few patients, few scanners and few readers; on pictures from elsewhere expect less.",
        "Exact match counts synonyms as wrong.",
        "Left and right are findings; training used no flips.",
    ]
    # leaks are said under Data
    return limits_part(
        lines, [text for text in scores["warnings"] if text not in scores["data"]["leaks"]] if scores else []
    )
