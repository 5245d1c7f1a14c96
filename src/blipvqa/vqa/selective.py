"""When to answer: a threshold on confidence, chosen on validation for a wished accuracy and tested on the scored split.

Notable:
- `threshold_in_force` is the one rule by which `evaluate`, `ask`, the page and `answer_all` withhold answers.
- No score counts a withheld answer as wrong: the tables are of all questions, and what is gained by silence stands in
  a table of its own, accuracy when answering and coverage side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from blipvqa.config.knobs import GenerateConfig
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, estimate_mean
from blipvqa.numbers.thresholds import FEWEST, accuracy_frontier, threshold_for
from blipvqa.pages.wording import share
from blipvqa.vqa.answers import Prediction, answered_right
from blipvqa.vqa.candidate_files import digest_of_candidates
from blipvqa.vqa.confidence import confidence
from blipvqa.vqa.conformal import RANKING

CONTENT = "candidates_digest"  # beside a calibration of answers that were ranked among a file's
ANSWERING = "answering"  # under this key the frontier stands beside the calibration
WISHES = (0.9, 0.95, 0.99)  # accuracies that every evaluation looks for, beside the config's
NO_VALIDATION = "undefined: there is no validation split beside the scored one to choose a threshold on"
EMPTY_VALIDATION = "undefined: no validation question has a confidence to choose a threshold by"


def choose(validation: Iterable[Prediction], calibration: Mapping | None) -> list[list[float]]:
    """The frontier of thresholds on validation: `[confidence, accuracy of the answers at least so sure]`."""
    stated = [(confidence(row, calibration), answered_right(row)) for row in validation]
    stated = [(value, right) for value, right in stated if value is not None]
    return accuracy_frontier([value for value, _ in stated], [right for _, right in stated])


def found_by(settings: GenerateConfig) -> dict:
    """How answers are found, and so what their probabilities are of: it stands beside the calibration. What an older
    evaluation wrote has none of it, or method and beams alone, or no digest of its candidates."""
    of_method = ("num_beams", "max_new_tokens") if settings.method == "generate" else ("candidates", *RANKING)
    found = {name: getattr(settings, name) for name in ("method", *of_method)}
    return found if settings.method == "generate" else found | {CONTENT: digest_of_candidates(settings.candidates)}


def _found_otherwise(settings: GenerateConfig, calibration: Mapping) -> str | None:
    """What was otherwise when a calibration's answers were found, and what it is now, in words; None where the
    calibration holds. Two files of candidates are compared by what they hold, where both are known."""
    found = found_by(settings)
    digests = found.pop(CONTENT, None), calibration.get(CONTENT)
    if None not in digests:
        found.pop("candidates")
    for knob, value in found.items():
        if calibration.get(knob, value) != value:
            return f"generate.{knob} {calibration[knob]}, and is asked with {value}"
    if None not in digests and digests[0] != digests[1]:
        was = "another content" if calibration["candidates"] == settings.candidates else calibration["candidates"]
        return f"generate.candidates of {was}, and is asked with {settings.candidates} as it is now"
    return None


def threshold_in_force(settings: GenerateConfig, calibration: Mapping | None) -> float | None:
    """The confidence below which an answer is withheld; 0 where none is, None where all are: no threshold reaches
    `generate.wished_accuracy`.

    `calibration` is what `evaluate` stored beside the weights. Raises InputError where a wish cannot be looked up
    there.
    """
    if settings.wished_accuracy is None:
        return settings.uncertain_below or 0.0
    if not calibration or calibration.get(ANSWERING) is None:
        raise InputError(
            "generate.wished_accuracy: no threshold was chosen for this model, because it was not evaluated since, or "
            "there was no validation split. Evaluate the run, or set generate.uncertain_below instead"
        )
    if otherwise := _found_otherwise(settings, calibration):
        raise InputError(
            f"generate.wished_accuracy: the model was last evaluated with {otherwise}, of whose answers no threshold "
            "was chosen. Evaluate the run as it is asked"
        )
    return threshold_for(calibration[ANSWERING], settings.wished_accuracy)


def calibration_in_force(settings: GenerateConfig, calibration: Mapping | None) -> Mapping | None:
    """What of a stored calibration holds for answers that are found as `settings` say: None where it was fitted on
    answers that were found otherwise. Their confidence is the model's own then, as before any evaluation."""
    return calibration if calibration and _found_otherwise(settings, calibration) is None else None


def score_answering(
    predictions: Sequence[Prediction],
    validation: Sequence[Prediction] | None,
    calibration: Mapping | None,
    settings: GenerateConfig,
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """Accuracy when answering and coverage, for each wished accuracy, on validation and on the predictions.

    `validation` is None where there is none beside the scored split. Returns {"undefined": why nothing could be
    chosen, or None, "rows": [{"wish", "threshold": None where no threshold reaches the wish, "asked": whether the
    config asks for it, "validation", "scored": {"accuracy", "coverage": Estimate}}]}.
    """
    undefined = NO_VALIDATION if validation is None else None
    frontier = choose(validation or [], calibration)
    if validation is not None and all(confidence(row, calibration) is None for row in validation):
        undefined = EMPTY_VALIDATION
    wishes = sorted({*WISHES, *([settings.wished_accuracy] if settings.wished_accuracy is not None else [])})
    thresholds = [(wish, threshold_for(frontier, wish), wish == settings.wished_accuracy) for wish in wishes]
    if settings.uncertain_below is not None:
        thresholds.append((None, settings.uncertain_below, True))
    sets = {"validation": validation or [], "scored": predictions}
    rows = [
        {"wish": wish, "threshold": threshold, "asked": asked}
        | {name: _answered(rows, threshold, calibration, bootstrap) for name, rows in sets.items()}
        for wish, threshold, asked in thresholds
    ]
    return {"undefined": undefined, "fewest": FEWEST, "rows": rows}


def _answered(
    predictions: Sequence[Prediction], threshold: float | None, calibration: Mapping | None, bootstrap: Bootstrap
) -> dict:
    """The share that is answered, and the accuracy of these answers; both null without a threshold."""
    if threshold is None:
        predictions = []
    groups = bootstrap.groups_of(predictions)
    sure = np.array([(confidence(row, calibration) or 0.0) >= (threshold or 0.0) for row in predictions], bool)
    right = [answered_right(row) for row in predictions]
    return {
        "accuracy": estimate_mean(right, groups, bootstrap, np.flatnonzero(sure)),
        "coverage": estimate_mean(sure, groups, bootstrap),
    }


def answering_warnings(answering: Mapping) -> list[str]:
    """A line where the config's wish is not reached, on validation or on the scored split."""
    lines = []
    for row in answering["rows"]:
        if not row["asked"] or row["wish"] is None:
            continue
        accuracy = row["scored"]["accuracy"]
        if answering["undefined"]:
            lines.append(f"generate.wished_accuracy {row['wish']:g} is {answering['undefined']}")
        elif row["threshold"] is None:
            lines.append(
                f"no threshold reaches an accuracy of {row['wish']:.0%} on validation with {answering['fewest']} "
                "answers or more: every answer is withheld"
            )
        elif accuracy["high"] is not None and accuracy["high"] < row["wish"]:
            lines.append(
                f"answering above the threshold for {row['wish']:.0%} is right in {share(accuracy['value'], 1)} "
                f"({share(accuracy['low'], 1)} to {share(accuracy['high'], 1)}) of the answers only"
            )
    return lines
