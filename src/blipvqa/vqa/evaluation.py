"""`evaluate`: a trained run's predictions on a held-out split, and every number that follows from them.

Notable:
- The model answers once; predictions are stored with a fingerprint of what made them and asked for again only when
  that changed. All numbers are computed from the stored predictions.
- Beside the score stand the weights training began with, the majority answer that sees no picture, and the same model
  with the picture blanked or exchanged for another one's: what of the score needs the picture.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable

import torch
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits, VQADataset, load_splits
from blipvqa.models.loading import load_model
from blipvqa.models.vqa import IMAGE_MEAN
from blipvqa.numbers.bootstrap import compare_runs
from blipvqa.runs.files import read_lines, write_json, write_lines
from blipvqa.runs.run import Run, RunError
from blipvqa.text import question_type, same_answer
from blipvqa.training.checkpoints import digest
from blipvqa.vqa.card import write_card
from blipvqa.vqa.confidence import abstain, fit_temperature, score_confidence
from blipvqa.vqa.notes import all_notes
from blipvqa.vqa.predictions import load_candidates, predict
from blipvqa.vqa.scores import score
from blipvqa.vqa.slices import slices

GREY = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # what the model sees as zeros


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
    asked = _Asked(config, run, splits, progress)
    calibration_rows = asked.answers("validation") if split != "validation" else None
    raw = asked.answers(split)
    calibration = fit_temperature(calibration_rows) if calibration_rows else None
    predictions = abstain(raw, config.generate.uncertain_below or 0.0, calibration)
    drawn = {"group": config.data.group_column or "image_id", "resamples": resamples, "seed": config.seed}
    axes = splits[split].breakdown
    scores = score(predictions, train=splits["train"].rows, breakdown=axes, **drawn)
    scores["data"] = all_notes(splits)
    scores["warnings"] = scores["data"]["leaks"] + scores["warnings"]
    if start:
        began = asked.answers(split, "start")
        scores["start"] = score(began, **drawn)["overall"]
    if config.generate.method == "rank":
        scores["generated"] = score(asked.answers(split, "generated"), **drawn)["overall"]
    if grounding:
        scores["grounding"] = _grounding(raw, asked.answers(split, "blank"), asked.answers(split, "shuffled"), drawn)
    scores["confidence"] = score_confidence(
        raw, validation=calibration_rows, threshold=config.generate.uncertain_below, **drawn
    )
    scores["slices"] = slices(predictions, train=splits["train"].rows, **drawn)
    scores["split"] = split
    write_lines(run.folder / f"predictions-{split}.jsonl", predictions)
    write_json(run.folder / f"metrics-{split}.json", scores)
    write_card(run)
    return run


def held_out(splits: Splits) -> str:
    """The split to score: test, or validation where there is none."""
    return "test" if "test" in splits else "validation"


class _Asked:
    """Answers of one run's model, kept in `outputs/<name>/answers/` as long as what made them stays the same."""

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
        if made_by.exists() and file.exists() and json.loads(made_by.read_text()) == fingerprint:
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
            self.models = {which: load_model(source, self.config)}  # one at a time: they may be large
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


def blanked(pixels: Tensor, _image_id: str) -> Tensor:
    """Every picture the same grey, which normalization makes zeros: `[3,S,S]` uint8."""
    return torch.tensor(GREY, dtype=torch.uint8).view(3, 1, 1).expand_as(pixels).clone()


def shuffled(dataset: VQADataset, seed: int) -> Callable[[Tensor, str], Tensor]:
    """For `dataset.altered`: every image gives way to another one of the split, each used once."""
    row_of = {row["image_id"]: i for i, row in reversed(list(enumerate(dataset.rows)))}
    images = sorted(row_of)
    random.Random(f"{seed}/exchange").shuffle(images)
    other = dict(zip(images, images[1:] + images[:1], strict=True))
    return lambda _pixels, image_id: dataset.pixels(row_of[other[image_id]])


def _grounding(seen: list[dict], blank: list[dict], other: list[dict], drawn: dict) -> dict:
    """The scores without the right picture, what that costs (paired, over images), and how often answers change."""
    found: dict = {"gap": {}, "changed": {}, "changed_by": {}}
    for name, predictions in (("blank", blank), ("shuffled", other)):
        scores = score(predictions, **drawn)
        found[name] = {key: scores[key] for key in ("overall", "by")}
        found["gap"][name] = compare_runs(predictions, seen, **drawn)["overall"]["exact_match"]
        kinds: dict[str, list[bool]] = {}
        for one, another in zip(seen, predictions, strict=True):
            differs = not same_answer(one["prediction"], another["prediction"])
            kinds.setdefault(question_type(one["question"]), []).append(differs)
        found["changed"][name] = sum(map(sum, kinds.values())) / max(1, len(seen))
        found["changed_by"][name] = {kind: sum(d) / len(d) for kind, d in sorted(kinds.items())}
    return found
