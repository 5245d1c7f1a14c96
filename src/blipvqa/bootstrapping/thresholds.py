"""Where a match begins: the probability that is told, or one that the clean validation pairs choose for a wish.

Notable:
- Validation holds right pairs only. Its wrong ones are made: each text with another picture drawn at random, and with
  the picture that the filter itself finds nearest among the wrong ones. Two of three are wrong, and every second wrong
  one is hard: a precision that holds here is rather exceeded where fewer texts are wrong.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blipvqa.bootstrapping.candidates import Member, match_pairs
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.devices import pick_device
from blipvqa.numbers.thresholds import accuracy_frontier, threshold_for
from blipvqa.retrieval.encoding import EncodedSplit
from blipvqa.runs.run import RunError
from blipvqa.training.stored import content_digest, stored


def threshold_of(config: Config, filters: list[Member], validation: VQADataset, folder: Path, prefix: str) -> float:
    """The probability from which on a text is kept.

    Raises RunError where no threshold has the wished precision on validation.
    """
    wish = config.bootstrap.wished_precision
    if wish is None:
        return config.bootstrap.threshold
    rows = [_judged(one, validation, folder, f"{prefix}-validation-{i}") for i, one in enumerate(filters)]
    matches = np.mean([[row["match"] for row in of_filter] for of_filter in rows], axis=0)
    threshold = threshold_for(accuracy_frontier(matches, [row["right"] for row in rows[0]]), wish)
    if threshold is None:
        raise RunError(
            f"bootstrap.wished_precision {wish}: no threshold of the filter has it on the {len(matches)} pairs of "
            "validation, two of three of them wrong: wish for less, or train the filter longer."
        )
    return threshold


def _judged(one: Member, validation: VQADataset, folder: Path, name: str) -> list[dict]:
    captions = content_digest([row["caption"] for row in validation.rows])
    made_by = one.made_by(validation) | {"captions": captions, "seed": one.config.seed}

    def judge() -> list[dict]:
        pairs, right = _pairs(one, validation)
        picture_rows = list({row["image_id"]: i for i, row in enumerate(validation.rows)}.values())
        matches = match_pairs(one, validation, picture_rows, pairs, progress=False)
        return [{"match": match, "right": bool(is_right)} for match, is_right in zip(matches, right, strict=True)]

    return stored(folder, name, made_by, judge)


def _pairs(one: Member, validation: VQADataset) -> tuple[list[tuple[str, str]], list[bool]]:
    """Pairs of an image id and a text, and whether they belong together."""
    model, processor = one.models.load()
    model.to(pick_device()).eval()
    encoded = EncodedSplit(model, processor.tokenizer, one.pictures(validation), one.config)
    gallery, other = encoded.gallery, encoded.gallery.other_pictures(one.config.seed)
    cosines = (encoded.texts @ encoded.pictures.features.T).detach().cpu().numpy()
    for text, pictures in enumerate(gallery.pictures_of_text):
        cosines[text, pictures] = -np.inf
    pairs, right = [], []
    for picture, text in zip(gallery.picture_of.tolist(), gallery.text_of.tolist(), strict=True):
        wrong = {int(other[picture]), int(cosines[text].argmax())} - set(gallery.pictures_of_text[text].tolist())
        for number in (picture, *sorted(wrong)):
            pairs.append((validation.rows[gallery.picture_rows[number]]["image_id"], _text(validation, gallery, text)))
            right.append(number == picture)
    return pairs, right


def _text(validation: VQADataset, gallery, text: int) -> str:
    return validation.rows[gallery.text_rows[text]]["caption"]
