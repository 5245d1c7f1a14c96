"""Pictures with an equal text, and several texts of one picture: what counts as right, and what can be drawn as wrong."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file

from blipvqa.models.contrast import belong_together, draw_negatives, exponential_noise, negative_weights
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.models.retriever import BlipForRetrieval

FOLDERS = {BlipForRetrieval: REFERENCE / "blip-tiny-retrieval", BlipForPretraining: REFERENCE / "blip-tiny-pretrain"}


def model_of(kind=BlipForRetrieval):
    return kind.from_pretrained(FOLDERS[kind]).eval()


def doubles(images=(1, 1, 2, 3), texts=(10, 11, 10, 12)):
    """The texts of the reference's first batch, as four pairs of other pictures and with other ids."""
    folder = FOLDERS[BlipForRetrieval]
    step = json.loads((folder / "expected.json").read_text())["steps"][0]
    distinct = list(dict.fromkeys(images))
    return {
        "input_ids": torch.tensor(step["input_ids"]),
        "attention_mask": torch.tensor(step["attention_mask"]),
        "pixel_values": load_file(folder / "images.safetensors")["pixel_values"][: len(distinct)],
        "image_index": torch.tensor([distinct.index(i) for i in images]),
        "image_ids": torch.tensor(images),
        "text_ids": torch.tensor(texts),
    }


def partners_of(model, batch, monkeypatch, seeds):
    """The pairs whose picture each text got and whose text each picture got, [seeds, 4] each."""
    drawn, exchanged = [], model._exchanged
    monkeypatch.setattr(model, "_exchanged", lambda *arguments: drawn.append(exchanged(*arguments)) or drawn[-1])
    for seed in seeds:
        model(**batch | {"seed": seed})
    return (torch.stack(of_all) for of_all in zip(*drawn, strict=True))


@pytest.mark.parametrize("kind", [BlipForRetrieval, BlipForPretraining])
def test_no_text_of_the_same_picture_nor_one_equal_to_it_is_ever_a_negative(kind, monkeypatch):
    """Of pictures 1, 1, 2, 3 with texts 10, 11, 10, 12: text 10 is right for 1 and 2, and so is text 11 for 1 only."""
    image_of, text_of = partners_of(model_of(kind), doubles(), monkeypatch, range(40))
    assert [set(column.tolist()) for column in image_of.T] == [{3}, {2, 3}, {3}, {0, 1, 2}]
    assert [set(column.tolist()) for column in text_of.T] == [{3}, {3}, {1, 3}, {0, 1, 2}]


def test_equal_texts_count_as_right_in_both_directions_in_the_batch_and_in_the_queue():
    ids = torch.tensor([[1, 10], [1, 11], [2, 10], [3, 12]])
    of_all = torch.cat([ids, torch.tensor([[2, 13], [4, 11], [-100, -100]])])
    images, texts = of_all.T
    right_texts, right_pictures = belong_together(ids[:, 0], images, texts), belong_together(ids[:, 1], texts, images)
    pairs = {tuple(pair) for pair in of_all.tolist()}
    for row, (image, text) in enumerate(ids.tolist()):
        assert right_texts[row].tolist() == [(image, other) in pairs for other in texts.tolist()]
        assert right_pictures[row].tolist() == [(other, text) in pairs for other in images.tolist()]


def test_a_loss_with_equal_texts_as_negatives_would_be_another():
    """Those who say the same of two pictures cost less than as strangers, whether in the batch or from the queue."""
    model = model_of()
    with torch.no_grad():
        together, apart = model(**doubles()), model(**doubles(texts=(10, 11, 13, 12)))
    assert together.loss_itc != apart.loss_itc and together.loss_itc.isfinite()


def test_a_row_of_which_nothing_can_be_exchanged_trains_similarity_alone():
    """One text of all pictures; then one that both pictures have, beside one of its own for each."""
    model = model_of()
    out = model(**doubles(images=(1, 2, 3, 4), texts=(10, 10, 10, 10)))
    assert out.loss_itm == 0 and out.loss_itc.isfinite()
    out = model(**doubles(images=(1, 1, 2, 2), texts=(10, 11, 10, 12)))
    matching = out.loss_per_row - out.itc_per_row
    assert (matching[[0, 2]] == 0).all() and (matching[[1, 3]] > 0).all()


def test_a_negative_is_never_an_excluded_one_though_the_temperature_leaves_it_no_weight():
    similarities = torch.tensor([[1.0, 0.2, 0.1]]) / 0.001  # all others have a probability of 0 in float
    excluded = torch.tensor([[True, False, False]])
    for seed in (None, *range(20)):
        noise = exponential_noise((1, 3), seed, torch.device("cpu"))
        assert draw_negatives(negative_weights(similarities, excluded), noise).item() in (1, 2)
