"""The knobs of `data`: which source is read, what of it is a row, and which rows are held out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_serializer, model_validator

from blipvqa.config.kinds import (
    CLOSED,
    MOST_PICTURES,
    Comparable,
    Dir,
    Flag,
    Number,
    Positive,
    Revision,
    Subset,
    Text,
    Whole,
    Window,
)
from blipvqa.config.synthetic_knobs import SyntheticData


class DataConfig(BaseModel):
    model_config = CLOSED

    source: Text = "synthetic"  # Hub id, folder or zip (tables, a known layout, save_to_disk), or "synthetic"
    revision: Revision | None = None  # of a Hub id: a commit, branch or tag; None: its main branch as it is now
    subset: Subset | None = None  # of a Hub id with several configurations: which; None: its default
    columns: dict[str, str] = {}  # renames: {the source's name: ours}, e.g. {img_name: image}
    image_root: Text | None = None  # folder or zip that pictures are named from; None: the source
    image_suffix: str = ""  # added to names of pictures that do not end with it, e.g. .jpg
    where: dict[str, Comparable] = {}  # keep rows whose column equals the value, or is in the list
    window: Window | None = None  # of DICOM: [centre, width]; None: the file's
    # of a film (video, DICOM of frames, TIFF of pages): so many of its frames are the row's pictures; None: refused
    frames: Annotated[Whole, Field(ge=1, le=MOST_PICTURES)] | None = None
    frames_by: Literal["evenly", "authors"] = "evenly"  # the middles of equal parts; or whole steps from the first
    history: Flag = True  # a column `history` of turns is said before the question; False: a further column
    answer_separator: Text | None = None  # between several right answers in one cell, e.g. ";"
    limit: dict[Literal["train", "validation", "test"], Positive] = {}  # first rows of a split
    breakdown: list[str] | None = None  # columns that become axes of the metrics; None: text, <= 20 values
    group_column: Text | None = None  # patient or slide: never straddles two splits; None: the image
    validation_share: Annotated[Number, Field(gt=0, lt=1)] = 0.1  # of train's groups, where there is no validation
    validation_seed: Annotated[Whole, Field(ge=0)] | None = None  # of that cut; None: the run's
    # `data` of another source, e.g. {source: folder}: what it validates or scores on is left out of train; its columns
    # are those of this task (columns: {question: caption}), its cut that of this seed; None: nothing
    without: DataConfig | None = None
    split: Literal["published", "regroup"] = "published"  # regroup: drop train rows whose group is held out
    on_error: Literal["raise", "skip"] = "raise"  # a broken row: stop, or leave it out and count it
    max_question_tokens: Annotated[Whole, Field(ge=3, le=512)] = 35  # [ENC] and [SEP] included; the authors' 35
    max_answer_tokens: Annotated[Whole, Field(ge=3, le=512)] = 40  # [DEC] and [SEP] included
    cache_dir: Dir = "outputs/cache"  # resized images and drawn data; `make clean-cache` removes it
    cache_gigabytes: Annotated[Number, Field(gt=0)] = 20.0  # the oldest files go when it grows past this
    synthetic: SyntheticData = SyntheticData()

    @property
    def group(self) -> str:
        """The column that says which rows belong together: they never straddle two splits, and intervals draw them
        together. `group_id` is made of `group_column` and the pictures (`data/groups.py`)."""
        return "group_id" if self.group_column else "image_id"

    @property
    def held_out(self) -> DataConfig | None:
        """The `data` of `without`, whose pictures are kept where this one's are, unless it says where."""
        if self.without is None:
            return None
        said = self.without.model_fields_set
        own = {key: getattr(self, key) for key in ("cache_dir", "cache_gigabytes") if key not in said}
        return self.without.model_copy(update=own)

    @field_serializer("without")
    def _as_it_was_said(self, without: DataConfig | None) -> dict | None:
        return without and without.model_dump(mode="json", exclude_unset=True)

    @model_validator(mode="after")
    def _without_one_other(self):
        if self.without is not None and not self.without.model_fields_set:
            raise ValueError("without: says nothing, expected the `data` of another source, e.g. {source: folder}")
        if self.without is not None and self.without.without is not None:
            raise ValueError("without: has a `without` of its own: only what the other source itself holds out counts")
        return self

    @model_validator(mode="after")
    def _columns_are_distinct(self):
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError(f"columns: two columns would get one name: {self.columns}")
        return self
