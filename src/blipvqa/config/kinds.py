"""What kinds of values knobs have: strict, so that nothing becomes another kind without a word."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

MOST_PICTURES = 64  # of a row
PICTURES = {  # how few and how many pictures a row of each task shows
    "vqa": (1, MOST_PICTURES),
    "caption": (1, 1),
    "retrieval": (1, MOST_PICTURES),
    "pretrain": (1, 1),
    "pairs": (2, 2),
}


class Needs(NamedTuple):
    """What each row of a task has."""

    texts: tuple[str, ...]  # by their columns
    fewest: int = 1  # pictures
    most: int = 1


# of a section of knobs: an unknown key is an error
CLOSED = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False)


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _computable(value: Any) -> Any:
    if isinstance(value, int | float) and 0 < abs(value) < math.inf and not SMALLEST <= abs(value) <= LARGEST:
        raise ValueError(f"{value!s:.40} is 0 or infinity in the 32 bits that are computed with")
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is written as another text than 0.0


SMALLEST, LARGEST = 1e-37, 1e38  # of what 32 bits hold in full precision
# Strict, or a text would become a number, and yes a true, without a word. 3.0 is a whole number.
Whole = Annotated[int, Field(strict=True, le=2**31 - 1), BeforeValidator(_integral)]
Number = Annotated[float, Field(strict=True), BeforeValidator(_computable)]
Flag = Annotated[bool, Field(strict=True)]
Positive = Annotated[Whole, Field(ge=1)]
Many = Annotated[Positive, Field(le=10**6)]  # of what takes memory or hours for each
Several = Annotated[Positive, Field(le=1000)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")]

Text = Annotated[str, Field(min_length=1)]  # an empty path is the project's own folder
Subset = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]  # part of a path in the cache


DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def _on_every_system(value: str) -> str:
    if value.endswith(".") or value.split(".")[0].lower() in DEVICES:
        raise ValueError(f"'{value}' can be no folder on Windows: give another name")
    return value


def _comparable(value: Any) -> Any:
    for one in value if isinstance(value, list) else [value]:
        if not (isinstance(one, str | int | None) or (isinstance(one, float) and math.isfinite(one))):
            raise ValueError("must be text, a finite number, true, false or null, or a list of these")
    return value


def _window(value: list[float]) -> list[float]:
    if len(value) != 2 or value[1] < 1:
        raise ValueError("must be [centre, width] with a width of 1 or more, e.g. [40, 400]")
    return value


def _dir(value: str) -> str:
    if Path(value).is_absolute() and Path(value) == Path(value).parent:
        raise ValueError("is the whole disk, expected a folder")
    return value


NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$"), AfterValidator(_on_every_system)]  # of a run's folder
Dir = Annotated[Text, AfterValidator(_dir)]  # to write in
Comparable = Annotated[Any, AfterValidator(_comparable)]  # with a row's value; the same once config.yaml was read back
Window = Annotated[list[Number], AfterValidator(_window)]  # of grey values: centre and width


class Towers(BaseModel):
    """A model put together of other models' folders (`models/together.py`): a Hub id or folder for each part."""

    model_config = ConfigDict(extra="forbid", strict=True)
    vision: str  # of BLIP, or a ViT
    encoder: str  # of BLIP, with its projections and matching head, or a BERT
    decoder: str  # of BLIP, its own self-attention and head for words, or a BERT

    def __str__(self) -> str:
        return " + ".join(names_of(self))


ONE, SEVERAL = "<one>", "<several>"  # which kind of start a config names; no part of a key in messages
Start = Annotated[
    Annotated[Text, Tag(ONE)] | Annotated[Towers, Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, dict | Towers) else ONE),
]


def names_of(start: str | Towers) -> list[str]:
    """The models that training begins with, each once."""
    return [start] if isinstance(start, str) else list(dict.fromkeys((start.vision, start.encoder, start.decoder)))
