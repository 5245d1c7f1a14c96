"""One picture and one text: whether they belong together, and where the model looked to say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from blipvqa.config.knobs import RetrievalConfig
from blipvqa.data.images import open_picture, resize_image
from blipvqa.data.texts import check_own_text
from blipvqa.models.attention import by_word
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.tokenizer import reading_notes
from blipvqa.pages.wording import share
from blipvqa.retrieval.batches import text_tokens
from blipvqa.training.own_settings import own_settings


@dataclass
class Match:
    """A picture with a text: ITM's probability that they belong together, their cosine, and for each word where it
    looked: `[g,g]` over the picture's patches, 1 where most."""

    text: str
    image: Image.Image
    match: float
    cosine: float
    looks: list[tuple[str, Tensor]]
    notes: list[str]  # of a text that was read in part

    def __str__(self) -> str:
        return f"{self.text} ({share(self.match)})"


def look_at_pair(
    model: BlipForRetrieval, processor, picture, text: str, settings: RetrievalConfig | None = None
) -> Match:
    """Whether `text` belongs to `picture` (a file, its bytes, an array or a Pillow picture), and where each word looked
    when the model judged that. `settings` are a config's `retrieval`, by default that of the model's run.

    Cross-attention of all layers and heads times the gradient of the logit of a match, where that is positive: what
    speaks for a match (Selvaraju et al. 2017, as BLIP's authors draw it). Raises InputError for a text without a word.
    """
    check_own_text("text", text, "look_at_pair")
    settings = settings or own_settings(model, RetrievalConfig)
    image = open_picture(picture)
    pixels = torch.from_numpy(resize_image(image, processor.image_processor.size["height"]))[None]
    tokens = text_tokens(processor.tokenizer, [text], settings)
    ids, mask = tokens["input_ids"].to(model.device), tokens["attention_mask"].to(model.device)
    model.eval()
    with torch.no_grad():
        states = model.picture_states(pixels.to(model.device))
        cosine = (model.picture_features(states) @ model.text_features(ids, mask).T).item()
    maps: list[Tensor] = []  # of each layer [1,heads,L,N]
    with torch.enable_grad():
        logits = model.match_logits(states.requires_grad_(), ids, mask, maps=maps)[0]
        gradients = torch.autograd.grad(logits[1] - logits[0], maps)
    looks = torch.stack([(a * g).clamp(min=0).detach() for a, g in zip(maps, gradients, strict=True)])
    patches = looks.mean((0, 2))[0, :, 1:]  # [L, patches], no class token
    side = math.isqrt(patches.shape[-1])
    words = processor.tokenizer.convert_ids_to_tokens(ids[0, 1:].tolist())
    looks_of = by_word(words, patches[1:].view(-1, side, side).cpu())
    notes = reading_notes(processor.tokenizer, text, settings.max_words, settings.max_tokens)
    return Match(text, image, logits.softmax(-1)[1].item(), cosine, looks_of, notes)
