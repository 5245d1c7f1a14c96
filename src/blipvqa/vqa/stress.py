"""A run's score against corrupted pictures."""

from __future__ import annotations

from functools import partial

from blipvqa.config.knobs import Config
from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.errors import InputError
from blipvqa.models.loading import load_model
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.seals import write_sealed
from blipvqa.training.shares import of_first
from blipvqa.training.trained import Trained, trained_run
from blipvqa.vqa.predictions import load_candidates, predict
from blipvqa.vqa.scores import score
from blipvqa.vqa.set_aside import choose_images

STRENGTHS = (1, 3, 5)


def stress(
    config: Config,
    kinds: list[str] | None = None,
    strengths: tuple[int, ...] = STRENGTHS,
    questions: int | None = None,
    progress: bool = True,
) -> dict:
    """Scores of a run on its held-out split, as it is and corrupted; written to `stress-<split>.json`.

    `questions`: only whole pictures with about so many questions. Returns {"split", "n", "clean": entry,
    "scores": {kind: {strength: entry}}} with exact match and its interval. Raises InputError for a kind that there is
    not, and what `trained_run` raises.
    """
    unknown = sorted(set(kinds or ()) - set(CORRUPTIONS))
    if unknown:
        raise InputError(f"corruptions: {', '.join(unknown)} is none of {', '.join(CORRUPTIONS)}")
    with trained_run(config, task="vqa") as trained:
        return _stress(config, trained, kinds, strengths, questions, progress)


def _stress(
    config: Config,
    trained: Trained,
    kinds: list[str] | None,
    strengths: tuple[int, ...],
    questions: int | None,
    progress: bool,
) -> dict:
    run, splits, split = trained.run, trained.splits, trained.split
    data = splits[split].chosen(choose_images(splits[split], questions, config.seed))
    model, processor = load_model(str(run.model_folder), config)
    answer = partial(
        predict,
        model,
        processor,
        config=config,
        candidates=load_candidates(config, splits, processor),
        progress=progress,
    )
    bootstrap = Bootstrap(config.data.group, seed=config.seed)

    def exact_match(dataset) -> dict:
        return score(answer(dataset=dataset), bootstrap=bootstrap)["overall"]["exact_match"]

    stress_scores = {"split": split, "n": len(data), "clean": exact_match(data), "scores": {}}
    for kind in kinds or CORRUPTIONS:
        stress_scores["scores"][kind] = {
            str(strength): exact_match(data.altered(partial(corrupt, kind=kind, strength=strength, seed=config.seed)))
            for strength in strengths
        }
    stress_scores["weights"] = run.state.get("weights")
    of_first(lambda: write_sealed(run.folder / f"stress-{split}.json", stress_scores))
    return stress_scores
