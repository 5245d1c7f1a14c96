"""`evaluate` for captions: a trained run's captions on a held-out split, and every number that follows from them.

Beside the score stand what needs no picture (the commonest caption, the captions under other pictures), what a search
reaches (the captions of train's nearest pictures) and the weights training began with. Captions are written once and
stored; all numbers are computed from them.
"""

from __future__ import annotations

from blipvqa.captions.batches import collator_for
from blipvqa.captions.card import write_card
from blipvqa.captions.neighbours import nearest_captions
from blipvqa.captions.predictions import Prediction, predict
from blipvqa.captions.scores import score
from blipvqa.captions.terms import load_terms
from blipvqa.config.knobs import Config
from blipvqa.numbers.bootstrap import Bootstrap
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
    """Describe `split` (None: test, or validation where there is no test) and write its predictions and metrics.

    `start` also scores the weights training began with. `new_data` allows data that is not as it was in training; the
    scores then say so first. Raises RunError where the run has no model yet, the split does not exist or the data
    changed, and ConfigError where the settings are not the run's.
    """
    terms = load_terms(config)
    with trained_run(config, split, new_data) as trained:
        models = ModelsOfRun(config, trained.run, trained.splits)
        began = _captions(config, trained, models, progress, start=True) if start else None
        predictions = _captions(config, trained, models, progress)
        nearest = nearest_captions(config, trained, models)
        if not is_first():
            return trained.run
        bootstrap = Bootstrap(config.data.group, resamples, config.seed)
        scores = dict(
            score(
                predictions,
                train=trained.splits["train"].rows,
                breakdown=trained.splits[trained.split].breakdown,
                terms=terms,
                bootstrap=bootstrap,
                seed=config.seed,
                nearest=nearest,
            )
        )
        if began is not None:
            scores["start"] = score(began, terms=terms, bootstrap=bootstrap)["overall"]
        write_scores(trained, scores, predictions, config, models.digest(), collator_for)
        write_card(trained.run)
        models.say_kept()
        return trained.run


def _captions(
    config: Config, trained: Trained, models: ModelsOfRun, progress: bool, start: bool = False
) -> list[Prediction]:
    dataset = trained.splits[trained.split]
    written_by = models.made_by(start) | {
        "caption": config.caption.model_dump(mode="json", exclude={"terms", "max_words", "max_tokens"}),
        "seed": config.seed if config.caption.sample else None,
        "rows": content_digest(list(dataset.rows)),
    }
    name = f"{trained.split}-start" if start else trained.split

    def write() -> list[Prediction]:
        model, processor = models.load(start)
        return predict(model, processor, dataset, config, progress)

    return stored(trained.run.folder / "answers", name, written_by, write)
