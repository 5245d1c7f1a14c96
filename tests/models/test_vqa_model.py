"""BLIP's numbers, against the authors' own code (`tests/reference/blip-tiny`) and against itself."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file
from transformers import BlipForQuestionAnswering

from blipvqa.models import cpu
from blipvqa.models.towers import IMAGE_MEAN, IMAGE_STD, recompute_activations
from blipvqa.models.vqa import BlipForVQA

TINY_VQA = REFERENCE / "blip-tiny"
DEC, ENC, SEP = 209, 210, 3


def pad(rows, value=0):
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), value)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids


@pytest.fixture(scope="module")
def expected():
    return json.loads((TINY_VQA / "expected.json").read_text())


@pytest.fixture(params=["usual", "onednn"])
def model(request, monkeypatch):
    """The tiny model, whose products are too small for oneDNN: once as it is, once with all of them there."""
    if request.param == "onednn":
        monkeypatch.setattr(cpu, "WORTH_IT", 0)
        monkeypatch.setattr(cpu, "ROW_WORTH_IT", 0)
    return BlipForVQA.from_pretrained(TINY_VQA).eval()


@pytest.fixture
def batch(expected):
    questions = pad([[ENC, *q, SEP] for q in expected["questions"]])
    labels = pad([[DEC, *a, SEP] for a in expected["answers"]], -100)
    return {
        "input_ids": questions,
        "attention_mask": (questions != 0).long(),
        "pixel_values": next(iter(load_file(TINY_VQA / "images.safetensors").values())),
        "image_index": torch.tensor(expected["image_index"]),
        "decoder_input_ids": labels.clamp(min=0),
        "labels": labels,
    }


def asked(batch):
    return {k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values", "image_index")}


def test_loss_equals_the_authors(model, batch, expected):
    out = model(**batch)
    assert out.loss.item() == pytest.approx(expected["loss"], abs=1e-4)
    torch.testing.assert_close(out.loss_per_answer, torch.tensor(expected["loss_per_answer"]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("beams", "name"), [(1, "greedy"), (3, "beam3")])
def test_generation_equals_the_authors_in_one_padded_batch(model, batch, expected, beams, name):
    ids = model.generate_answers(**asked(batch), num_beams=beams, max_length=10, min_length=1)
    assert ids.tolist() == expected[name]


@pytest.mark.parametrize("k", [4, 28])
def test_ranking_equals_the_authors(model, batch, expected, k):
    candidates = pad([[DEC, *c, SEP] for c in expected["candidates"]])
    best, logp = model.rank_answers(**asked(batch), candidate_ids=candidates, candidate_mask=candidates != 0, k=k)
    assert best.tolist() == expected[f"rank_k{k}"]
    picked = candidates[best]
    model.text_decoder.label_smoothing = 0.0
    alone = model(**asked(batch), labels=picked.masked_fill(picked == 0, -100)).loss_per_answer
    torch.testing.assert_close(logp, -alone, atol=1e-4, rtol=0)


def test_ranking_breaks_ties_by_order(model, batch):
    """Candidates that share their first token tie in the shortlist: the earlier ones must stay (docs/facts.md 1.15)."""
    candidates = torch.tensor([[DEC, 50, tail, SEP] for tail in range(60, 100)])
    best, _ = model.rank_answers(
        **asked(batch), candidate_ids=candidates, candidate_mask=torch.ones_like(candidates), k=5
    )
    assert best.max() < 5


def test_an_answer_does_not_depend_on_its_batch(model, batch, expected):
    """docs/facts.md 1.4: neither padding nor the other questions leak into a loss or an answer."""
    together = model(**batch).loss_per_answer
    answers = model.generate_answers(**asked(batch), max_length=10, min_length=1).tolist()
    padded = {
        **batch,
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (0, 6)),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 6)),
    }
    torch.testing.assert_close(model(**padded).loss_per_answer, together)
    for q in range(len(together)):
        length = int(batch["attention_mask"][q].sum())
        alone = {
            "input_ids": batch["input_ids"][q : q + 1, :length],
            "attention_mask": None,
            "pixel_values": batch["pixel_values"][batch["image_index"][q]][None],
        }
        assert model.generate_answers(**alone, max_length=10, min_length=1)[0].tolist() == answers[q]
        real = batch["labels"][q : q + 1][batch["labels"][q : q + 1] != -100][None]
        torch.testing.assert_close(model(**alone, labels=real).loss_per_answer[0], together[q])


def test_left_padding_gives_the_same(model, batch):
    flipped = torch.zeros_like(batch["input_ids"])
    for q, (row, mask) in enumerate(zip(batch["input_ids"], batch["attention_mask"], strict=True)):
        flipped[q, -int(mask.sum()) :] = row[mask.bool()]
    left = {**batch, "input_ids": flipped, "attention_mask": (flipped != 0).long()}
    torch.testing.assert_close(model(**left).loss_per_answer, model(**batch).loss_per_answer)


def test_padding_in_labels_costs_nothing(model, batch):
    """docs/facts.md 1.2: more padding changes no loss, with the decoder's input given or left out."""
    wide = torch.nn.functional.pad(batch["labels"], (0, 5), value=-100)
    without = {k: v for k, v in batch.items() if k != "decoder_input_ids"}
    torch.testing.assert_close(model(**{**without, "labels": wide}).loss, model(**batch).loss)


def test_the_decoder_does_not_see_what_follows(model, batch):
    """docs/facts.md 1.13: changing a later answer token leaves earlier logits alone."""
    model.text_decoder.label_smoothing = 0.0
    labels = torch.tensor([[DEC, 5, 6, 7, SEP]] * 8)
    changed = labels.clone()
    changed[:, 3] = 90
    first, second = (model(**asked(batch), labels=x).logits.view(8, 4, -1) for x in (labels, changed))
    torch.testing.assert_close(first[:, :3], second[:, :3])
    assert not torch.allclose(first[:, 3], second[:, 3])


def test_gradients_with_shared_images_equal_the_expanded_batch(model, batch):
    def gradients(**inputs):
        model.zero_grad()
        model(**inputs).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    shared = gradients(**batch)
    expanded = gradients(**{**batch, "pixel_values": batch["pixel_values"][batch["image_index"]], "image_index": None})
    assert shared.keys() == expanded.keys() and len(shared) > 80
    for name, gradient in shared.items():
        torch.testing.assert_close(gradient, expanded[name], atol=1e-5, rtol=1e-4, msg=name)


def test_gradient_checkpointing_changes_no_gradient(model, batch):
    def gradient():
        model.zero_grad()
        model.train()(**batch).loss.backward()
        return model.vision_model.embeddings.patch_embedding.weight.grad.clone()

    plain = gradient()
    recompute_activations(model)
    assert model.vision_model.encoder.gradient_checkpointing and model.text_decoder.bert.encoder.gradient_checkpointing
    torch.testing.assert_close(gradient(), plain)


def test_unordered_image_index(model, batch):
    order = torch.tensor([7, 0, 4, 2, 6, 1, 3, 5])
    shuffled = {k: v if k == "pixel_values" else v[order] for k, v in batch.items()}
    torch.testing.assert_close(model(**shuffled).loss_per_answer, model(**batch).loss_per_answer[order])


def test_uint8_pixels_are_normalized_by_the_model(model, batch):
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    mean, std = torch.tensor(IMAGE_MEAN).view(3, 1, 1), torch.tensor(IMAGE_STD).view(3, 1, 1)
    by_hand = model(**{**batch, "pixel_values": (pixels / 255 - mean) / std}).loss
    torch.testing.assert_close(model(**{**batch, "pixel_values": pixels}).loss, by_hand)


def test_other_image_sizes_get_an_interpolated_position_table(model, batch):
    """docs/facts.md 1.5: not the first rows of the table, which is what transformers takes by default."""
    small = torch.nn.functional.interpolate(batch["pixel_values"], 32)
    from blipvqa.models.towers import image_states

    plain = BlipForQuestionAnswering.from_pretrained(TINY_VQA).eval()
    right = plain.vision_model(small, interpolate_pos_encoding=True).last_hidden_state
    wrong = plain.vision_model(small).last_hidden_state
    ours = image_states(model.vision_model, small)
    torch.testing.assert_close(ours, right, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, wrong, atol=1e-2)


def test_generation_stops_at_sep_and_ignores_the_config_eos(model, batch):
    """The published config's eos is not its [SEP] (docs/facts.md 1.10, 4.3)."""
    model.text_decoder.cls.predictions.bias.data[SEP] += 100
    model.config.text_config.eos_token_id = 2
    for beams in (1, 3):
        assert model.generate_answers(**asked(batch), num_beams=beams).tolist() == [[DEC, SEP]] * 8


def test_same_state_dict_as_transformers(model):
    plain = BlipForQuestionAnswering.from_pretrained(TINY_VQA)
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))


def test_errors_say_what_to_do(model, batch):
    with pytest.raises(ValueError, match="image_index"):
        model(**{**batch, "image_index": None})
    with pytest.raises(ValueError, match="generate_answers"):
        model(**asked(batch))
