"""Where a match begins: the number that is told, or one that the clean validation pairs choose for a wish.

Notable:
- Validation holds right pairs only. Its wrong ones are made: each text with another picture drawn at random, and with
  the picture that the filters themselves find nearest among the wrong ones. Two of three are wrong, and every second
  wrong one is hard: a precision that holds here is rather exceeded where fewer texts are wrong.
- A wished recall looks at the right pairs alone: as many of them as are wished reach the threshold. No wrong pair is
  made for it.
- The same pairs are judged by all, as texts are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blipvqa.bootstrapping.judging import Judges, Pair
from blipvqa.bootstrapping.members import Member
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.models.devices import pick_device
from blipvqa.numbers.thresholds import FEWEST, accuracy_frontier, threshold_for, threshold_for_sensitivity
from blipvqa.plural import how_many
from blipvqa.retrieval.encoding import EncodedSplit
from blipvqa.retrieval.gallery import Gallery
from blipvqa.runs.run import RunError
from blipvqa.training.stored import content_digest, stored


def check_wish(config: Config, validation: VQADataset) -> None:
    """Raises RunError where no filter could have the wished precision, or nothing can say what recall it has, on these
    pairs: before any is trained."""
    wishes = {name: getattr(config.bootstrap, name) for name in ("wished_precision", "wished_recall")}
    name, wish = next(((name, wish) for name, wish in wishes.items() if wish is not None), (None, None))
    if name is None:
        return
    gallery = Gallery.of_rows(validation.rows)
    if name == "wished_precision" and all(
        len(pictures) == len(gallery.picture_rows) for pictures in gallery.pictures_of_text
    ):
        raise RunError(
            f"bootstrap.wished_precision {wish}: in the clean validation pairs every picture is right for every text, "
            "so that there is no wrong pair to choose a threshold by: give more pairs, or bootstrap.wished_recall."
        )
    above = math.ceil(wish * len(validation) - 1e-9)  # of the right pairs, with a wished recall
    if above < FEWEST if name == "wished_recall" else len(validation) < wish * FEWEST:
        of_which = f", of which {above} would be" * (name == "wished_recall")
        # `judge: both` has no use of a fixed one
        threshold = ", or say bootstrap.threshold" * (config.bootstrap.judge == "matching")
        raise RunError(
            f"bootstrap.{name} {wish}: a threshold is chosen by {FEWEST} pairs or more above it, and the clean "
            f"validation has {how_many(len(validation), 'right one')}{of_which}: give bootstrap.clean more{threshold}."
        )


def keeps_more(config: Config) -> str:
    """What a user can do where too few texts are kept."""
    if config.bootstrap.wished_recall is not None:
        return "raise bootstrap.wished_recall"
    return "lower bootstrap.threshold" if config.bootstrap.wished_precision is None else "wish for less precision"


def threshold_of(config: Config, judges: Judges, validation: VQADataset, folder: Path, prefix: str) -> float:
    """The `match` from which on a text is kept.

    Raises RunError where no threshold has the wished precision on validation.
    """
    wish, recall = config.bootstrap.wished_precision, config.bootstrap.wished_recall
    if wish is None and recall is None:
        return config.bootstrap.threshold

    def matches(pairs: Sequence[Pair]) -> list[float]:
        def name_of(kind: str, number: int, _: int) -> str:  # that of filters is as it was before captioners judged
            return f"{prefix}-validation-{'' if kind == 'match' else f'{kind}-'}{number}"

        (said,) = judges([(validation, pairs)], folder, name_of, progress=False)
        return [one["match"] for one in said]

    if recall is not None:
        right_pairs = [(row["image_id"], row["caption"]) for row in validation.rows]
        return threshold_for_sensitivity(matches(right_pairs), [True] * len(right_pairs), recall)
    pairs = _pairs(config, judges.filters, validation, folder, f"{prefix}-validation-pairs")
    right = [pair["right"] for pair in pairs]
    frontier = accuracy_frontier(matches([(pair["image_id"], pair["caption"]) for pair in pairs]), right)
    threshold = threshold_for(frontier, wish)
    if threshold is None:
        raise RunError(
            f"bootstrap.wished_precision {wish}: no threshold has it on the {len(pairs)} pairs of "
            f"validation, {right.count(False)} of them wrong: wish for less, or train the filter longer."
        )
    return threshold


def _pairs(config: Config, filters: Sequence[Member], validation: VQADataset, folder: Path, name: str) -> list[dict]:
    """Pairs of an `image_id` and a `caption`, and whether they are `right`: the same for all filters."""
    made_by = {
        "filters": [one.made_by(validation) | one.reading() for one in filters],
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
    cosines = (encoded.texts @ encoded.pictures.features.T).detach().cpu().numpy()
    one.let_go()
    return cosines
