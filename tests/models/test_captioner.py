"""BLIP's captions, against the authors' own code (`tests/reference/blip-tiny-caption`) and against plain transformers."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file
from transformers import BlipForConditionalGeneration

from blipvqa import load_model, save_model
from blipvqa.models import cpu
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.decoding import Rules
from blipvqa.models.folders import ModelError
from blipvqa.models.sampling import drawn_by, nucleus
from blipvqa.models.vqa import BlipForVQA

TINY = REFERENCE / "blip-tiny-caption"
DEC, ENC, SEP = 209, 210, 3
EXPECTED = json.loads((TINY / "expected.json").read_text())
PROMPT = EXPECTED["prompt"]


@pytest.fixture(params=["usual", "onednn"])
def model(request, monkeypatch):
    """The tiny model, whose products are too small for oneDNN: once as it is, once with all of them there."""
    if request.param == "onednn":
        monkeypatch.setattr(cpu, "WORTH_IT", 0)
        monkeypatch.setattr(cpu, "ROW_WORTH_IT", 0)
    model = BlipForCaptioning.from_pretrained(TINY).eval()
    model.text_decoder.label_smoothing = 0.1
    return model


@pytest.fixture
def pictures():
    return next(iter(load_file(TINY / "images.safetensors").values()))


@pytest.fixture
def batch(pictures):
    """Six captions of three pictures, padded."""
    return {
        "input_ids": torch.tensor(EXPECTED["input_ids"]),
        "attention_mask": torch.tensor(EXPECTED["attention_mask"]),
        "pixel_values": pictures,
        "image_index": torch.tensor(EXPECTED["image_index"]),
        "labels": torch.tensor(EXPECTED["labels"]),
    }


def test_losses_equal_the_authors_per_token_per_caption_and_in_the_mean(model, batch):
    out = model(**batch)
    assert out.loss.item() == pytest.approx(EXPECTED["loss"], abs=1e-5)
    sums = torch.tensor(EXPECTED["loss_sum_per_caption"])
    torch.testing.assert_close(out.loss_per_caption, sums, atol=5e-5, rtol=0)  # of up to 13 tokens
    labels = batch["labels"][batch["labels"] != -100]
    per_token = torch.nn.functional.cross_entropy(out.logits, labels, reduction="none", label_smoothing=0.1)
    expected = torch.tensor([loss for caption in EXPECTED["loss_per_token"] for loss in caption])
    torch.testing.assert_close(per_token, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.logits[-13:-10], torch.tensor(EXPECTED["logits_last_row"]), atol=1e-5, rtol=0)


def test_without_smoothing_and_with_the_prompt_counted_the_losses_are_the_authors_too(model, batch):
    images = model.picture_states(batch["pixel_values"])
    ids, real = batch["input_ids"], batch["attention_mask"].bool()
    plain, logits = model.caption_losses(images, ids, real, batch["labels"], batch["image_index"], smoothing=0.0)
    assert plain.sum().item() / len(logits) == pytest.approx(EXPECTED["loss_without_smoothing"], abs=1e-5)
    everything = ids.masked_fill(~real, -100)
    assert model(**batch | {"labels": everything}).loss.item() == pytest.approx(
        EXPECTED["loss_prompt_counted"], abs=1e-5
    )


def test_gradient_norms_equal_the_authors(model, batch):
    model.train()
    model(**batch).loss.backward()
    norms = {
        ours: torch.stack([p.grad.norm() for p in tower.parameters() if p.grad is not None]).norm().item()
        for ours, tower in (("visual_encoder", model.vision_model), ("text_decoder", model.text_decoder))
    }
    assert norms == pytest.approx(EXPECTED["grad_norm"], rel=1e-5)


def test_whatever_stands_first_is_read_as_dec_and_the_callers_ids_stay_as_they_are(model, batch):
    other = batch["input_ids"].clone()
    other[:, 0] = ENC
    before = other.clone()
    assert model(**batch | {"input_ids": other}).loss.item() == pytest.approx(EXPECTED["loss"], abs=1e-5)
    model.generate(batch["pixel_values"], torch.tensor([[ENC, *PROMPT, SEP]] * 3))
    assert torch.equal(other, before)


@pytest.mark.parametrize("search", EXPECTED["generate"], ids=lambda search: search["name"])
def test_captions_equal_the_authors_together_and_one_by_one(model, pictures, search):
    settings = {key: search[key] for key in ("num_beams", "max_length", "min_length", "repetition_penalty")}
    expected = [[*row, *[0] * (settings["max_length"] - len(row))] for row in search["sequences"]]

    def written(pixels):
        ids = model.generate_captions(pixels, PROMPT, **settings).tolist()
        return [[*row, *[0] * (settings["max_length"] - len(row))] for row in ids]

    assert written(pictures) == expected
    assert [written(picture[None])[0] for picture in pictures] == expected
    assert written(pictures[[2, 0, 2, 1, 1, 2]]) == [expected[i] for i in (2, 0, 2, 1, 1, 2)]


@pytest.mark.parametrize(
    "step", EXPECTED["nucleus"]["steps"], ids=lambda step: f"{step['image']}-{len(step['prefix'])}"
)
def test_the_nucleus_is_the_authors(step):
    settings = EXPECTED["nucleus"]
    rules = Rules(settings["max_length"], settings["min_length"], settings["repetition_penalty"], SEP, 0)
    scores = rules.apply(torch.tensor([step["logits"]]), torch.tensor([step["prefix"]]))
    probabilities = nucleus(scores, settings["top_k"], settings["top_p"])[0]
    assert probabilities.nonzero().flatten().tolist() == step["authors_kept"]
    for token, probability in step["authors_probabilities"].items():
        assert probabilities[int(token)].item() == pytest.approx(probability, abs=1e-5)
    alone = nucleus(scores, None, settings["top_p"])[0]
    assert alone.nonzero().flatten().tolist() == step["top_p_only_kept"]


def test_tokens_are_drawn_as_often_as_the_nucleus_says():
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(4000, 1)
    tokens = drawn_by(range(4000), None, 0.95)(scores, list(range(4000)))
    share = torch.bincount(tokens, minlength=4) / 4000
    torch.testing.assert_close(share, nucleus(scores, None, 0.95)[0], atol=0.03, rtol=0)
    assert share[3] == 0


def test_a_drawn_caption_depends_on_its_seed_and_not_on_its_batch(model, pictures):
    def drawn(pixels, seeds):
        ids = model.generate_captions(pixels, PROMPT, seeds=seeds, repetition_penalty=1.1)
        return [[token for token in row if token] for row in ids.tolist()]

    together = drawn(pictures, [5, 6, 7])
    assert together == [drawn(pictures[i : i + 1], [5 + i])[0] for i in range(3)]
    assert together != drawn(pictures, [8, 9, 10])


@pytest.mark.parametrize("likelier_end", [0.0, 2.0, 4.0])
@pytest.mark.parametrize(("beams", "longest", "shortest"), [(3, 20, 5), (2, 9, 1), (5, 14, 8)])
def test_the_librarys_beams_are_there_by_name(model, pictures, beams, longest, shortest, likelier_end):
    """Equal to transformers' `generate`, whether beams end early, late or never."""
    settings = {"num_beams": beams, "max_length": longest, "min_length": shortest}
    plain = BlipForConditionalGeneration.from_pretrained(TINY).eval()
    for each in (plain, model):
        each.text_decoder.cls.predictions.bias.data[SEP] += likelier_end
    expected = plain.generate(pictures, torch.tensor([[DEC, *PROMPT, SEP]] * 3), **settings)
    expected = [[*row[: row.index(SEP) + 1]] if SEP in row else row for row in expected.tolist()]
    ours = model.generate_captions(pictures, PROMPT, rule="library", **settings)
    assert [[token for token in row if token] for row in ours.tolist()] == [
        [token for token in row if token]
        for row in expected  # a random model writes [PAD] too
    ]


def test_an_export_gives_the_same_loss_in_plain_transformers(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    plain, notes = BlipForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values())
    plain.text_decoder.label_smoothing = 0.1
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}
    out = plain.eval()(pixel_values=batch["pixel_values"][batch["image_index"]], **inputs)
    assert out.loss.item() == pytest.approx(EXPECTED["loss"], abs=1e-5)


def test_word_maps_are_probabilities_over_the_picture(model, batch):
    images = model.picture_states(batch["pixel_values"])[batch["image_index"]]
    maps = model.word_maps(images, batch["input_ids"], batch["attention_mask"].bool())
    assert len(maps) == model.config.text_config.num_hidden_layers
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        sums = maps[-1][row, :, :length].sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_prompt_that_leaves_no_room_is_refused(model, pictures):
    with pytest.raises(ValueError, match="max_length 4 leaves no room"):
        model.generate_captions(pictures, PROMPT, max_length=4)
    with pytest.raises(ValueError, match="one prompt for all images"):
        model.generate(pictures, torch.tensor([[DEC, 11], [DEC, 12], [DEC, 11]]))


def test_the_class_follows_the_configs_task_or_what_the_folder_says_it_is(tiny, root):
    captions, questions = tiny(task="caption"), tiny()
    assert type(load_model("scratch", questions, texts=["is it dense?", "yes"])[0]) is BlipForVQA
    save_model(*load_model("scratch", captions, texts=["dense tissue"]), root / "exported")
    folder = str(root / "exported")
    assert type(load_model(folder)[0]) is BlipForCaptioning
    assert type(load_model(folder, captions)[0]) is BlipForCaptioning
    with pytest.raises(ModelError, match="not those of BLIP for question answering"):
        load_model(folder, questions)
    _, notes = BlipForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(notes.values())


def test_a_captioner_from_scratch_knows_the_words_of_its_prompt(tiny):
    _, processor = load_model("scratch", tiny(task="caption", caption__prompt="quiz of "), texts=["dense tissue"])
    assert processor.tokenizer.unk_token_id not in processor.tokenizer("quiz of").input_ids
