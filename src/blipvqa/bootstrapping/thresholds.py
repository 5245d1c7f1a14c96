"""Where a match begins: the probability that is told, or one that the clean validation pairs choose for a wish.

Notable:
- Validation holds right pairs only. Its wrong ones are made: each text with another picture drawn at random, and with
  the picture that the filters themselves find nearest among the wrong ones. Two of three are wrong, and every second
  wrong one is hard: a precision that holds here is rather exceeded where fewer texts are wrong.
- Several filters judge the same pairs, by the mean of their probabilities, as they judge texts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blipvqa.bootstrapping.candidates import Member, match_pairs, mean_match, reading
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.devices import pick_device
from blipvqa.numbers.thresholds import FEWEST, accuracy_frontier, threshold_for
from blipvqa.plural import how_many
from blipvqa.retrieval.encoding import EncodedSplit
from blipvqa.retrieval.gallery import Gallery
from blipvqa.runs.run import RunError
from blipvqa.training.stored import content_digest, stored


def check_wish(config: Config, validation: VQADataset) -> None:
    """Raises RunError where no filter could have `bootstrap.wished_precision` on these pairs: before any is trained."""
    wish, gallery = config.bootstrap.wished_precision, Gallery.of_rows(validation.rows)
    if wish is None:
        return
    if all(len(pictures) == len(gallery.picture_rows) for pictures in gallery.pictures_of_text):
        raise RunError(
            f"bootstrap.wished_precision {wish}: in the clean validation pairs every picture is right for every text, "
            "so that there is no wrong pair to choose a threshold by: give more pairs, or bootstrap.threshold."
        )
    if len(validation) < wish * FEWEST:
        raise RunError(
            f"bootstrap.wished_precision {wish}: a threshold is chosen by {FEWEST} pairs or more above it, and the "
            f"clean validation has {how_many(len(validation), 'right one')}: give bootstrap.clean more, or say "
            "bootstrap.threshold."
        )


def threshold_of(config: Config, filters: list[Member], validation: VQADataset, folder: Path, prefix: str) -> float:
    """The probability from which on a text is kept.

    Raises RunError where no threshold has the wished precision on validation.
    """
    wish = config.bootstrap.wished_precision
    if wish is None:
        return config.bootstrap.threshold
    pairs = _pairs(config, filters, validation, folder, f"{prefix}-validation-pairs")
    wrong = sum(not pair["right"] for pair in pairs)
    judged = [_judged(one, validation, pairs, folder, f"{prefix}-validation-{i}") for i, one in enumerate(filters)]
    threshold = threshold_for(accuracy_frontier(mean_match(judged), [pair["right"] for pair in pairs]), wish)
    if threshold is None:
        raise RunError(
            f"bootstrap.wished_precision {wish}: no threshold of the filter has it on the {len(pairs)} pairs of "
            f"validation, {wrong} of them wrong: wish for less, or train the filter longer."
        )
    return threshold


def _judged(one: Member, validation: VQADataset, pairs: list[dict], folder: Path, name: str) -> list[float]:
    """One filter's probability of a match of each pair."""
    texts = [(pair["image_id"], pair["caption"]) for pair in pairs]
    made_by = one.made_by(validation) | {"pairs": content_digest(texts), "retrieval": reading(one.config)}

    def judge() -> list[dict]:
        picture_rows = list({row["image_id"]: i for i, row in enumerate(validation.rows)}.values())
        return [{"match": match} for match in match_pairs(one, validation, picture_rows, texts, progress=False)]

    return [row["match"] for row in stored(folder, name, made_by, judge)]


def _pairs(config: Config, filters: list[Member], validation: VQADataset, folder: Path, name: str) -> list[dict]:
    """Pairs of an `image_id` and a `caption`, and whether they are `right`: the same for all filters."""
    made_by = {
        "filters": [one.made_by(validation) | {"retrieval": reading(one.config)} for one in filters],
        "captions": content_digest([row["caption"] for row in validation.rows]),
        "seed": config.seed,
    }

    def make() -> list[dict]:
        gallery = Gallery.of_rows(validation.rows)
        other = gallery.other_pictures(config.seed)
        cosines = sum(_cosines(one, validation) for one in filters)
        for text, pictures in enumerate(gallery.pictures_of_text):
            cosines[text, pictures] = -np.inf
        pairs = []
        for picture, text in zip(gallery.picture_of.tolist(), gallery.text_of.tolist(), strict=True):
            wrong = {int(other[picture]), int(cosines[text].argmax())} - set(gallery.pictures_of_text[text].tolist())
            caption = validation.rows[gallery.text_rows[text]]["caption"]
            for number in (picture, *sorted(wrong)):
                image_id = validation.rows[gallery.picture_rows[number]]["image_id"]
                pairs.append({"image_id": image_id, "caption": caption, "right": number == picture})
        return pairs

    return stored(folder, name, made_by, make)


def _cosines(one: Member, validation: VQADataset) -> np.ndarray:
    """Of each distinct text with each distinct picture, `[T,I]`."""
    model, processor = one.models.load()
    model.to(pick_device()).eval()
    encoded = EncodedSplit(model, processor.tokenizer, one.pictures(validation), one.config)
    return (encoded.texts @ encoded.pictures.features.T).detach().cpu().numpy()
