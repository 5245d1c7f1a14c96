"""Pictures and a question to what the page shows: the answer, how sure the model is, and what moved it.

Notable:
- Nothing is remembered. Each question comes with its pictures, so that no two people can get each other's, and when
  the answer is given nothing holds them any more; none is written anywhere.
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
from blipvqa.data.history import Turn, turns_of
from blipvqa.data.images import resize_image
from blipvqa.data.several_pictures import sheet
from blipvqa.pages.maps import beside_its_map
from blipvqa.retrieval.index import Index
from blipvqa.retrieval.search import search
from blipvqa.vqa.asking import Alike, Answer, ask
from blipvqa.vqa.explanations import explain
from blipvqa.vqa.foreign import stored_gate
from blipvqa.vqa.pictures import said_of
from blipvqa.vqa.turns import reads_history

SIDE = 360  # pixels of a picture that the page shows
NEAREST, SMALL = 4, 140  # training pictures beside an answer, and their pixels


class Answers:
    """What a model answers on the page; with an `index` of the training pictures, beside the nearest of them."""

    def __init__(self, model, processor, settings: GenerateConfig, index: Index | None = None):
        self.model, self.processor, self.settings = model, processor, settings
        self.alike = partial(search, index, k=NEAREST) if index else None
        self.gate = stored_gate(model)
        self.talks = reads_history(model)  # whether it is asked with the conversation so far

    def __call__(
        self, pictures: Sequence[bytes], question: str, with_map: bool, history: Sequence[Sequence[str]] = ()
    ) -> dict:
        """`answer`, `confidence` (None where there is none), `withheld`, `unfinished`, `notes` on the answer, the first
        of which warns where a picture is `foreign`, `nearest` training pictures with their answers, and `picture`, as
        it was seen; with a `map` of what moved the answer beside it, where there is one: of an answer that was withheld
        there is none, and of the others a note says why. Several `pictures` are asked about together, in their order.
        `history` holds the question and the answer of each turn before.

        Raises ImageError and InputError.
        """
        known = {"gate": self.gate, "alike": self.alike, "history": list(history), "together": True}
        answered = ask(self.model, self.processor, list(pictures), question, self.settings, **known)
        shown, notes = [_small(image, SIDE) for image in answered.images], list(answered.notes)
        with_map = with_map and not answered.withheld
        maps = self._maps(answered, turns_of(known["history"])) if with_map and answered.answer else None
        if maps is not None:
            shown = [beside_its_map(image, patches, SIDE) for image, patches in zip(shown, maps, strict=True)]
        elif with_map:
            why = "what moved the answer is no number" if answered.answer else "the model said nothing"
            notes.append(f"no map: {why}")
        return {
            "question": question,
            "answer": answered.answer,
            "confidence": answered.confidence,
            "withheld": answered.withheld,
            "unfinished": answered.unfinished,
            "notes": notes,
            "map": maps is not None,
            "foreign": answered.unlike is not None and answered.unlike > 1,
            "nearest": [_shown(alike) for alike in answered.alike],
            "picture": _as_link(sheet(shown)),
        }

    def _maps(self, answered: Answer, turns: list[Turn]) -> torch.Tensor | None:
        """Of each picture what moved the answer, `[P, g, g]`; None where that is no number."""
        side = self.processor.image_processor.size["height"]
        pixels = [torch.from_numpy(resize_image(image, side)) for image in answered.images]
        moved = explain(self.model, self.processor, pixels, answered.question, answered.answer, history=turns)
        if not math.isfinite(float(moved.map.sum())):
            return None
        return moved.map.view(len(pixels), *moved.map.shape[-2:])


def _shown(alike: Alike) -> dict:
    """A training picture that looks alike: `picture`, `cosine` and what was `said` of it."""
    return {"picture": _as_link(_small(alike.image(), SMALL)), "cosine": round(alike.score, 2), "said": said_of(alike)}


def _small(image: Image.Image, side: int) -> Image.Image:
    small = image.copy()
    small.thumbnail((side, side))
    return small


def _as_link(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
