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
from blipvqa.models.loading import load_model
from blipvqa.runs.files import read_lines, write_json, write_lines
from blipvqa.runs.run import Run
from blipvqa.training.checkpoints import digest
from blipvqa.vqa.grounding import blanked, shuffled
from blipvqa.vqa.predictions import load_candidates, predict


class StoredAnswers:
    """The answers of one run's model to its splits; asked for again only when what they depend on changed."""

    def __init__(self, config: Config, run: Run, splits: Splits, progress: bool):
        self.config, self.run, self.splits, self.progress = config, run, splits, progress
        self.models: dict[str, tuple] = {}
        self.weights = digest(run.model_folder / "model.safetensors")

    def answers(self, split: str, variant: str = "") -> list[dict]:
        """`variant`: "" as it is, "start" the weights training began with, "blank" and "shuffled" pictures, "generated"
        where the config ranks."""
        name = f"{split}-{variant}" if variant else split
        file, made_by = (self.run.folder / "answers" / f"{name}{ending}" for ending in (".jsonl", ".json"))
        fingerprint = self._fingerprint(split, variant)
        if made_by.exists() and file.exists() and json.loads(made_by.read_text(encoding="utf-8")) == fingerprint:
            return read_lines(file)
        made_by.unlink(missing_ok=True)
        dataset = self.splits[split]
        if variant in ("blank", "shuffled"):
            dataset = dataset.altered(blanked if variant == "blank" else shuffled(dataset, self.config.seed))
        model, processor = self._model("start" if variant == "start" else "trained")
        config = self._settings(variant)
        candidates = load_candidates(config, self.splits, processor)
        predictions = predict(model, processor, dataset, config, candidates, self.progress)
        write_lines(file, predictions)
        write_json(made_by, fingerprint)
        return predictions

    def _settings(self, variant: str) -> Config:
        if variant != "generated":
            return self.config
        return self.config.model_copy(
            update={"generate": self.config.generate.model_copy(update={"method": "generate"})}
        )

    def _model(self, which: str) -> tuple:
        if which not in self.models:
            source = self.config.model.name if which == "start" else str(self.run.model_folder)
            self.models = {
                which: load_model(source, self.config, self.splits["train"].texts)
            }  # one at a time: they may be large
        return self.models[which]

    def _fingerprint(self, split: str, variant: str) -> dict:
        settings = self._settings(variant).as_dict()
        rows = json.dumps(self.splits[split].rows, default=str).encode()
        generate = {
            key: value for key, value in settings["generate"].items() if key not in ("batch_size", "uncertain_below")
        }
        data = {key: settings["data"][key] for key in ("max_question_tokens", "max_answer_tokens")}
        weights = {"start": settings["model"], "seed": self.config.seed} if variant == "start" else self.weights
        return {
            "weights": weights,
            "generate": generate,
            "data": data,
            "image_size": self.config.model.image_size,
            "rows": hashlib.sha256(rows).hexdigest(),
        }
