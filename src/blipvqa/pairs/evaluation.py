"""`evaluate` for statements about two pictures: a trained run's judgements of a held-out split, and what they need.

Each statement is judged with its pictures as they are, swapped, with one of the two exchanged or dropped, and with
another pair's, and by the weights training began with. Judgements are made once and stored; all numbers are computed
from them.
"""

from __future__ import annotations

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pairs.batches import collator_for
from blipvqa.pairs.card import write_card
from blipvqa.pairs.changes import CHANGES, changed, of_order, swapped, turned
from blipvqa.pairs.order import about_order
from blipvqa.pairs.predictions import Prediction, predict
from blipvqa.pairs.scores import ALONE, score
from blipvqa.runs.run import Run
from blipvqa.training.shares import is_first
from blipvqa.training.stored import ModelsOfRun, content_digest, stored
from blipvqa.training.trained import Trained, trained_run, write_scores


def evaluate(
    config: Config,
    split: str | None = None,
    *,
    start: bool = True,
    exchange: bool = True,
    resamples: int = 1000,
    new_data: bool = False,
    progress: bool = True,
) -> Run:
    """Judge `split` (None: test, or validation where there is no test) and write its predictions and metrics.

    `start` also scores the weights training began with, `exchange` the run with other pictures. `new_data` allows data
    that is not as it was in training; the scores then say so first. Raises RunError where the run has no model yet, the
    split does not exist or the data changed, and ConfigError where the settings are not the run's.
    """
    with trained_run(config, split, new_data) as trained:
        judging = _Judging(config, trained, progress)
        data = trained.splits[trained.split]
        began = judging.of("start", data, start=True) if start else None
        predictions = judging.of("", data)
        _add_other_order(predictions, judging.of("swapped", swapped(data)), "swapped")
        about = of_order(data)
        _add_other_order([predictions[i] for i in about], judging.of("turned", turned(data.chosen(about))), "turned")
        other = {}
        if exchange:
            several = len({row["image_id"] for row in data.rows}) > 1
            names = [name for name in CHANGES if several or name in ALONE]
            other = {name: judging.of(name, changed(data, name, config.seed)) for name in names}
        if not is_first():
            return trained.run
        bootstrap = Bootstrap(config.data.group, resamples, config.seed)
        scores = dict(
            score(
                predictions,
                train=trained.splits["train"].rows,
                changed=other,
                breakdown=data.breakdown,
                bootstrap=bootstrap,
            )
        )
        if began is not None:
            scores["start"] = score(began, bootstrap=bootstrap)["overall"]
        write_scores(trained, scores, predictions, config, judging.models.digest(), collator_for)
        write_card(trained.run)
        judging.models.say_kept()
        return trained.run


class _Judging:
    """The judgements of a run's models, each made once."""

    def __init__(self, config: Config, trained: Trained, progress: bool):
        self.config, self.trained, self.progress = config, trained, progress
        self.models = ModelsOfRun(config, trained.run, trained.splits)

    def of(self, name: str, dataset: VQADataset, start: bool = False) -> list[Prediction]:
        """Of the rows of `dataset`, which files call `name`; with `start`, by the weights training began with."""
        config = self.config
        made_by = self.models.made_by(start) | {
            "pairs": config.pairs.model_dump(mode="json"),
            "rows": content_digest(list(dataset.rows)),
        }

        def make() -> list[Prediction]:
            model, processor = self.models.load(start)
            rows = predict(model, processor, dataset, config, f"judge {name}".strip(), self.progress)
            return [{**row, "order": "named" if about_order(row["sentence"]) else "not named"} for row in rows]

        file = f"{self.trained.split}-{name}".removesuffix("-")
        return stored(self.trained.run.folder / "answers", file, made_by, make)


def _add_other_order(predictions: list[Prediction], others: list[Prediction], name: str) -> None:
    for row, other in zip(predictions, others, strict=True):
        row[name] = other["probability"]
