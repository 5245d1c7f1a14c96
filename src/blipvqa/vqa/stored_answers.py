"""What a run's model answered, kept in `outputs/<name>/answers/` as long as what made it stays the same.

A fingerprint of content stands beside each file: weights, settings, candidates, rows and pictures. An answer is used
again only where all of it is equal, whatever the files are called.
"""

from __future__ import annotations

from collections.abc import Sequence

from blipvqa.config.knobs import APPLIED_AFTER, Config
from blipvqa.data.dataset import Splits
from blipvqa.runs.run import Run
from blipvqa.training.stored import ModelsOfRun, content_digest, stored
from blipvqa.vqa.conformal import MOST, without_candidates
from blipvqa.vqa.conversations import (
    DROPPED,
    EXCHANGED,
    as_own_turns,
    turn_partners,
    with_other_turns,
    without_turns,
)
from blipvqa.vqa.exchange import PARTS, as_exchanged, blanked, exchanged, of_several, partners
from blipvqa.vqa.opposites import NewQuestion
from blipvqa.vqa.predictions import candidate_texts, load_candidates, predict
from blipvqa.vqa.row_candidates import rank_own_candidates, with_candidates


class StoredAnswers:
    """The answers of one run's model to its splits; asked for again only when what they depend on changed."""

    def __init__(self, config: Config, run: Run, splits: Splits, progress: bool):
        self.config, self.run, self.splits, self.progress = config, run, splits, progress
        self.models = ModelsOfRun(config, run, splits)

    def answers(self, split: str, variant: str = "") -> list[dict]:
        """`variant`: "" as it is, "start" the weights training began with, "blank" and "shuffled" pictures, "generated"
        where the config ranks; of rows with turns DROPPED and EXCHANGED ones (`conversations`), of those with several
        pictures one of PARTS."""
        name = f"{split}-{variant}" if variant else split
        folder = self.run.folder / "answers"
        return stored(folder, name, self.fingerprint(split, variant), lambda: self._ask(split, variant))

    def answers_again(self, split: str, asked: Sequence[NewQuestion]) -> list[str]:
        """What the model answers to new questions about the pictures of this split's rows."""
        made_of = self.fingerprint(split, "again") | {"asked": content_digest([list(new) for new in asked])}
        folder = self.run.folder / "answers"
        rows = stored(folder, f"{split}-again", made_of, lambda: self._ask_again(split, asked)) if asked else []
        return [row["prediction"] for row in rows]

    def ranked_candidates(self, split: str) -> list[dict]:
        """The rows of this split that bring candidates, with their scores (`row_candidates`)."""
        dataset = self.splits[split]
        chosen = with_candidates(dataset.rows)

        def rank() -> list[dict]:
            return rank_own_candidates(*self.models.load(), dataset.chosen(chosen), self.config, self.progress)

        folder = self.run.folder / "answers"
        return stored(folder, f"{split}-candidates", self.fingerprint(split, "candidates"), rank) if chosen else []

    def _ask_again(self, split: str, asked: Sequence[NewQuestion]) -> list[dict]:
        dataset = self.splits[split].chosen([new.row for new in asked])
        dataset.rows = [row | {"question": new.question} for row, new in zip(dataset.rows, asked, strict=True)]
        model, processor = self.models.load()
        candidates = load_candidates(self.config, self.splits, processor)
        return predict(model, processor, dataset, self.config, candidates, self.progress)

    def _ask(self, split: str, variant: str) -> list[dict]:
        dataset, seed = self.splits[split], self.config.seed
        if variant == "blank":
            dataset = dataset.altered(blanked)
        elif variant == "shuffled":
            dataset = exchanged(dataset, seed)
        elif variant == DROPPED:
            dataset = without_turns(dataset)
        elif variant == EXCHANGED:
            dataset = with_other_turns(dataset, seed)
        elif variant in PARTS:
            dataset = dataset.chosen(of_several(dataset.rows))
            dataset = dataset.showing(PARTS[variant](dataset.rows, seed))
        model, processor = self.models.load(start=variant == "start")
        config = self._settings(variant)
        candidates = load_candidates(config, self.splits, processor)
        predictions = predict(model, processor, dataset, config, candidates, self.progress)
        if variant:
            predictions = without_candidates(predictions, None)  # sets are of the run's own answers only
        if variant in (DROPPED, EXCHANGED):
            return as_own_turns(self.splits[split].rows, predictions, seed if variant == EXCHANGED else None)
        return as_exchanged(self.splits[split].rows, predictions, seed) if variant == "shuffled" else predictions

    def _settings(self, variant: str) -> Config:
        if variant != "generated":
            return self.config
        return self.config.model_copy(
            update={"generate": self.config.generate.model_copy(update={"method": "generate"})}
        )

    def fingerprint(self, split: str, variant: str) -> dict:
        """What these answers depend on, by content."""
        config = self._settings(variant)
        settings = config.as_dict()
        # The candidates stand in the fingerprint by their texts, whatever their file is called.
        ignored = ("batch_size", "candidates", *APPLIED_AFTER)
        rows = self.splits[split].rows
        exchange = {"partners": content_digest(partners(rows, self.config.seed))} if variant == "shuffled" else {}
        if variant == EXCHANGED:
            exchange = {"partners": content_digest(list(turn_partners(rows, self.config.seed).items()))}
        if variant in PARTS:
            exchange = {"shown": content_digest(PARTS[variant]([rows[i] for i in of_several(rows)], self.config.seed))}
        # what was stored before there were answer sets is asked again
        sets = {"ranked": MOST} if config.generate.method == "rank" and not variant else {}
        return (
            exchange
            | sets
            | self.models.made_by(start=variant == "start")
            | {
                "generate": {key: value for key, value in settings["generate"].items() if key not in ignored},
                "candidates": content_digest(candidate_texts(config, self.splits)),
                "data": {key: settings["data"][key] for key in ("max_question_tokens", "max_answer_tokens")},
                "rows": content_digest(list(rows)),
            }
        )
