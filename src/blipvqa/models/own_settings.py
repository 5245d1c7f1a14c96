"""How a run finds its answers or captions, in `config.json` of its export: `ask` and `describe` go by it.

Without it a model that was trained behind another prompt, or whose run wished to answer only when sure, is asked by the
defaults wherever the run's config is not at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from torch import nn

from blipvqa.models.folders import ModelError

Section = TypeVar("Section", bound=BaseModel)


def tell_settings(model: nn.Module, section: BaseModel, names: Iterable[str]) -> None:
    """Write these knobs of a config's section into the model's config."""
    model.config.own_settings = section.model_dump(mode="json", include=set(names))


def own_settings(model: nn.Module, section: type[Section]) -> Section:
    """The section that the model's run was trained with; the defaults of one that tells nothing.

    Raises ModelError where config.json holds something else.
    """
    try:
        return section.model_validate(getattr(model.config, "own_settings", {}))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
    raise ModelError(f"config.json of the model: own_settings {place}: {wrong['msg']}. Give settings, or mend the file")
