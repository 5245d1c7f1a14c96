"""Pictures and texts that found each other: samples of the data, searches both ways, and where a pair looked.

Right and wrong are told apart by colour and sign. Searches that find nothing right first come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import VQADataset
from blipvqa.pages.gallery import RIGHT, WRONG, caption_of, card, drawn_pictures, grid, line, mark_of, progress_table
from blipvqa.pages.html import Html, escape, join
from blipvqa.pages.maps import beside_its_map
from blipvqa.pages.wording import NOTHING, share
from blipvqa.retrieval.matching import Match
from blipvqa.retrieval.search import Hit

LONGEST = 200  # characters of a text that a card shows
SAID = ("caption", "question", "answer")  # of a picture that a search brought up


def sample_grid(dataset: VQADataset, count: int = 8, columns: int = 4, seed: int = 0) -> Html:
    """`count` images of a split, drawn from `seed`, each with its first four texts."""
    return drawn_pictures(dataset, lambda row: caption_of(row, 300), count, columns, seed)


def worst_and_best(predictions: Sequence[Mapping], direction: str, count: int) -> list[Mapping]:
    """Half of `count` rows whose search found no right one first, the worst first, then half that did, the least sure
    first; of one kind as many as there are of the other too few."""
    rows = [row for row in predictions if row.get(direction)]
    wrong = sorted((row for row in rows if row[direction]["rank"] > 1), key=lambda row: -row[direction]["rank"])
    right = sorted((row for row in rows if row[direction]["rank"] == 1), key=lambda row: _first(row[direction]))
    of_wrong = min(len(wrong), max(count // 2, count - len(right)))
    return wrong[:of_wrong] + right[: count - of_wrong]


def _first(search: Mapping) -> float:
    return search["nearest"][0]["score"] or 0.0


def pictures_by_text(
    dataset: VQADataset, predictions: Sequence[Mapping], count: int = 6, most: int = 5, side: int = 130
) -> Html:
    """For `count` texts the nearest pictures of the gallery, the right ones marked."""
    return join(text_search(dataset, row, most, side) for row in worst_and_best(predictions, "img", count))


def text_search(dataset: VQADataset, prediction: Mapping, most: int = 5, side: int = 130) -> Html:
    """One text with the nearest pictures."""
    search = prediction["img"]
    cards = [
        card(
            dataset.image(dataset.index(near["id"])),
            [line(_mark(near["right"], _sure(near)), RIGHT if near["right"] else WRONG)],
            side,
        )
        for near in search["nearest"][:most]
    ]
    colour = RIGHT if search["rank"] == 1 else WRONG
    text = Html("<b>{}</b><br>{}").format(caption_of(prediction, LONGEST), _place(search))
    return Html("<div style='margin:14px 0'>{}{}</div>").format(line(text, colour), grid(cards, most))


def texts_by_picture(
    dataset: VQADataset, predictions: Sequence[Mapping], count: int = 6, columns: int = 3, most: int = 5
) -> Html:
    """For `count` pictures the nearest texts of the gallery, the right ones marked."""
    rows = worst_and_best(predictions, "txt", count)
    return grid([picture_search(dataset, row, most) for row in rows], columns)


def picture_search(dataset: VQADataset, prediction: Mapping, most: int = 5) -> Html:
    """One picture with its own text and the nearest texts."""
    search = prediction["txt"]
    lines = [line(Html("its own: {}<br>{}").format(caption_of(prediction, LONGEST), _place(search)))]
    for near in search["nearest"][:most]:
        text = caption_of(dataset.rows[dataset.index(near["id"])], LONGEST)
        colour = RIGHT if near["right"] else WRONG
        lines.append(line(_mark(near["right"], Html("{} · {}").format(text, _sure(near))), colour))
    return card(dataset.image(dataset.index(prediction["id"])), lines)


def _mark(right: bool, text: Html | str) -> Html:
    return Html("{} {}").format("✓" if right else "✗", text)


def _sure(near: Mapping) -> str:
    """How sure: ITM's probability, or the cosine where nothing was matched."""
    if near["match"] is not None:
        return f"match {share(near['match'])}"
    return f"cosine {near['score']:.2f}" if near["score"] is not None else NOTHING


def _place(search: Mapping) -> str:
    return f"the first right one is number {search['rank']:,}" + (
        f", by cosine alone {search['itc_rank']:,}" if search["itc_rank"] != search["rank"] else ""
    )


def hits(query: str, results: Sequence[Hit], columns: int = 5, side: int = 150) -> Html:
    """What a search of one's own brought up, the best first: pictures with their names and texts, or texts."""
    head = Html("<p><b>{}</b></p>").format(escape(query, LONGEST))
    if any(hit.image is None for hit in results):
        return head + join(
            line(Html("{} <b>{}</b>{}").format(_sure_of(hit), escape(hit.name, LONGEST), mark_of(hit.rows)))
            for hit in results
        )
    cards = []
    for hit in results:
        said = [
            caption_of({**row, "caption": row[key]}, LONGEST) for row in hit.rows[:2] for key in SAID if row.get(key)
        ]
        cards.append(card(hit.image(), [line(f"{hit.name} · {_sure_of(hit)}"), *map(line, said)], side))
    return head + grid(cards, columns)


def _sure_of(hit: Hit) -> str:
    return f"cosine {hit.score:.2f}" if hit.match is None else f"match {share(hit.match)}"


def sample_progress(run, dataset: VQADataset, most: int = 5) -> Html:
    """A run's fixed validation samples: the place of the right picture before training and after epochs."""
    facts = {"text": lambda row: caption_of(row, 160)}
    return progress_table(run, dataset, facts, _said, most)


def _said(row: Mapping) -> Html:
    return Html("picture number {}").format(row["img"]["rank"])


def pair_maps(match: Match, columns: int = 4, side: int = 130) -> Html:
    """A picture with, for each word of a text, where the model looked when it judged whether they belong together."""
    cards = [card(beside_its_map(match.image, look, side), [line(word)], 2 * side) for word, look in match.looks]
    head = Html("<p><b>{}</b> match {}, cosine {}</p>").format(match.text, share(match.match), f"{match.cosine:.2f}")
    return head + join(line(note) for note in match.notes) + grid(cards, columns)
