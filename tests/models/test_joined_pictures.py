"""Several pictures in one row of the model: what one gave before, and what joins several."""

import pytest
import torch

from blipvqa import load_model, load_splits, save_model
from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.config.knobs import ConfigError
from blipvqa.models.towers import Grid, Memory, text_states
from blipvqa.vqa.batches import collator_for


@pytest.fixture
def parts(tiny):
    config = tiny()
    splits = load_splits(config)
    model, processor = load_model("scratch", config)
    batch = collator_for(processor, config)(splits["train"].__getitems__([0, 1, 9, 17, 30]))
    return model, processor, batch


def losses(model, batch, index, rows=slice(None)):
    texts = ("input_ids", "attention_mask", "decoder_input_ids", "labels")
    return model(
        **{name: batch[name][rows] for name in texts}, pixel_values=batch["pixel_values"], image_index=index
    ).loss_per_answer


def test_one_picture_gives_what_it_gave_bit_for_bit(parts, tiny):
    model, _, batch = parts
    plain = losses(model, batch, batch["image_index"])
    assert torch.equal(losses(model, batch, batch["image_index"][:, None]), plain)
    placed, _ = load_model("scratch", tiny(model__picture_places=True))
    assert torch.equal(losses(placed, batch, batch["image_index"]), plain)


def test_a_row_depends_neither_on_its_batch_nor_on_places_that_it_does_not_fill(parts):
    model, _, batch = parts
    index = torch.tensor([[0, 1, -1], [1, -1, -1], [2, 0, 1], [-1, 2, 0], [1, 1, -1]])[: len(batch["input_ids"])]
    together = losses(model, batch, index)
    for row, of_row in enumerate(index):
        alone = losses(model, batch, of_row[of_row >= 0][None], slice(row, row + 1))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=2e-6)


def test_joined_states_are_those_of_one_long_picture(parts):
    """Cross-attention over two pictures is that over their tokens one after the other."""
    model, _, batch = parts
    states = model.picture_states(batch["pixel_values"])
    ids, mask = batch["input_ids"][:1], batch["attention_mask"][:1]
    joined = model.encode_questions(ids, mask, states, torch.tensor([[1, 0]])).states
    grid = Grid.of_mask(mask)
    long = Memory(torch.cat([states[1], states[0]])[None], grid)
    torch.testing.assert_close(joined, text_states(model.text_encoder, ids[mask.bool()], grid, long), rtol=0, atol=1e-6)
    reversed_order = model.encode_questions(ids, mask, states, torch.tensor([[0, 1]])).states
    torch.testing.assert_close(joined, reversed_order, rtol=0, atol=1e-5)  # a heap of patches has no order


def test_a_picture_is_encoded_once_however_many_rows_name_it(parts, monkeypatch):
    model, _, batch = parts
    seen = []
    monkeypatch.setattr(
        model, "encode_pixels", lambda tower, x, encode=model.encode_pixels: seen.append(len(x)) or encode(tower, x)
    )
    losses(model, batch, torch.tensor([[0, 1], [1, 0], [2, 1], [0, 2], [1, 2]])[: len(batch["input_ids"])])
    assert seen == [len(batch["pixel_values"])]


def test_places_begin_as_nothing_are_learnt_exported_and_read_again(parts, tiny, root):
    model, processor, batch = parts
    index = torch.tensor([[0, 1], [1, 0], [2, -1], [0, 2], [1, 2]])[: len(batch["input_ids"])]
    plain = losses(model, batch, index)
    start = str(save_model(model, processor, root / "start"))
    placed, _ = load_model(start, tiny(model__name=start, model__picture_places=True))
    assert placed.picture_places.shape == (MOST_PICTURES, 32)
    torch.testing.assert_close(losses(placed, batch, index), plain, rtol=0, atol=2e-6)
    losses(placed, batch, index).sum().backward()
    assert (placed.picture_places.grad[:2].abs().sum(1) > 0).all() and not placed.picture_places.grad[2:].any()
    with torch.no_grad():
        placed.picture_places.normal_()
    swapped = losses(placed, batch, index.where(index < 0, index.flip(1)))
    other = losses(placed, batch, index)
    assert (swapped - other).abs()[[0, 1, 3]].min() > 1e-4
    torch.testing.assert_close(other[2], plain[2], rtol=0, atol=2e-6)  # alone, a picture has no place
    folder = str(save_model(placed, processor, root / "placed"))
    for again in (load_model(folder)[0], load_model(folder, tiny(model__name=folder))[0]):
        torch.testing.assert_close(losses(again, batch, index), other, rtol=0, atol=0)


def test_places_are_of_questions_and_of_models_that_are_trained_whole(tiny):
    for settings in ({"task": "caption"}, {"model__lora": {"rank": 4}}):
        with pytest.raises(ConfigError, match="picture_places is of task: vqa, without"):
            tiny(model__picture_places=True, **settings)
