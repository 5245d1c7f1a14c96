"""`ask`: an answer to a question about one's own picture, or to many about many.

Notable:
- The confidence is the one that `evaluate` checked: its calibration lies beside the weights and is used by default.
- The answer shows itself in a notebook, with its picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.config.knobs import GenerateConfig
from blipvqa.data.history import Turn, turns_of
from blipvqa.data.images import open_picture, resize_image
from blipvqa.data.one_colour import own_picture_notes
from blipvqa.data.several_pictures import sheet
from blipvqa.errors import InputError
from blipvqa.models.folders import check_task
from blipvqa.models.tokenizer import notes_on_reading
from blipvqa.models.towers import picture_features
from blipvqa.models.vqa import BlipForVQA
from blipvqa.pages.wording import said, share
from blipvqa.text import says_something
from blipvqa.training.own_settings import own_settings
from blipvqa.vqa.batches import asking_collator
from blipvqa.vqa.calibration import stored_calibration
from blipvqa.vqa.confidence import UNCERTAIN, abstain
from blipvqa.vqa.conformal import RANKING, read_answer_sets, without_candidates
from blipvqa.vqa.foreign import Gate, foreign_note, stored_gate
from blipvqa.vqa.pictures import answer_card
from blipvqa.vqa.predictions import Answerer, Candidates
from blipvqa.vqa.selective import CONTENT, calibration_in_force, threshold_in_force
from blipvqa.vqa.turns import refuse_history


class Alike(Protocol):
    """A training picture that looks like the asked one, as `search` finds it in an index of train."""

    score: float  # the cosine
    rows: Sequence[Mapping]  # its questions with their answers
    image: Callable[[], Image.Image]  # opens it


@dataclass
class Answer:
    """What `ask` returns: the answer ("uncertain" where it was withheld), how sure the model is of what it would say
    (0 to 1), the picture and the question."""

    answer: str
    confidence: float | None  # None where the model's probabilities are no numbers
    question: str
    image: Image.Image  # several pictures on one sheet
    answer_set: list[str] | None = None  # candidates that hold the right answer to 90 % of questions; of runs that rank
    unlike: float | None = None  # how unlike train the picture is, above 1 is foreign; None where that was not measured
    alike: Sequence[Alike] = ()  # the training pictures that look most alike, the most alike first
    images: Sequence[Image.Image] = ()  # the single pictures, where several were asked about together
    turns_left_out: int = 0  # of the conversation, the oldest ones, for which there was no room
    reading: Sequence[str] = ()  # a note where the question was not read as it stands: too long, or unknown words
    unfinished: bool = False  # it stops at `generate.max_new_tokens`, before the model ended it

    def __str__(self) -> str:
        answer = said(vars(self), "answer")
        return answer if self.confidence is None else f"{answer} ({share(self.confidence)})"

    def _repr_html_(self) -> str:
        return answer_card(self)._repr_html_()

    @property
    def notes(self) -> list[str]:
        """What a person should see beside the answer: a warning of a foreign picture, the answer set, and what of the
        question, its turns and the answer is missing."""
        told = [] if self.answer_set is None else [f"90 % set: {'; '.join(self.answer_set)}"]
        if self.turns_left_out:
            told.append(f"answered without the oldest {self.turns_left_out} turns, for which there was no room")
        told += self.reading
        if self.unfinished:
            told.append("the answer stops at generate.max_new_tokens, before the model ended it")
        empty = own_picture_notes(self.images or (self.image,))
        return [note for note in (foreign_note(self.unlike), *empty, *told) if note]

    @property
    def withheld(self) -> bool:
        """Whether the model was not sure enough to say it."""
        return self.answer == UNCERTAIN


Picture = str | Path | bytes | np.ndarray | Image.Image


def ask(
    model: BlipForVQA,
    processor,
    image: Picture | Sequence[Picture],
    question: str | Sequence[str],
    settings: GenerateConfig | None = None,
    calibration: Mapping | Literal["stored"] | None = "stored",
    gate: Gate | Literal["stored"] | None = "stored",
    alike: Callable[[Image.Image], Sequence[Alike]] | None = None,
    together: bool = False,
    history: Sequence[Answer | Mapping | Sequence[str]] | None = None,
) -> Answer | list[Answer]:
    """Answer a question about one's own picture: a file (from the project's root), its bytes, an array or a Pillow
    picture, see `images.open_picture`. Of a list of pictures, of questions or of both it gives a list of answers, every
    question about the first picture, then about the second; each picture is encoded once a batch. `together` asks
    about a list of pictures as one: the questions see all of them, in their order.

    `settings` are a config's `generate`, by default that of the model's run: its lengths, its beams and what it says of
    unsure answers hold (`selective`). The answer is generated; where the settings rank and the run was evaluated so, it
    is ranked. Of such a run it has an answer set, too.
    `calibration` makes the confidence one that was checked: by default what `evaluate` stored in the model's folder,
    None for the model's own probability. `gate` tells whether the picture is unlike those of training; by default it is
    the one that `evaluate` stored, which `stored_gate` reads once for many questions. `alike` finds the training
    pictures that look like a picture, to be shown with their answers: `partial(search, make_index(run, train), k=4)`,
    of a run of task: retrieval.
    `history` is the conversation before the question (before each, of several), the oldest turn first: question and
    answer of each, as a pair, {"question", "answer"} or what `ask` returned. Turns that do not fit are left out, the
    oldest first; `turns_left_out` counts them.

    Raises ImageError for a file that is no picture, FileNotFoundError, and InputError for an empty question; in a list
    for the first such, before anything is answered. InputError, too, for a history that is none, and of a model that
    was trained without conversations: it would take the words of all turns for one question.
    """
    several = isinstance(image, list | tuple), isinstance(question, list | tuple)
    questions = list(question) if several[1] else [question]
    for text in questions:
        if not (isinstance(text, str) and says_something(text)):
            raise InputError(f"the question is empty: {text!r}")
    listed = list(image) if several[0] else [image]
    _check_together(together, several[0], len(listed))
    pictures = [open_picture(one) for one in listed]
    check_task(model, BlipForVQA, "ask")
    turns = _turns(model, history)
    if settings is None:
        settings = own_settings(model, GenerateConfig)
        if calibration is None:  # no threshold was chosen on the model's own probability
            settings = settings.model_copy(update={"wished_accuracy": None})
    if calibration == "stored":
        calibration = stored_calibration(model)
    gate = stored_gate(model) if gate == "stored" else gate
    pixels = [torch.from_numpy(resize_image(one, processor.image_processor.size["height"])) for one in pictures]
    unlike: list[float | None] = [None] * len(pictures)
    if gate is not None and pictures and questions:
        unlike = gate.unlike(picture_features(model, pixels)).tolist()
    if together:
        rows, images = [list(range(len(pictures)))], pictures
        unlike, pictures = [max(unlike) if None not in unlike else None], [sheet(pictures)]
    else:
        rows, images = [[i] for i in range(len(pictures))], ()
    items = _items(rows, pixels, questions, turns)
    like = [alike(picture) if alike else () for picture in (images[:1] if together else pictures)]
    answers = []
    for start in range(0, len(items), settings.batch_size):
        part = items[start : start + settings.batch_size]
        answered = _answered(model, processor, part, settings, calibration)
        for item, (prediction, answer_set) in zip(part, answered, strict=True):
            words, of = (prediction["prediction"], prediction["confidence"]), item["picture"]
            found = answer_set, unlike[of], like[of], images, prediction["turns_left_out"], prediction["reading"]
            unfinished = prediction.get("unfinished", False)
            answers.append(Answer(*words, item["question"], pictures[of], *found, unfinished))
    return answers if several[1] or (several[0] and not together) else answers[0]


def _check_together(together: bool, several: bool, count: int) -> None:
    if together and not (several and 1 <= count <= MOST_PICTURES):
        found = f"{count}" if several else "no list"
        raise InputError(f"together=True asks about a list of 1 to {MOST_PICTURES} pictures, found {found}")


def _turns(model: BlipForVQA, history: Sequence | None) -> list[Turn]:
    """A conversation in our form. Raises InputError where it is none, or the model was trained without."""
    if not history:
        return []
    if isinstance(history, list | tuple):
        history = [(turn.question, turn.answer) if isinstance(turn, Answer) else turn for turn in history]
    try:
        turns = turns_of(history)
    except ValueError as error:
        raise InputError(f"history: {error}") from None
    refuse_history(model)
    return turns


def _items(
    rows: Sequence[Sequence[int]], pixels: Sequence[Tensor], questions: Sequence[str], turns: list[Turn]
) -> list[dict]:
    """A row for each question, after `turns`, about each of `rows`, the numbers of the pictures that it shows."""
    return [
        {
            "image_ids": list(map(str, numbers)),
            "picture": place,
            "question": question,
            "history": turns,
            "answer": "",
            "pixels": [pixels[i] for i in numbers] if len(numbers) > 1 else pixels[numbers[0]],
        }
        for place, numbers in enumerate(rows)
        for question in questions
    ]


def _answered(
    model: BlipForVQA, processor, items: list[dict], settings: GenerateConfig, calibration: Mapping | None
) -> list[tuple[dict, list[str] | None]]:
    """The prediction of each of a batch's items, and its answer set where there is one."""
    collate = asking_collator(processor, model)
    batch, (texts, left_out) = collate(items), collate.with_history(items)
    ranked, sets = _ranked(model, processor, batch)
    settings, calibration = as_calibrated(settings, sets, calibration)
    answered = ranked if settings.method == "rank" else Answerer(model.eval(), processor, settings)(batch)
    threshold = threshold_in_force(settings, calibration)
    predictions = abstain(answered, threshold, calibration_in_force(settings, calibration))
    limit = collate.limits["question"]
    reading = [notes_on_reading(collate.tokenizer, text, limit, "question") for text in texts]
    beside = zip(predictions, left_out, reading, strict=True)
    predictions = [row | {"turns_left_out": n, "reading": notes} for row, n, notes in beside]
    if not ranked:
        return [(prediction, None) for prediction in predictions]
    chosen = [row.get("answer_set") for row in without_candidates(ranked, sets)]
    return list(zip(predictions, chosen, strict=True))


def as_calibrated(
    settings: GenerateConfig, sets: Mapping | None, calibration: Mapping | None
) -> tuple[GenerateConfig, Mapping | None]:
    """How a model by itself answers, and what tells how sure it is: ranked among the candidates beside its weights,
    `sets`, as the evaluation that calibrated them did, whatever the settings call them; generated without these."""
    if settings.method != "rank" or sets is None:  # a pushed model leaves its candidates at home
        return settings.model_copy(update={"method": "generate"}), calibration
    beside = None if calibration is None else {k: v for k, v in calibration.items() if k not in ("candidates", CONTENT)}
    return settings.model_copy(update={name: sets[name] for name in RANKING}), beside


def _ranked(model: BlipForVQA, processor, batch: Mapping) -> tuple[list[dict] | None, dict | None]:
    """The batch answered from the candidates beside the weights, and the thresholds of answer sets; else None twice."""
    folder = getattr(model, "folder", None)
    sets = None if folder is None else read_answer_sets(folder)
    if sets is None:
        return None, None
    candidates = Candidates.of(sets["candidates"], asking_collator(processor, model))
    settings = GenerateConfig(method="rank", **{name: sets[name] for name in RANKING})
    return Answerer(model.eval(), processor, settings, candidates)(batch), sets
