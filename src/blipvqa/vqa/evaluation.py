"""`evaluate`: a trained run's predictions on a held-out split, and every number that follows from them.

Notable:
- The model answers once; predictions are stored with a fingerprint of what made them and asked for again only when
  that changed. All numbers are computed from the stored predictions.
- Beside the score stand the weights training began with, the majority answer that sees no picture, and the same model
  with the picture blanked or exchanged for another one's: what of the score needs the picture.
"""

from __future__ import annotations

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits, load_splits
from blipvqa.models.loading import load_processor
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.files import write_json, write_lines
from blipvqa.runs.run import Run, RunError
from blipvqa.vqa.card import write_card
from blipvqa.vqa.confidence import abstain, fit_temperature, score_confidence
from blipvqa.vqa.explained import store_explanations
from blipvqa.vqa.grounding import exchangeable
from blipvqa.vqa.grounding import grounding as grounding_of
from blipvqa.vqa.notes import all_notes
from blipvqa.vqa.predictions import load_candidates
from blipvqa.vqa.scores import score
from blipvqa.vqa.slices import slices
from blipvqa.vqa.stored_answers import StoredAnswers


def evaluate(
    config: Config,
    split: str | None = None,
    *,
    grounding: bool = True,
    start: bool = True,
    resamples: int = 1000,
    progress: bool = True,
) -> Run:
    """Answer `split` (None: test, or validation where there is no test) and write its predictions and metrics.

    `grounding` asks again with blanked and with shuffled pictures, `start` asks the weights training began with.
    Raises RunError when the run has no model yet or the split does not exist.
    """
    run = Run(config.folder)
    if not (run.model_folder / "config.json").exists():
        raise RunError(f"run '{run.name}' has no model yet: run notebook 02_finetune first")
    splits = load_splits(config)
    split = split or held_out(splits)
    if split not in splits:
        raise RunError(f"there is no split '{split}', only {', '.join(splits)}")
    stored = StoredAnswers(config, run, splits, progress)
    calibration_rows = stored.answers("validation") if split != "validation" else None
    raw = stored.answers(split)
    calibration = fit_temperature(calibration_rows) if calibration_rows else None
    predictions = abstain(raw, config.generate.uncertain_below or 0.0, calibration)
    store_explanations(stored, split, predictions)
    bootstrap = Bootstrap(config.data.group, resamples, config.seed)
    train, axes = splits["train"].rows, splits[split].breakdown
    scores = score(predictions, train=train, breakdown=axes, bootstrap=bootstrap)
    scores["data"] = all_notes(splits)
    scores["warnings"] = scores["data"]["leaks"] + scores["warnings"]
    if start:
        began = stored.answers(split, "start")
        scores["start"] = score(began, bootstrap=bootstrap)["overall"]
    if config.generate.method == "rank":
        candidates = load_candidates(config, splits, load_processor(str(run.model_folder)))
        scores["warnings"] = candidates.warnings(raw) + scores["warnings"]
        scores["generated"] = score(stored.answers(split, "generated"), bootstrap=bootstrap)["overall"]
    if grounding:
        blank = stored.answers(split, "blank")
        exchanged = stored.answers(split, "shuffled") if exchangeable(raw) else None
        scores["grounding"] = grounding_of(raw, blank, exchanged, bootstrap)
    scores["confidence"] = score_confidence(
        raw, calibration=calibration, threshold=config.generate.uncertain_below, bootstrap=bootstrap
    )
    scores["slices"] = slices(predictions, train=train, bootstrap=bootstrap)
    scores["split"] = split
    write_lines(run.folder / f"predictions-{split}.jsonl", predictions)
    write_json(run.folder / f"metrics-{split}.json", scores)
    write_card(run)
    return run


def held_out(splits: Splits) -> str:
    """The split to score: test, or validation where there is none."""
    return "test" if "test" in splits else "validation"
