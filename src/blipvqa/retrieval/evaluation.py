"""`evaluate` for retrieval: a trained run's searches of a held-out split, and every number that follows from them.

Beside the score stand chance, the order with exchanged pictures, and the weights training began with. Searches are made
once and stored; all numbers are computed from them.
"""

from __future__ import annotations

from blipvqa.config.knobs import Config
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.retrieval.batches import collator_for
from blipvqa.retrieval.card import write_card
from blipvqa.retrieval.predictions import Prediction, predict
from blipvqa.retrieval.scores import score
from blipvqa.runs.run import Run
from blipvqa.training.shares import is_first
from blipvqa.training.stored import ModelsOfRun, content_digest, stored
from blipvqa.training.trained import Trained, trained_run, write_scores


def evaluate(
    config: Config,
    split: str | None = None,
    *,
    start: bool = True,
    resamples: int = 1000,
    new_data: bool = False,
    progress: bool = True,
) -> Run:
    """Search `split` (None: test, or validation where there is no test) both ways and write predictions and metrics.

    `start` also scores the weights training began with. `new_data` allows data that is not as it was in training; the
    scores then say so first. Raises RunError where the run has no model yet, the split does not exist or the data
    changed, and ConfigError where the settings are not the run's.
    """
    with trained_run(config, split, new_data) as trained:
        models = ModelsOfRun(config, trained.run, trained.splits)
        began = _searches(config, trained, models, progress, start=True) if start else None
        predictions = _searches(config, trained, models, progress)
        if not is_first():
            return trained.run
        bootstrap = Bootstrap(config.data.group, resamples, config.seed)
        breakdown, matched = trained.splits[trained.split].breakdown, config.retrieval.rerank
        scores = dict(score(predictions, breakdown=breakdown, bootstrap=bootstrap, matched=matched))
        if began is not None:
            scores["start"] = score(began, bootstrap=bootstrap)["overall"]
        write_scores(trained, scores, predictions, config, models.digest(), collator_for)
        write_card(trained.run)
        models.say_kept()
        return trained.run


def _searches(
    config: Config, trained: Trained, models: ModelsOfRun, progress: bool, start: bool = False
) -> list[Prediction]:
    dataset = trained.splits[trained.split]
    made_by = models.made_by(start) | {
        "retrieval": config.retrieval.model_dump(
            mode="json", include={"rerank", "rerank_by", "max_words", "max_tokens"}
        ),
        "seed": config.seed,
        "rows": content_digest(list(dataset.rows)),
    }

    def search() -> list[Prediction]:
        model, processor = models.load(start)
        return predict(model, processor, dataset, config, progress)

    return stored(trained.run.folder / "answers", f"{trained.split}-start" if start else trained.split, made_by, search)
