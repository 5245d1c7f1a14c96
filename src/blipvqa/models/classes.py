"""BLIP's models as classes: which one a task trains, and which one a folder holds."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.folders import read_json
from blipvqa.models.pairs import BlipForPairs
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.vqa import BlipForVQA

MODELS = (BlipForVQA, BlipForCaptioning, BlipForRetrieval, BlipForPretraining, BlipForPairs)


def class_of(task: str) -> type[PreTrainedModel]:
    """The class that a task trains."""
    return next(each for each in MODELS if each.task == task)


def class_of_folder(folder: Path) -> type[PreTrainedModel]:
    """What its config.json says it is; questions and answers where it says nothing that is read here."""
    architectures = read_json(folder, "config.json").get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return next((each for each in MODELS if each.architecture in names), BlipForVQA)
