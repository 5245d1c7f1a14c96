"""A picture and a question to what the page shows: the answer, how sure the model is, and what moved it.

Notable:
- Nothing is remembered. Each question comes with its picture, so that no two people can get each other's, and when
  the answer is given nothing holds the picture any more; none is written anywhere.
- What goes back is drawn anew from pixels: no metadata of the file comes along.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from functools import partial

import torch
from PIL import Image

from blipvqa.config.knobs import GenerateConfig
from blipvqa.data.history import turns_of
from blipvqa.data.images import resize_image
from blipvqa.pages.maps import beside_its_map
from blipvqa.retrieval.index import Index
from blipvqa.retrieval.search import search
from blipvqa.vqa.asking import Alike, ask
from blipvqa.vqa.explanations import explain
from blipvqa.vqa.foreign import stored_gate
from blipvqa.vqa.pictures import said_of
from blipvqa.vqa.turns import history_tokens

SIDE = 360  # pixels of a picture that the page shows
NEAREST, SMALL = 4, 140  # training pictures beside an answer, and their pixels


class Answers:
    """What a model answers on the page; with an `index` of the training pictures, beside the nearest of them."""

    def __init__(self, model, processor, settings: GenerateConfig, index: Index | None = None):
        self.model, self.processor, self.settings = model, processor, settings
        self.alike = partial(search, index, k=NEAREST) if index else None
        self.gate = stored_gate(model)
        self.talks = history_tokens(model) is not None  # whether it is asked with the conversation so far

    def __call__(self, picture: bytes, question: str, with_map: bool, history: Sequence[Sequence[str]] = ()) -> dict:
        """`answer`, `confidence` (None where there is none), `withheld`, `notes` on the answer, the first of which
        warns where the picture is `foreign`, `nearest` training pictures with their answers, and `picture`, as it was
        seen; with a map of what moved the answer beside it, where the answer was given. `history` holds the question
        and the answer of each turn before.

        Raises ImageError and InputError.
        """
        known = {"gate": self.gate, "alike": self.alike, "history": list(history)}
        answered = ask(self.model, self.processor, picture, question, self.settings, **known)
        shown = answered.image.copy()
        shown.thumbnail((SIDE, SIDE))
        if with_map and not answered.withheld:
            size = self.processor.image_processor.size["height"]
            pixels = torch.from_numpy(resize_image(answered.image, size))
            turns = turns_of(known["history"])
            moved = explain(self.model, self.processor, pixels, question, answered.answer, history=turns)
            if math.isfinite(float(moved.map.sum())):
                shown = beside_its_map(shown, moved.map, SIDE)
        return {
            "question": question,
            "answer": answered.answer,
            "confidence": answered.confidence,
            "withheld": answered.withheld,
            "notes": answered.notes,
            "foreign": answered.unlike is not None and answered.unlike > 1,
            "nearest": [_shown(alike) for alike in answered.alike],
            "picture": _as_link(shown),
        }


def _shown(alike: Alike) -> dict:
    """A training picture that looks alike: `picture`, `cosine` and what was `said` of it."""
    image = alike.image()
    image.thumbnail((SMALL, SMALL))
    return {"picture": _as_link(image), "cosine": round(alike.score, 2), "said": said_of(alike)}


def _as_link(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
