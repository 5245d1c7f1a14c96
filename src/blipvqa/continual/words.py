"""Whether the first model can read and write what the stages say; whether a stage holds out what another trains on."""

from __future__ import annotations

from itertools import permutations

from blipvqa.config.knobs import ConfigError
from blipvqa.continual.stages import Plan
from blipvqa.data.dataset import Splits
from blipvqa.data.duplicates import look_alike_line, near_duplicates
from blipvqa.data.held_out import PATIENT, PIXELS, held_out_names, names_of
from blipvqa.models.loading import load_processor
from blipvqa.models.tokenizer import unknown_texts
from blipvqa.training.starts import learnt_before
from blipvqa.training.trained import held_out

MOST_UNKNOWN = 0.1  # of a stage's answers: with more, what the matrix shows is the vocabulary


def check_words(planned: Plan, data: list[Splits]) -> list[str]:
    """Notes on answers that the vocabulary cannot write, and on pictures and patients in two stages, or nearly so.

    Raises ConfigError that names every stage of which more than MOST_UNKNOWN cannot be written.
    """
    tokenizer = load_processor(planned.start).tokenizer
    notes, problems = [], []
    for stage, splits in zip(planned.stages, data, strict=True):
        answers = [row["answer"] for row in splits["train"].rows]
        unknown = unknown_texts(tokenizer, answers)
        count = sum(answer in unknown for answer in answers)
        if count:
            line = (
                f"{count:,} of {len(answers):,} answers of '{stage.name}' hold letters that the model does not know, "
                f"e.g. {min(unknown)!r:.60}"
            )
            (problems if count > MOST_UNKNOWN * len(answers) else notes).append(line)
    if problems:
        raise ConfigError(
            "\n".join(problems) + "\nA model's vocabulary is that of its beginning: begin with model.name: scratch, "
            "which learns one from all stages, or with a published model."
        )
    return notes + _learnt(planned, data) + _shared(planned, data) + _alike(planned, data)


def _learnt(planned: Plan, data: list[Splits]) -> list[str]:
    """A line for each stage that holds out, to be scored by, what the run that all begin with had learnt."""
    return [
        f"{stage.name}: {line}"
        for stage, splits in zip(planned.stages, data, strict=True)
        for line in learnt_before(
            stage.config.model_copy(update={"name": planned.config.name}), splits, held_out(splits)
        )
    ]


def _shared(planned: Plan, data: list[Splits]) -> list[str]:
    """A line for each two stages of which one trains on pictures, or patients by name, that the other holds out."""
    held = [held_out_names([splits]) for splits in data]
    every = frozenset().union(*held)
    trained = [frozenset().union(*names_of(splits["train"], every)) for splits in data]
    names, notes = [stage.name for stage in planned.stages], []
    for i, j in permutations(range(len(data)), 2):
        both = trained[i] & held[j]
        for kind, what in ((PIXELS, "pictures"), (PATIENT, "groups by name")):
            if count := sum(name[0] == kind for name in both):
                notes.append(f"{count:,} {what} that '{names[j]}' holds out are {what} that '{names[i]}' trains on")
    return notes


def _alike(planned: Plan, data: list[Splits]) -> list[str]:
    """A line for each held-out split with pictures that look like one that another stage trains on."""
    stages = list(zip([stage.name for stage in planned.stages], data, strict=True))
    trained = {(name, "train"): splits["train"] for name, splits in stages}
    held = {(name, split): dataset for name, splits in stages for split, dataset in splits.items() if split != "train"}
    return [
        look_alike_line(count, f"{other[1]} of '{other[0]}'", f"train of '{one[0]}'")
        for (one, other), count in near_duplicates(trained | held).images.items()
        if one in trained and other in held and one[0] != other[0]
    ]
