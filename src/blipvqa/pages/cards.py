"""A model card: its frame for every task, front matter that the Hub reads, and text from data that is only text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from blipvqa.config.kinds import names_of
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.errors import DamagedFile
from blipvqa.pages.wording import last_part
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run, RunError


@dataclass(frozen=True)
class Kind:
    """What a task's cards say of it."""

    task: str  # the Hub's name of it
    tag: str
    purpose: str  # "answer questions", after "fine-tuned to"
    danger: str  # what it does wrong, after "This is no medical device."
    titles: Mapping[str, str]  # the measures that the Hub's index keeps


# marks that have the letters after them shown in another order than they stand in
TURNS = dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def write_card(run: Run, kind: Kind, parts: Callable[[Mapping | None], Sequence[str]]) -> None:
    """Write `model/README.md`: the head, then the `parts` of the scores of test, of validation, or of None.

    Paths are cut to their last part: a card travels.
    """
    scores = _scores(run)
    text = "\n\n".join([_head(run.config, kind, scores), *parts(scores)])
    write_text(run.model_folder / "README.md", text + "\n")


def _scores(run: Run) -> Mapping | None:
    """Those of test or of validation; None before a run is evaluated, and where it was trained further since."""
    for split in ("test", "validation"):
        with suppress(RunError, DamagedFile):
            return run.metrics(split)
    return None


def _head(config: Config, kind: Kind, scores: Mapping | None) -> str:
    source, split = config.data.source, scores["split"] if scores else ""
    measured = results(scores["overall"], kind.titles, task=kind.task, source=source, split=split) if scores else []
    start, *more = names_of(config.model.name)
    start = "" if more or project_path(start).exists() else start  # a folder of this machine is no Hub id
    matter = front_matter(
        config.name, task=kind.task, tags=("medical", kind.tag, "blip"), start=start, results=measured
    )
    return f"""{matter}

# {config.name}: BLIP, fine-tuned to {kind.purpose} on {plain(last_part(source))}

**This is no medical device.** {kind.danger} Use it for research on methods, and read the numbers below with their
intervals."""


def settings_part(run: Run, unit: str, own: Mapping[str, object]) -> str:
    """How it was trained; `unit` is what a step counts, `own` what only this task has."""
    train, model, environment = run.config.train, run.config.model, run.environment
    rows = {
        "started from": ", ".join(plain(last_part(name)) for name in names_of(model.name)),
        "image size": f"{model.image_size} pixels, square",
        f"{unit} a step": train.batch_size,
        "epochs, at most": train.epochs,
        "learning rate": f"{train.learning_rate:g}, {train.schedule}",
        "weight decay": train.weight_decay,
        "label smoothing": train.label_smoothing,
        "LoRA rank": model.lora.rank or "none: every weight",
        "frozen towers": "all, beside the adapters" if model.lora.rank else ", ".join(model.freeze) or "none",
        "augmentation": train.augment,
        **own,
        "seed": run.config.seed,
        "device": environment.get("device", "unknown"),
        "precision": environment.get("precision", "unknown"),
    }
    return "## Training\n\n" + markdown_table(["", ""], rows.items())


def not_evaluated(run: Run) -> str:
    """What stands in place of numbers until a held-out split was scored."""
    best = run.state.get("best")
    so_far = f"Best validation {best['metric']}: {best['value']:.3f} (epoch {best['epoch']}). " if best else ""
    return f"## Numbers\n\n{so_far}Not evaluated on a held-out split yet."


def warnings_of(run: Run, scores: Mapping | None) -> Sequence[str]:
    """What the evaluation warned of; before it what is known of the data, such as that a model wrote its texts."""
    return scores["warnings"] if scores else run.environment.get("notes", [])


def limits_part(lines: Sequence[str], warnings: Sequence[str]) -> str:
    """What the model cannot do, and what its data or its evaluation warn of."""
    warned = ["", "Warnings:", "", *(f"- {plain(text)}" for text in warnings)] if warnings else []
    return "\n".join(["## Limits", "", *(f"- {line}" for line in lines), *warned])


def front_matter(name: str, *, task: str, tags: Sequence[str], start: str, results: Sequence[EvalResult] = ()) -> str:
    """The YAML between two lines of dashes; `start`, the weights training began with, is named where it is a Hub id."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=task,
        tags=list(tags),
        base_model=start if start.count("/") == 1 and last_part(start) == start else None,
        model_name=name if results else None,
        eval_results=list(results) or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def results(
    entries: Mapping[str, Mapping], titles: Mapping[str, str], *, task: str, source: str, split: str
) -> list[EvalResult]:
    """The numbers that have a value, as the Hub's index of models keeps them."""
    return [
        EvalResult(
            task_type=task,
            dataset_type=last_part(source),
            dataset_name=last_part(source),
            dataset_split=split,
            metric_type=name,
            metric_name=title,
            metric_value=round(entries[name]["value"], 6),
        )
        for name, title in titles.items()
        if entries.get(name) and entries[name]["value"] is not None
    ]


def plain(text) -> str:
    """Text from data or settings as Markdown that is only text: in code, on one line, in the order of its letters."""
    return "`" + " ".join(str(text).replace("`", "'").translate(TURNS).split()) + "`"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table in Markdown; a bar or the end of a line inside a cell does not end it."""

    def written(cell) -> str:
        return " ".join(str(cell).split()).replace("|", "\\|")

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(written, line))} |" for line in lines)
