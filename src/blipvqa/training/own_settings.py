"""How a run finds its answers or captions: `ask`, `describe`, `judge` and searches go by it where they get no settings.

Notable:
- A model in its run's folder is asked by that run's settings as they are now: `generate` may change after training, and
  page and `answer_all` go by the change, too.
- `config.json` of the export tells those of the training, for a model that was moved, copied or pushed. Without it a
  model that was trained behind another prompt, or whose run wished to answer only when sure, would be asked by the
  defaults there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from torch import nn

from blipvqa.config.knobs import Config
from blipvqa.models import int8
from blipvqa.models.folders import ModelError
from blipvqa.runs.run import Run, RunError

Section = TypeVar("Section", bound=BaseModel)


def tell_settings(model: nn.Module, section: BaseModel, names: Iterable[str]) -> None:
    """Write these knobs of a config's section into the model's config."""
    model.config.own_settings = section.model_dump(mode="json", include=set(names))


def own_settings(model: nn.Module, section: type[Section]) -> Section:
    """The section that the model's run goes by; the defaults of a model that tells nothing.

    Raises ModelError where config.json holds something else.
    """
    if config := config_beside(model):
        return next(value for _, value in config if isinstance(value, section))
    try:
        return section.model_validate(getattr(model.config, "own_settings", {}))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
    raise ModelError(f"config.json of the model: own_settings {place}: {wrong['msg']}. Give settings, or mend the file")


def config_beside(model: nn.Module) -> Config | None:
    """The settings of the run in whose folder the model lies; None where it lies elsewhere, or where another version
    made that run."""
    folder = getattr(model, "folder", None)
    if folder is None or folder.name not in ("model", int8.FOLDER):
        return None
    run = Run(folder.parent)
    try:
        return run.config if run.exists and run.state else None
    except RunError:
        return None
