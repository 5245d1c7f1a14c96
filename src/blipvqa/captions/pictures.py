"""Pictures with their captions: samples of the data, predictions beside references, and where a word looked.

Things named wrongly come first, told by colour, sign and word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.captions.predictions import Caption
from blipvqa.captions.terms import Finder, Terms
from blipvqa.data.dataset import VQADataset
from blipvqa.pages.gallery import PLAIN, RIGHT, WRONG, caption_of, card, drawn_pictures, grid, line, progress_table
from blipvqa.pages.html import Html, escape, join
from blipvqa.pages.maps import beside_its_map
from blipvqa.pages.wording import said
from blipvqa.text import same_text


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four captions."""
    return drawn_pictures(dataset, lambda row: caption_of(row, 300), count, columns, seed)


def mistakes(prediction: Mapping, finder: Finder) -> tuple[set[str], set[str]]:
    """(things that the caption names and no reference does, things that it leaves out)."""
    named = finder.named(prediction["prediction"])
    there = set().union(*map(finder.named, prediction["references"]))
    return named - there, there - named


def nothing_wrong(prediction: Mapping, finder: Finder) -> bool:
    """Whether a caption names what its references name; without terms, whether it is one of them."""
    if finder.patterns:
        return not any(mistakes(prediction, finder))
    return any(same_text(prediction["prediction"], reference) for reference in prediction["references"])


def prediction_card(dataset: VQADataset, prediction: Mapping, finder: Finder) -> Html:
    """One picture with its caption, what it names wrongly or leaves out, and its references."""
    invented, left_out = mistakes(prediction, finder)
    colour = WRONG if invented or left_out else RIGHT if finder.patterns else PLAIN
    lines = [line(Html("<b>{}</b>").format(escape(said(prediction), 300)), colour)]
    if invented:
        lines.append(line(f"✗ not there: {', '.join(sorted(invented))}", WRONG))
    if left_out:
        lines.append(line(f"✗ left out: {', '.join(sorted(left_out))}", WRONG))
    lines += [line(Html("reference: {}").format(text)) for text in _references(prediction, 300)[:3]]
    return card(dataset.image(dataset.index(prediction["id"])), lines)


def _references(prediction: Mapping, longest: int) -> list[Html]:
    """Each marked where a model wrote it."""
    origins = prediction.get("origins") or [None] * len(prediction["references"])
    texts = zip(prediction["references"], origins, strict=True)
    return [caption_of({"caption": text, "origin": origin}, longest) for text, origin in texts]


def worst_first(predictions: Sequence[Mapping], finder: Finder) -> list[Mapping]:
    """Those with most things named wrongly or left out first, without terms those that are none of their references;
    among equals, the least likely caption."""

    def key(prediction: Mapping) -> tuple[int, bool, float]:
        wrong = sum(map(len, mistakes(prediction, finder)))
        return -wrong, nothing_wrong(prediction, finder), prediction.get("score") or 0.0

    return sorted(predictions, key=key)


def gallery(
    dataset: VQADataset, predictions: Sequence[Mapping], terms: Terms, count: int = 12, columns: int = 4
) -> Html:
    """`count` pictures with captions and references, things named wrongly first."""
    finder = Finder(terms)
    return grid([prediction_card(dataset, row, finder) for row in worst_first(predictions, finder)[:count]], columns)


def sample_progress(run, dataset: VQADataset, most: int = 5) -> Html:
    """A run's fixed validation samples, as described before training and after epochs up to the last."""
    facts = {"reference": lambda row: _references(row, 160)[0]}
    return progress_table(run, dataset, facts, lambda row: escape(said(row), 160), most)


def word_maps(caption: Caption, columns: int = 4, side: int = 130) -> Html:
    """A described picture with the notes on it and, for each word of its caption, where the model looked when it wrote
    it."""
    cards = [card(beside_its_map(caption.image, look, side), [line(word)], 2 * side) for word, look in caption.looks]
    notes = join(map(line, caption.notes))
    return Html("<p><b>{}</b></p>{}{}").format(caption.caption, notes, grid(cards, columns))
