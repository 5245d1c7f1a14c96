"""What a run's model answered, kept in `outputs/<name>/answers/` as long as what made it stays the same.

Notable:
- A fingerprint of content stands beside each file: weights, settings, candidates, rows and pictures. An answer is used
  again only where all of it is equal, whatever the files are called.
- The trained weights and those that training began with are loaded once each, and held one at a time.
"""

from __future__ import annotations

import hashlib
import json

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits
from blipvqa.data.images import DECODER
from blipvqa.models.loading import load_model
from blipvqa.models.weights import weights_digest
from blipvqa.runs.files import flush_folder, read_lines, remove, write_json, write_lines
from blipvqa.runs.run import Run
from blipvqa.vqa.exchange import as_exchanged, blanked, exchanged, partners
from blipvqa.vqa.predictions import candidate_texts, load_candidates, predict


class StoredAnswers:
    """The answers of one run's model to its splits; asked for again only when what they depend on changed."""

    def __init__(self, config: Config, run: Run, splits: Splits, progress: bool):
        self.config, self.run, self.splits, self.progress = config, run, splits, progress
        self.models: dict[str, tuple] = {}
        self.weights: dict[str, str] = {}  # digests, computed once an evaluation

    def answers(self, split: str, variant: str = "") -> list[dict]:
        """`variant`: "" as it is, "start" the weights training began with, "blank" and "shuffled" pictures, "generated"
        where the config ranks."""
        name = f"{split}-{variant}" if variant else split
        file, made_by = (self.run.folder / "answers" / f"{name}{ending}" for ending in (".jsonl", ".json"))
        fingerprint = self.fingerprint(split, variant)
        if made_by.exists() and file.exists() and json.loads(made_by.read_text(encoding="utf-8")) == fingerprint:
            return read_lines(file)
        if made_by.exists():
            remove(made_by)
            flush_folder(made_by.parent)  # else a power cut brings it back, beside answers that it did not make
        dataset = self.splits[split]
        if variant == "blank":
            dataset = dataset.altered(blanked)
        elif variant == "shuffled":
            dataset = exchanged(dataset, self.config.seed)
        model, processor = self.model("start" if variant == "start" else "trained")
        config = self._settings(variant)
        candidates = load_candidates(config, self.splits, processor)
        predictions = predict(model, processor, dataset, config, candidates, self.progress)
        if variant == "shuffled":
            predictions = as_exchanged(self.splits[split].rows, predictions, self.config.seed)
        write_lines(file, predictions)
        write_json(made_by, fingerprint)
        return predictions

    def _settings(self, variant: str) -> Config:
        if variant != "generated":
            return self.config
        return self.config.model_copy(
            update={"generate": self.config.generate.model_copy(update={"method": "generate"})}
        )

    def model(self, which: str) -> tuple:
        """Model and processor: `trained`, or `start` for the weights that training began with."""
        if which not in self.models:
            model = load_model(self._source(which), self.config, self.splits["train"].texts)
            self.models = {which: model}  # one at a time: they may be large
        return self.models[which]

    def _source(self, which: str) -> str:
        return self.config.model.name if which == "start" else str(self.run.model_folder)

    def _weights(self, which: str) -> str:
        if which not in self.weights:
            self.weights[which] = weights_digest(self._source(which), self.config, self.splits["train"].texts)
        return self.weights[which]

    def fingerprint(self, split: str, variant: str) -> dict:
        """What these answers depend on, by content."""
        config = self._settings(variant)
        settings = config.as_dict()
        # The candidates stand in the fingerprint by their texts, whatever their file is called.
        ignored = ("batch_size", "uncertain_below", "candidates")
        rows = self.splits[split].rows
        exchange = {"partners": _digest(partners(rows, self.config.seed))} if variant == "shuffled" else {}
        return exchange | {
            "weights": self._weights("start" if variant == "start" else "trained"),
            "generate": {key: value for key, value in settings["generate"].items() if key not in ignored},
            "candidates": _digest(candidate_texts(config, self.splits)),
            "data": {key: settings["data"][key] for key in ("max_question_tokens", "max_answer_tokens")},
            "image_size": config.model.image_size,
            "pictures": DECODER,
            "rows": _digest(rows),
        }


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()
