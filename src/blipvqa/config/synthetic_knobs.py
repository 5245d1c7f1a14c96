"""The knobs of the drawn data."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from blipvqa.config.kinds import CLOSED, Flag, Many, Share, Whole

Stain = Literal["hematoxylin and eosin", "periodic acid schiff", "masson trichrome", "silver"]
STAINS: tuple[str, ...] = get_args(Stain)
SYNTHETIC_SIDES = (32, 512)  # pixels: nuclei vanish below, and a split is held in memory before it is written


class SyntheticData(BaseModel):
    """The embedded default data: drawn tissue pictures (`data.source: synthetic`)."""

    model_config = CLOSED

    images: dict[Literal["train", "validation", "test"], Many] = {"train": 700, "validation": 80, "test": 140}
    size: Annotated[Whole, Field(ge=SYNTHETIC_SIDES[0], le=SYNTHETIC_SIDES[1])] = 96  # pixels a side
    seed: Annotated[Whole, Field(ge=0)] = 0
    pictures: Literal["one", "pairs", "series"] = "one"  # a row; of pairs and series `images` counts the rows' lists
    caption_noise: Share = 0.0  # of train's captions: another picture's, or with one fact exchanged (column `fault`)
    dialogues: Flag = False  # conversations whose later questions speak of "it" (column `history`)
    descriptions: Flag = False  # one question a picture, what it shows; its captions are the right answers

    stains: Annotated[list[Stain], Field(min_length=1)] | None = None  # that tissue is drawn in; None: all four

    @model_validator(mode="after")
    def _there_is_something_to_train_on(self):
        if "train" not in self.images:
            raise ValueError("data.synthetic.images has no train")
        if self.dialogues and self.pictures != "one":
            raise ValueError("data.synthetic: dialogues are about one picture: leave out pictures, or dialogues")
        if self.descriptions and (self.pictures != "one" or self.dialogues):
            raise ValueError("data.synthetic.descriptions is of single pictures: leave out pictures and dialogues")
        if self.stains and (self.pictures != "one" or self.dialogues):
            raise ValueError("data.synthetic.stains is of single pictures: leave out pictures and dialogues")
        return self
