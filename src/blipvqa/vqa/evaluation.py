"""`evaluate`: a trained run's predictions on a held-out split, and every number that follows from them.

Notable:
- The model answers once; predictions are stored with a fingerprint of what made them and asked for again only when
  that changed. All numbers are computed from the stored predictions.
- Beside the score stand the weights training began with, the baselines that see no picture, and the same model
  with the picture blanked or exchanged for another one's: what of the score needs the picture.
"""

from __future__ import annotations

from blipvqa.config.knobs import Config
from blipvqa.models.loading import load_processor
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.run import Run
from blipvqa.training.shares import is_first
from blipvqa.training.starts import learnt_before
from blipvqa.training.trained import (
    Trained,
    changed_since_training,
    epoch_notes,
    texts_cut,
    trained_run,
    unknown_words,
    write_results,
)
from blipvqa.vqa.all_predictions import write_all_predictions
from blipvqa.vqa.batches import collator_for
from blipvqa.vqa.calibration import store_calibration
from blipvqa.vqa.candidate_ranks import score_candidates
from blipvqa.vqa.card import write_card
from blipvqa.vqa.confidence import fit_temperature, score_confidence, with_confidence
from blipvqa.vqa.conformal import calibrate_sets, score_sets, store_answer_sets, without_candidates
from blipvqa.vqa.consistency import score_consistency
from blipvqa.vqa.conversations import DROPPED, EXCHANGED, score_history, with_turns
from blipvqa.vqa.exchange import PARTS, exchangeable, of_several
from blipvqa.vqa.explained import store_explanations, stored_pointing
from blipvqa.vqa.foreign import by_chance, foreign_warnings, score_foreign, unlike_by_image, unlike_of
from blipvqa.vqa.grounding import grounding as grounding_of
from blipvqa.vqa.grounding import verdict_warnings
from blipvqa.vqa.notes import all_notes
from blipvqa.vqa.operating import score_operating_point
from blipvqa.vqa.opposites import new_questions
from blipvqa.vqa.predictions import candidate_texts, load_candidates
from blipvqa.vqa.published import published
from blipvqa.vqa.scores import score
from blipvqa.vqa.selective import ANSWERING, answering_warnings, choose, found_by, score_answering, threshold_in_force
from blipvqa.vqa.set_aside import rows_aside
from blipvqa.vqa.slices import slices
from blipvqa.vqa.stored_answers import StoredAnswers
from blipvqa.vqa.subgroups import score_subgroups


def evaluate(
    config: Config,
    split: str | None = None,
    *,
    grounding: bool = True,
    start: bool = True,
    resamples: int = 1000,
    new_data: bool = False,
    progress: bool = True,
) -> Run:
    """Answer `split` (None: test, or validation where there is no test) and write its predictions and metrics.

    `grounding` asks again with blanked and with shuffled pictures, and where rows have turns without them and behind
    others (`conversations`), `start` asks the weights training began with.
    `new_data` allows data that is not as it was in training; scores and report then say so first.
    Raises RunError where the run has no model yet, the split does not exist or the data changed, and ConfigError where
    the settings are not the run's.
    """
    with trained_run(config, split, new_data) as trained:
        _evaluate(config, trained, grounding, start, resamples, progress)
        return trained.run


def _evaluate(config: Config, trained: Trained, grounding: bool, start: bool, resamples: int, progress: bool) -> None:
    run, splits, split = trained.run, trained.splits, trained.split
    stored = StoredAnswers(config, run, splits, progress)
    began = stored.answers(split, "start") if start else None  # one model is held at a time
    calibration_rows = stored.answers("validation") if split != "validation" else None
    raw = stored.answers(split)
    ranks = config.generate.method == "rank" and bool(calibration_rows)
    aside = set(rows_aside(splits["validation"], run)) if ranks else set()
    fitted_on = [row for i, row in enumerate(calibration_rows or []) if i not in aside]
    calibration = fit_temperature(fitted_on) if calibration_rows else None
    if calibration:
        calibration |= {ANSWERING: choose(fitted_on, calibration), **found_by(config.generate)}
    sets = calibrate_sets([calibration_rows[i] for i in sorted(aside)], config.data.group) if ranks else None
    # without validation a wish cannot be granted, and nothing is withheld; `answering` says so
    unable = config.generate.wished_accuracy is not None and calibration is None
    threshold = 0.0 if unable else threshold_in_force(config.generate, calibration)
    predictions = without_candidates(with_confidence(raw, threshold, calibration), sets)
    bootstrap = Bootstrap(config.data.group, resamples, config.seed)
    generated = stored.answers(split, "generated") if config.generate.method == "rank" else None
    if grounding:
        blank = stored.answers(split, "blank")
        exchanged = stored.answers(split, "shuffled") if exchangeable(raw) else None
        parts = {name: stored.answers(split, name) for name in PARTS} if of_several(raw) else {}
        pointing = stored_pointing(stored, split, bootstrap)
    turns = grounding and with_turns(raw)
    others = (stored.answers(split, DROPPED), stored.answers(split, EXCHANGED)) if turns else None
    ranked_rows = stored.ranked_candidates(split)
    again = stored.answers_again(split, new_questions(predictions, [row["prediction"] for row in predictions]))
    unlike = unlike_by_image(config, stored.models, splits, split, run.folder)
    predictions = [row | {"unlike": unlike_of(row, unlike)} for row in predictions]
    if not is_first():
        return  # all is asked; what follows is counted and written once
    store_explanations(stored, split, predictions)
    train, axes = splits["train"].rows, splits[split].breakdown
    scores = score(predictions, train=train, breakdown=axes, bootstrap=bootstrap)
    ranked: list[str] = []
    if began is not None:
        scores["start"] = score(began, bootstrap=bootstrap)["overall"]
    if config.generate.method == "rank":
        candidates = load_candidates(config, splits, load_processor(str(run.model_folder)))
        ranked = candidates.warnings(raw)
        if sets:
            scores["answer_sets"] = score_sets(raw, sets, bootstrap)
        scores["generated"] = score(generated, bootstrap=bootstrap)["overall"]
    if grounding:
        scores["grounding"] = grounding_of(raw, blank, exchanged, bootstrap, parts)
        scores["pointing"] = pointing
    if others:
        scores["history"] = score_history(raw, *others, bootstrap)
    if ranked_rows:
        scores["candidates"] = score_candidates(ranked_rows, bootstrap)
    scores["confidence"] = score_confidence(raw, calibration=calibration, bootstrap=bootstrap)
    held_out = (raw, None if calibration_rows is None else fitted_on)
    scores["answering"] = score_answering(*held_out, calibration, config.generate, bootstrap)
    scores["operating_point"] = score_operating_point(*held_out, config.generate.wished_sensitivity, bootstrap)
    scores["subgroups"] = score_subgroups(raw, axes, bootstrap)
    scores["consistency"] = score_consistency(
        predictions, lambda _asked: again, train, scores["baseline_name"], bootstrap
    )
    scores["foreign"] = score_foreign(raw, unlike, bootstrap) | by_chance(unlike, splits["validation"])
    scores["published"] = published(raw, bootstrap)
    scores["slices"] = slices(predictions, train=train, breakdown=axes, bootstrap=bootstrap)
    scores["split"] = split
    # Looking for near-duplicates comes when every answer is on the disk: with many pictures it may take long.
    scores["data"] = all_notes(splits) | {"digest": trained.digest, "changes": trained.changes}
    first = (
        trained.warnings
        + changed_since_training(run, scores, config)
        + epoch_notes(run)
        + learnt_before(config, splits, split)
        + texts_cut(trained, config, collator_for)
        + unknown_words(run, splits[split], config.texts)
        + verdict_warnings(scores)
        + ranked
        + answering_warnings(scores["answering"])
    )
    first += foreign_warnings(scores["foreign"], split)
    scores["warnings"] = first + scores["data"]["leaks"] + scores["warnings"]
    answered = {split: predictions}
    if calibration_rows:
        answered["validation"] = without_candidates(with_confidence(calibration_rows, threshold, calibration), sets)
    write_all_predictions(run.folder, splits, answered)
    write_results(run, scores, predictions, config, stored.models.digest())
    if calibration:
        store_calibration(run.model_folder, calibration)
    if sets:
        store_answer_sets(run.model_folder, sets, candidate_texts(config, splits), config.generate)
    write_card(run)
    stored.models.say_kept()
