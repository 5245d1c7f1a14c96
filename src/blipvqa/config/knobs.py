"""Every knob of an experiment, validated before anything slow begins.

Notable:
- One tree of pydantic models; a comment a field; unknown keys, wrong types and impossible values are all
  reported in one `ConfigError`, each with its dotted name.
- `reading.py` makes a `Config` of a YAML file and of dotted overrides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.kinds import (
    CLOSED,
    PICTURES,
    Flag,
    Many,
    Name,
    Needs,
    Number,
    Positive,
    Revision,
    Several,
    Share,
    Start,
    Text,
    Towers,
    Whole,
)
from blipvqa.config.paths import project_path
from blipvqa.config.task_knobs import (
    BootstrapConfig,
    CaptionConfig,
    ContinualConfig,
    PairsConfig,
    RetrievalConfig,
    with_task_defaults,
)
from blipvqa.errors import UserError

SPLITS = ("train", "validation", "test")
TEXTS = {  # the columns that each task's rows need
    "vqa": ("question", "answer"),
    "caption": ("caption",),
    "retrieval": ("caption",),
    "pretrain": ("caption",),
    "pairs": ("sentence", "label"),
}


class ConfigError(UserError, ValueError):
    """A config that cannot be run; the message lists every problem with its dotted key."""


class _Section(BaseModel):
    model_config = CLOSED


class ScratchModel(_Section):
    """Sizes of a model that starts from random weights (`model.name: scratch`)."""

    hidden_size: Annotated[Positive, Field(le=16_384)] = 128
    layers: Several = 4  # of each of the three towers
    heads: Several = 4
    patch_size: Annotated[Whole, Field(ge=4, le=4096)] = 8  # pixels
    vocabulary: Annotated[Whole, Field(ge=64, le=10**6)] = 2000  # at most; [DEC] and [ENC] come on top
    vision_layers: Several | None = None  # None: as `layers`

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


Tower = Literal["vision_model", "text_encoder", "text_decoder"]


class LoraConfig(_Section):
    """Low-rank adapters through peft; rank 0 trains every weight."""

    rank: Annotated[Whole, Field(ge=0, le=16_384)] = 0
    alpha: Annotated[Number, Field(gt=0)] = 32.0
    dropout: Share = 0.05
    towers: list[Tower] = ["text_encoder", "text_decoder"]


class ModelConfig(_Section):
    name: Start = "Salesforce/blip-vqa-base"  # Hub id, folder, "scratch", or {vision: …, encoder: …, decoder: …}
    revision: Revision | None = None  # of a Hub id: a commit, branch or tag; None: its main branch as it is now
    image_size: Annotated[Whole, Field(ge=1, le=4096)] = (
        384  # pixels a side, a multiple of the patch; the position table is interpolated to it
    )
    text_dropout: Share | None = None  # None: as the checkpoint says (published: 0.0; the authors trained with 0.1)
    lora: LoraConfig = LoraConfig()
    freeze: list[Tower] = []  # towers that stay as they are; a frozen vision tower sees each picture once
    picture_places: Flag = False  # rows of several pictures: a learnt vector tells the first from the second
    scratch: ScratchModel = ScratchModel()

    @model_validator(mode="after")
    def _frozen_once(self):
        if self.freeze and self.lora.rank:
            raise ValueError("freeze is for training without adapters: with lora.rank every tower is frozen already")
        return self

    @model_validator(mode="after")
    def _a_revision_of_one_model(self):
        if self.revision and isinstance(self.name, Towers):
            raise ValueError("revision is of one model, and name puts several together: leave it out")
        return self


class TrainConfig(_Section):
    epochs: Annotated[Whole, Field(ge=0, le=10**6)] = 10
    batch_size: Many = 64  # questions an optimizer step, over all processes and accumulation steps
    micro_batch_size: Positive | None = None  # questions a forward pass and process; None: the whole batch
    questions_per_image: Positive = 16  # at most, drawn together: the image is encoded once for them
    shuffle: Flag = True  # False: the source's order, as the report trained
    learning_rate: Annotated[Number, Field(gt=0, lt=1)] = 2e-5
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = 0.05  # share of all steps, linear
    weight_decay: Annotated[Number, Field(ge=0)] = 0.05  # not on biases and norms
    clip_norm: Annotated[Number, Field(gt=0)] | None = 1.0
    label_smoothing: Share = 0.1
    answers: Literal["draw", "weigh"] = "draw"  # several right ones: one an epoch, or all by their share (the authors')
    loss: Literal["answer_sum", "token_mean"] = "answer_sum"  # the paper's, or transformers' (docs/facts.md 1.6)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    gradient_checkpointing: Flag = False
    compile: Flag = False  # torch.compile; pays on long GPU runs only
    augment: Literal["none", "light"] = "none"  # crop and colour; no flips: laterality is a finding
    workers: Annotated[Whole, Field(ge=0, le=1000)] | None = None  # loader processes; None: 0 on CPU, 4 on a GPU
    metric: str = "exact_match"  # keeps the best checkpoint: a number of metrics-*.json, or "loss"
    patience: Positive | None = None  # epochs without a better metric before the run stops early
    evaluate_questions: Positive | None = None  # validation questions answered each epoch; None: all
    samples: Annotated[Whole, Field(ge=0, le=100)] = 12  # fixed validation questions answered each epoch
    log_every: Positive = 10  # optimizer steps
    checkpoint_every: Positive | None = None  # optimizer steps, beside one an epoch
    keep_checkpoints: Positive = 1  # the last ones that can be resumed from (the best is kept as weights)
    max_minutes: Annotated[Number, Field(gt=0)] | None = None  # then stop in good order; start again to go on
    nonfinite: Literal["raise", "skip"] = "raise"  # a NaN or infinite loss: stop, or skip the step and count it
    tracker: Literal["tensorboard", "wandb", "mlflow"] | None = None


# of `generate`: what `ask` goes by
ASKED_BY = ("method", "num_beams", "max_new_tokens", "wished_accuracy", "uncertain_below")
APPLIED_AFTER = ("wished_accuracy", "uncertain_below", "wished_sensitivity")  # of `generate`: they change no answer


class GenerateConfig(_Section):
    method: Literal["generate", "rank"] = "generate"
    num_beams: Annotated[Whole, Field(ge=1, le=1000)] = 1
    max_new_tokens: Positive = 40
    batch_size: Many = 64  # questions
    precision: Literal["auto", "bf16", "fp16", "fp32"] | None = None  # None: train.precision
    candidates: Text = "train"  # ranking: the train answers, or a text file with one answer a line
    closed_yes_no: Flag = False  # ranking: a question that asks for yes or no chooses between these two alone
    shortlist: Positive = 128  # ranking: answers scored in full, by their first token's probability (authors' k)
    # What is not sure enough is withheld ("uncertain") by ask, page and predict; scores are of all questions.
    wished_accuracy: Annotated[Number, Field(gt=0, le=1)] | None = None  # of what is answered, by validation
    uncertain_below: Annotated[Number, Field(ge=0, le=1)] | None = None  # or a fixed confidence
    wished_sensitivity: Annotated[Number, Field(gt=0, le=1)] = 0.9  # of yes/no questions, by validation

    @model_validator(mode="after")
    def _one_threshold(self):
        if self.wished_accuracy is not None and self.uncertain_below is not None:
            raise ValueError("wished_accuracy and uncertain_below both say what is withheld: give one of them")
        return self


class Config(_Section):
    """One experiment. Build it with `load_config`; see `configs/` for commented examples."""

    task: Literal["vqa", "caption", "retrieval", "pretrain", "pairs"] = "vqa"  # pretrain: retrieval and captions
    name: Name = "run"  # outputs/<name>/
    seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    fresh: Flag = False  # changed settings: move the old run folder aside instead of refusing
    reference_curve: Text | None = None  # csv of epoch, loss, drawn beside the run in notebook 02
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    generate: GenerateConfig = GenerateConfig()
    caption: CaptionConfig = CaptionConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    pairs: PairsConfig = PairsConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    continual: ContinualConfig = ContinualConfig()

    @model_validator(mode="before")
    @classmethod
    def _task_defaults(cls, tree: Any) -> Any:
        """A task's own defaults, which config.yaml then holds as if they had been written there."""
        return with_task_defaults(tree) if isinstance(tree, dict) else tree

    @model_validator(mode="after")
    def _sizes_fit(self):
        scratch, size, batch = self.model.scratch, self.model.image_size, self.train.batch_size
        micro = self.train.micro_batch_size
        problems = []
        if self.model.name == "scratch" and size % scratch.patch_size:
            patch = f"model.scratch.patch_size {scratch.patch_size}"
            problems.append(f"model.image_size {size} is not a multiple of {patch}")
        if micro and batch % micro:
            problems.append(f"train.batch_size {batch} is not a multiple of train.micro_batch_size {micro}")
        if self.train.answers == "weigh" and self.train.loss == "token_mean":
            problems.append("train.answers weigh is of the authors' loss: set train.loss: answer_sum")
        if self.model.picture_places and (self.task != "vqa" or self.model.lora.rank):
            problems.append("model.picture_places is of task: vqa, without lora.rank: adapters do not hold it")
        if self.task == "pairs" and self.model.lora.rank:
            problems.append("model.lora is not of task: pairs, whose new head would stay as drawn: see model.freeze")
        fewest, most = PICTURES[self.task]
        if self.data.frames is not None and not fewest <= self.data.frames <= most:
            problems.append(f"data.frames: a row of task: {self.task} shows {most}, found {self.data.frames}")
        if self.bootstrap.clean and self.task != "pretrain":
            problems.append(f"bootstrap.clean needs task: pretrain, found {self.task}")
        if self.continual.stages and self.task != "vqa":
            problems.append(f"continual.stages needs task: vqa, found {self.task}")
        if problems:
            raise ValueError("\n".join(problems))  # a problem a line
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of texts that the task's rows need."""
        return TEXTS[self.task]

    @property
    def needs(self) -> Needs:
        """What the task's rows have."""
        return Needs(TEXTS[self.task], *PICTURES[self.task])

    @property
    def token_limits(self) -> dict[str, int]:
        """How many tokens the task's texts may take, by knob."""
        if self.task == "caption":
            return {"caption.max_tokens": self.caption.max_tokens, "caption.max_length": self.caption.max_length}
        if self.task in ("retrieval", "pretrain"):
            return {"retrieval.max_tokens": self.retrieval.max_tokens}
        if self.task == "pairs":
            return {"pairs.max_tokens": self.pairs.max_tokens}
        return {
            "data.max_question_tokens": self.data.max_question_tokens,
            "data.max_answer_tokens": self.data.max_answer_tokens,
        }

    @property
    def folder(self) -> Path:
        """The run folder, `outputs/<name>`."""
        return project_path("outputs") / self.name

    def as_dict(self) -> dict:
        """Plain values, as written to `config.yaml` of the run folder."""
        return self.model_dump(mode="json")
