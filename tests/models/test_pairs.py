"""BLIP's model of two pictures and a statement, against the authors' own code (`tests/reference/blip-tiny-nlvr`)."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file

from blipvqa import load_model, save_model
from blipvqa.models.folders import ModelError
from blipvqa.models.pairs import BlipForPairs

FOLDER = REFERENCE / "blip-tiny-nlvr"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
PAIRS = torch.tensor(EXPECTED["pairs"])


@pytest.fixture(scope="module")
def model():
    return BlipForPairs.from_pretrained(FOLDER).eval()


def batch(**other):
    pictures = load_file(FOLDER / "images.safetensors")["pixel_values"]
    texts = {name: torch.tensor(EXPECTED[name]) for name in ("input_ids", "attention_mask")}
    return {**texts, "pixel_values": pictures, "image_index": PAIRS, **other}


def close(ours, expected, atol=1e-5):
    torch.testing.assert_close(ours, torch.as_tensor(expected), atol=atol, rtol=0)


def test_logits_loss_and_gradients_equal_the_authors(model):
    out = model(**batch(labels=torch.tensor(EXPECTED["targets"])))
    close(out.logits, EXPECTED["logits"])
    close(out.loss.detach(), EXPECTED["loss"])
    assert out.loss_per_row.mean().item() == pytest.approx(out.loss.item())
    model.zero_grad()
    out.loss.backward()
    parts = {"visual_encoder": "vision_model.", "text_encoder": "text_encoder.", "cls_head": "cls_head."}
    parts |= {"merge_layers": "merge_layer", "self0": "self0", "self1": "self1"}
    for theirs, part in parts.items():
        norms = [p.grad.norm() for name, p in model.named_parameters() if part in name]
        assert torch.stack(norms).norm().item() == pytest.approx(EXPECTED["grad_norm"][theirs], rel=1e-5)


def test_exchanged_pictures_give_the_authors_other_logits_and_one_picture_twice_the_same(model):
    close(model(**batch(image_index=PAIRS.flip(1))).logits, EXPECTED["logits_images_swapped"])
    assert EXPECTED["logits"][4] == EXPECTED["logits_images_swapped"][4]  # of one picture twice
    assert EXPECTED["logits"][0] != EXPECTED["logits_images_swapped"][0]


def test_neither_the_rest_of_the_batch_nor_padding_counts(model):
    whole = batch()
    wide = {name: torch.nn.functional.pad(whole[name], (0, 3)) for name in ("input_ids", "attention_mask")}
    close(model(**whole | wide).logits, EXPECTED["logits"])
    for row, pair in enumerate(EXPECTED["pairs"]):
        alone = {name: whole[name][row : row + 1] for name in ("input_ids", "attention_mask")}
        pictures = {"pixel_values": whole["pixel_values"][pair], "image_index": torch.tensor([[0, 1]])}
        close(model(**alone | pictures).logits[0], EXPECTED["logits"][row])


@pytest.mark.parametrize("task", ["vqa", "retrieval", "pretrain"])
def test_it_begins_as_another_model_with_its_cross_attention_on_both_sides(tiny, root, task):
    start, processor = load_model("scratch", tiny(task=task), texts=["both show a gland", "more nuclei"])
    pairs = BlipForPairs.begun_from(start, seed=3)
    theirs, ours = start.state_dict(), pairs.state_dict()
    for name, weight in theirs.items():
        if name.startswith("text_encoder.") and "crossattention" in name:
            sides = [name.replace(".self.", f".self{side}.").replace(".dense.", f".dense{side}.") for side in "01"]
            assert all(torch.equal(ours[side], weight) for side in sides)
        elif name.startswith(("vision_model.", "text_encoder.")):
            assert torch.equal(ours[name], weight)
    assert torch.equal(BlipForPairs.begun_from(start, seed=3).cls_head[0].weight, pairs.cls_head[0].weight)
    save_model(pairs, processor, root / "pairs")
    again, _ = load_model(str(root / "pairs"))
    assert type(again) is BlipForPairs
    torch.testing.assert_close(again.state_dict(), ours, rtol=0, atol=0)
    with pytest.raises(ModelError, match="question answering"):
        load_model(str(root / "pairs"), tiny())


def test_a_captioner_which_reads_no_text_beside_a_picture_is_no_start(tiny):
    captioner, _ = load_model("scratch", tiny(task="caption"), texts=["a gland"])
    with pytest.raises(ModelError, match="begin as a model for questions"):
        BlipForPairs.begun_from(captioner)


def test_merging_layers_of_a_deep_model_are_exported(model, root):
    names = [name for name in model.state_dict() if "merge_layer" in name]
    assert names == [f"text_encoder.encoder.layer.6.crossattention.output.merge_layer.{w}" for w in ("weight", "bias")]
    model.save_pretrained(root / "deep")
    again, notes = BlipForPairs.from_pretrained(root / "deep", output_loading_info=True)
    assert not any(notes.values())
    close(again.eval()(**batch()).logits, EXPECTED["logits"])
