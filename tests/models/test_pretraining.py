"""BLIP's pre-training, against the authors' own code (`tests/reference/blip-tiny-pretrain`)."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file

from blipvqa.models.pretraining import BlipForPretraining

TINY = REFERENCE / "blip-tiny-pretrain"
EXPECTED = json.loads((TINY / "expected.json").read_text())
LOSSES = ("loss_ita", "loss_itm", "loss_lm")


def learner():
    """The reference's model before its first step: momentum at 0.9 of the weights, and its queue."""
    model = BlipForPretraining.from_pretrained(TINY).train()
    model.text_decoder.label_smoothing = 0.1
    contrast = model.start_contrast(EXPECTED["queue_size"], EXPECTED["momentum"])
    for copied in contrast.towers.tensors().values():
        copied.mul_(0.9)
    state = load_file(TINY / "state.safetensors")
    contrast.queue.pictures.copy_(state["image_queue"].T)
    contrast.queue.texts.copy_(state["text_queue"].T)
    contrast.queue.next.copy_(state["queue_ptr"][0])
    return model


def batch_of(step):
    """Four pairs over three distinct pictures."""
    return {
        "input_ids": torch.tensor(EXPECTED["input_ids"]),
        "attention_mask": torch.tensor(EXPECTED["attention_mask"]),
        "pixel_values": load_file(TINY / "images.safetensors")["pixel_values"][:3],
        "image_index": torch.tensor(EXPECTED["image_index"]),
        "grown": step["alpha"] / 0.4,
    }


def norm(parameters):
    return torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item()


def test_two_steps_of_the_three_losses_equal_the_authors():
    model = learner()
    for step in EXPECTED["steps"]:
        out = model(**batch_of(step))
        ours = (out.loss_itc, out.loss_itm, out.loss_lm)
        assert [loss.item() for loss in ours] == pytest.approx([step[name] for name in LOSSES], abs=1e-5)
        assert out.loss_per_row.mean().item() == pytest.approx(out.loss.item(), abs=1e-5)
        torch.testing.assert_close(out.itm_logits, torch.tensor(step["itm_logits"]), atol=1e-5, rtol=0)
        queue = model.contrast.queue
        torch.testing.assert_close(queue.pictures.T, torch.tensor(step["image_queue_after"]), atol=1e-5, rtol=0)
        torch.testing.assert_close(queue.texts.T, torch.tensor(step["text_queue_after"]), atol=1e-5, rtol=0)
        assert queue.next.item() == step["pointer_after"]
        model.zero_grad()
        out.loss.backward()
        encoder, decoder = model.text_encoder, model.text_decoder
        shared = {id(p) for p in encoder.parameters()} & {id(p) for p in decoder.parameters()}
        head = {id(p) for p in decoder.cls.parameters()} - shared
        parts = {
            "visual_encoder": model.vision_model.parameters(),
            "vision_proj": model.vision_proj.parameters(),
            "text_proj": model.text_proj.parameters(),
            "itm_head": model.itm_head.parameters(),
            "text_shared": [p for p in encoder.parameters() if id(p) in shared],
            "text_encoder_only": [p for p in encoder.parameters() if id(p) not in shared],
            "text_decoder_only": [p for p in decoder.bert.parameters() if id(p) not in shared],
            "lm_head_only": [p for p in decoder.cls.parameters() if id(p) in head],
        }
        for name, parameters in parts.items():
            assert norm(parameters) == pytest.approx(step["grad_norm"][name], rel=1e-4), name
        assert model.temp.grad.item() == pytest.approx(step["grad_norm"]["temp"], rel=1e-4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= EXPECTED["lr"] * parameter.grad


def test_the_towers_share_what_the_authors_share_and_the_optimizer_sees_it_once():
    model = BlipForPretraining.from_pretrained(TINY)
    encoder, decoder = (dict(part.named_parameters()) for part in (model.text_encoder, model.text_decoder.bert))
    assert [name for name in sorted(encoder) if decoder[name] is encoder[name]] == sorted(EXPECTED["shared"])
    assert [name for name in sorted(encoder) if decoder[name] is not encoder[name]] == sorted(EXPECTED["not_shared"])
    assert model.text_decoder.cls.predictions.decoder.weight is model.text_encoder.embeddings.word_embeddings.weight
    assert len({id(p) for p in model.parameters()}) == len(list(model.parameters()))


def test_an_export_comes_back_equal(tmp_path):
    model = BlipForPretraining.from_pretrained(TINY)
    model.save_pretrained(tmp_path)
    again, notes = BlipForPretraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values())
    torch.testing.assert_close(dict(again.state_dict()), dict(model.state_dict()))
    assert again.text_decoder.bert.embeddings is again.text_encoder.embeddings
