"""The knobs of single tasks: captions, retrieval, pairs, CapFilt (`bootstrap`), and learning on (`continual`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from blipvqa.config.kinds import CLOSED, Flag, Number, Positive, Several, Text, Whole

TASK_DEFAULTS = {  # what a task sets where a config leaves it out
    "caption": {
        "model": {"name": "Salesforce/blip-image-captioning-base"},
        "train": {"metric": "cider_d", "loss": "token_mean"},
    },
    "retrieval": {
        "model": {"name": "Salesforce/blip-itm-base-coco"},
        "train": {"metric": "r_mean", "learning_rate": 1e-5},
    },
    "pretrain": {
        "model": {"name": "scratch"},
        "train": {"metric": "r_mean", "learning_rate": 3e-4},
        "retrieval": {"max_tokens": 30},
    },
    "pairs": {
        "data": {"synthetic": {"pictures": "pairs"}},
        "model": {"name": "Salesforce/blip-itm-base-coco"},
        "train": {"metric": "accuracy", "learning_rate": 3e-5, "label_smoothing": 0.0},
    },
}


def with_task_defaults(tree: dict) -> dict:
    """`tree`, a config's settings, with its task's own defaults where it leaves them out."""
    task = tree.get("task")
    return _with_defaults(tree, TASK_DEFAULTS.get(task, {})) if isinstance(task, str) else tree


def _with_defaults(tree: dict, defaults: dict) -> dict:
    """`tree`, and from `defaults` what it leaves out; a section that is none stays, to be refused."""
    tree = dict(tree)
    for key, value in defaults.items():
        if not isinstance(value, dict):
            tree.setdefault(key, value)
        elif isinstance(tree.get(key, {}), dict):
            tree[key] = _with_defaults(tree.get(key, {}), value)
    return tree


class CaptionConfig(BaseModel):
    """Captions: how they are read, and how they are written. Read with `task: caption` only."""

    model_config = CLOSED

    prompt: str = "a picture of "  # stands before every caption and counts in no loss; empty for none
    max_words: Positive = 30  # of a caption in training, as the authors
    max_tokens: Annotated[Whole, Field(ge=3, le=512)] = 40  # [DEC], prompt and [SEP] included; the authors' 40
    num_beams: Annotated[Whole, Field(ge=1, le=1000)] = 3
    max_length: Annotated[Whole, Field(ge=3, le=512)] = 20  # tokens written, [DEC] and prompt included
    min_length: Annotated[Whole, Field(ge=0)] = 5  # likewise: with the prompt's three words, no empty caption
    repetition_penalty: Annotated[Number, Field(gt=0)] = 1.0  # above 1: words that are there already come less often
    beams_by: Literal["authors", "library"] = "authors"  # what a text's score is divided by (docs/facts.md 7.5, 13.4)
    sample: Flag = False  # draw captions (nucleus sampling) instead of searching the likeliest
    top_p: Annotated[Number, Field(gt=0, le=1)] = 0.9  # sampling: the likeliest tokens that make up this probability
    top_k: Positive | None = 50  # sampling: of so many tokens at most, as the authors; None: top_p alone
    terms: Text | None = None  # file of things to name, a line "term: synonym, synonym"; the drawn data brings its own


DESCRIBED_BY = tuple(name for name in CaptionConfig.model_fields if name not in ("max_words", "max_tokens", "terms"))
# what `describe` goes by; the rest is of training and of measuring


class RetrievalConfig(BaseModel):
    """Pictures by words and words by pictures. Read with `task: retrieval` and `pretrain`; values are the authors'."""

    model_config = CLOSED

    max_words: Positive = 30  # of a caption
    max_tokens: Annotated[Whole, Field(ge=3, le=512)] = 35  # [CLS] and [SEP] included
    queue: Annotated[Positive, Field(le=10**7)] = 57_600  # pairs of earlier batches that each pair is compared with
    momentum: Annotated[Number, Field(ge=0, le=1)] = 0.995  # how slowly the towers follow that fill the queue
    alpha: Annotated[Number, Field(ge=0, le=1)] = 0.4  # part of the targets that they decide; grows in epoch 1
    rerank: Annotated[Whole, Field(ge=0)] = 128  # nearest candidates that ITM scores anew; 0: similarity alone
    rerank_by: Literal["authors", "likelihood"] = "authors"  # what is added to ITM's logit (`searches.combined`)


SEARCHED_BY = ("max_words", "max_tokens", "rerank", "rerank_by")
# what `look_at_pair` and `search_clips` go by; the rest is of training


class PairsConfig(BaseModel):
    """Statements about two pictures. Read with `task: pairs` only."""

    model_config = CLOSED

    max_words: Positive = 40  # of a statement, as the authors
    max_tokens: Annotated[Whole, Field(ge=3, le=512)] = 60  # [ENC] and [SEP] included; the authors cut words alone


class BootstrapConfig(BaseModel):
    """CapFilt: captions written and filtered anew before pre-training. Read with `task: pretrain`, where `clean` says
    something; what the rest leaves out is the authors' choice."""

    model_config = CLOSED

    clean: dict[str, Any] = {}  # `data` of pairs that are right, e.g. {source: folder}; `data` holds those in doubt
    start: Text | None = None  # the pre-trained model that captioner and filter begin with; None: one made of `data`
    captioner: dict[str, Any] = {}  # settings of its fine-tuning that are not those of the run: {train.epochs: 5}
    filter: dict[str, Any] = {}  # likewise
    shared: Flag = False  # one model, fine-tuned as in pre-training, writes and filters; False: two, apart
    write: Literal["nucleus", "beam"] = "nucleus"
    captions: Several = 1  # drawn for each picture by each captioner
    captioners: Several = 1  # of different seeds
    filters: Several = 1  # of different seeds: their probabilities are averaged
    # whether a text fits: ITM's probability of a match, or also how probable the captioners find its words
    judge: Literal["matching", "both"] = "matching"
    threshold: Annotated[Number, Field(ge=0, le=1)] = 0.5  # of ITM's probability of a match
    wished_precision: Annotated[Number, Field(gt=0, le=1)] | None = None  # or: a threshold by the clean validation
    wished_recall: Annotated[Number, Field(gt=0, le=1)] | None = None  # or: one that so many of its right pairs reach
    rounds: Several = 1  # each begins with the model that the one before pre-trained

    @model_validator(mode="after")
    def _beams_write_one(self):
        if self.write == "beam" and self.captions > 1:
            raise ValueError("beam search writes one caption a picture: set captions: 1, or write: nucleus")
        return self

    @model_validator(mode="after")
    def _one_threshold(self):
        wishes = [self.wished_precision, self.wished_recall]
        if None not in wishes:
            raise ValueError(
                "wished_precision and wished_recall both choose the threshold: give one, and null for the other"
            )
        if self.judge == "both" and wishes == [None, None]:
            raise ValueError(
                "judge: both gives no probability, of which 0.5 would mean something: let wished_recall, the share of "
                "right texts to keep (0.8), or wished_precision choose the threshold"
            )
        return self


Method = Literal["plain", "replay", "questions", "distil", "interpolate", "lora", "joint", "alone"]


class ContinualConfig(BaseModel):
    """Data sets that one model learns one after the other. Read with `task: vqa`, where `stages` names some."""

    model_config = CLOSED

    # in order: a config, whose data it is, or {name: …, data: …, train: …} of what differs from this config
    stages: list[str | dict[str, Any]] = []
    methods: Annotated[list[Method], Field(min_length=1)] = ["plain", "replay", "joint", "alone"]  # what is compared
    replay: Annotated[Number, Field(gt=0, le=1)] = 0.2  # of an earlier stage's pictures (of its questions: `questions`)
    distil: Annotated[Number, Field(gt=0)] = 1.0  # weight of the last model's word beside the answers
    temperature: Annotated[Number, Field(gt=0)] = 2.0  # of both distributions that distillation compares
    mix: Annotated[Number, Field(gt=0, le=1)] | None = None  # part of the new weights; None: by validation so far
    lora_rank: Annotated[Positive, Field(le=16_384)] = 8  # of one LoRA a stage; the rest as model.lora says

    @model_validator(mode="after")
    def _each_method_once(self):
        if twice := sorted({method for method in self.methods if self.methods.count(method) > 1}):
            raise ValueError(f"methods: {twice[0]} stands there twice")
        return self
