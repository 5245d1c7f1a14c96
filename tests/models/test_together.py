"""A start that is put together of other models' folders, and what a start says of itself."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, ViTConfig, ViTForImageClassification

from blipvqa import Config, fine_tune, load_model, save_model
from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import load_config
from blipvqa.models.classes import class_of
from blipvqa.models.folders import ModelError
from blipvqa.models.scratch import new_model
from blipvqa.models.weights import weights_digest

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]


@pytest.fixture
def vit(root):
    torch.manual_seed(1)
    model = ViTForImageClassification(ViTConfig(**SIZES, image_size=32, patch_size=8, initializer_range=0.2)).eval()
    model.save_pretrained(root / "vit")
    return model.vit


@pytest.fixture
def bert(root):
    torch.manual_seed(2)
    model = BertForMaskedLM(BertConfig(**SIZES, vocab_size=len(WORDS), initializer_range=0.2)).eval()
    model.bert.embeddings.token_type_embeddings.weight.data.zero_()  # BLIP has none
    model.save_pretrained(root / "bert")
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(root / "bert")
    return model


def settings(task="pretrain", **parts):
    return load_config(
        None,
        {
            "task": task,
            "model": {"name": {"vision": "vit", "encoder": "bert", "decoder": "bert"} | parts, "image_size": 32},
        },
    )


def blip(root, name, task, texts=("a b c d e f g h i j",)):
    """A folder of one of our own models, random but for its seed."""
    config = load_config(
        None,
        {
            "task": task,
            "seed": len(name),
            "caption": {"prompt": ""},
            "model": {"name": "scratch", "image_size": 32, "scratch": {"hidden_size": 32, "layers": 1, "heads": 2}},
        },
    )
    model, processor = new_model(class_of(task), config, texts)
    save_model(model, processor, root / name)
    return model


def test_a_vit_and_a_bert_compute_in_it_what_they_computed_alone(vit, bert):
    model, processor = load_model(settings().model.name, settings())
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = model.vision_model(pixels).last_hidden_state
        torch.testing.assert_close(ours, vit(pixels).last_hidden_state, atol=1e-5, rtol=1e-5)
    assert processor.tokenizer.tokenize("a b") == ["a", "b"]
    ids, mask = torch.tensor([[2, 5, 6, 3], [2, 9, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        theirs = bert.bert(ids, mask).last_hidden_state
        ours = model.text_encoder(input_ids=ids, attention_mask=mask, return_dict=True, is_decoder=False)[0]
        torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            model.text_decoder.cls.predictions(theirs)[..., : len(WORDS)], bert.cls(theirs), atol=1e-5, rtol=1e-5
        )
    own = model.text_decoder.bert.encoder.layer[1].attention.self.query.weight
    assert torch.equal(own, bert.bert.encoder.layer[1].attention.self.query.weight)
    assert own is not model.text_encoder.encoder.layer[1].attention.self.query.weight


def test_it_says_which_weights_are_new_and_draws_them_from_the_seed(vit, bert):
    model, _ = load_model(settings().model.name, settings())
    lines = "\n".join(model.start)
    assert "vision_model: 30 of 30 weights from model 'vit'" in lines
    assert "1 of 56 weights from model 'bert' but for [DEC] and [ENC], which are new; 35 of 56" in lines
    assert "35 of 56 weights from model 'bert'; new: 20 (encoder.layer.*.crossattention)" in lines
    assert "itm_head: new: 2" in lines
    again, _ = load_model(settings().model.name, settings())
    assert weights_digest(again) == weights_digest(model)
    other, _ = load_model(settings().model.name, settings().model_copy(update={"seed": 5}))
    assert weights_digest(other) != weights_digest(model)


def test_momentum_begins_as_a_copy(vit, bert):
    model, _ = load_model(settings().model.name, settings())
    contrast = model.start_contrast(8, 0.9)
    online = dict(model.named_parameters())
    copies = contrast.towers.tensors()
    assert copies and all(torch.equal(copied, online[name]) for name, copied in copies.items())


def test_each_part_of_published_models_comes_from_where_it_is_named(root):
    blip(root, "itm", "retrieval"), blip(root, "captions", "caption"), blip(root, "answers", "vqa")
    read = {name: load_file(root / name / "model.safetensors") for name in ("itm", "captions", "answers")}
    config = settings(vision="answers", encoder="itm", decoder="captions")
    model, _ = load_model(config.model.name, config)
    state = model.state_dict()
    vision, projection = "vision_model.post_layernorm.weight", "vision_proj.weight"
    layer = "bert.encoder.layer.0"
    assert all(
        torch.equal(state[name], read["answers"][name]) for name in read["answers"] if name.startswith("vision_model.")
    )
    assert all(torch.equal(state[name], x) for name, x in read["itm"].items() if not name.startswith("vision_model."))
    own = f"text_decoder.{layer}.attention.self.query.weight"
    assert torch.equal(state[own], read["captions"][own])
    shared = f"text_decoder.{layer}.crossattention.self.query.weight"
    assert not torch.equal(state[shared], read["captions"][shared])
    assert torch.equal(state[shared], state["text_encoder.encoder.layer.0.crossattention.self.query.weight"])
    assert not any("new" in line for line in model.start) and vision in state and projection in state


@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval"])
def test_a_pretrained_model_begins_every_task_and_says_so(root, task):
    pretrained = blip(root, "pretrained", "pretrain").state_dict()
    config = load_config(None, {"task": task, "model": {"name": "pretrained", "image_size": 32}})
    model, _ = load_model("pretrained", config)
    assert model.start and not any("new" in line for line in model.start)
    assert all(torch.equal(x, pretrained[name]) for name, x in model.state_dict().items() if name in pretrained)
    dropped = "itm_head" if task != "retrieval" else "text_decoder"
    assert model.start[-1].startswith("not taken: ") and dropped in model.start[-1]


def test_a_model_of_its_own_task_says_nothing(root):
    blip(root, "answers", "vqa")
    assert load_model("answers")[0].start == []


def test_old_names_of_bert_and_a_bert_without_head_are_read(vit, bert, root):
    path = root / "bert" / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
        for name, x in load_file(path).items()
    }
    expected = load_model(settings().model.name, settings())[0].state_dict()
    save_file(old, path, metadata={"format": "pt"})
    assert all(
        torch.equal(x, expected[n]) for n, x in load_model(settings().model.name, settings())[0].state_dict().items()
    )
    headless = {name: x for name, x in old.items() if not name.startswith("cls.")}
    save_file(headless, path, metadata={"format": "pt"})
    assert "new: 25 (bert.encoder.layer.*.crossattention, cls.predictions" in "\n".join(
        load_model(settings().model.name, settings())[0].start
    )


def change(root, **keys):
    path = root / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: change(root / "vit", model_type="clip"), "model.name.vision.*expected blip or vit"),
        (lambda root: change(root / "vit", num_attention_heads=3), "not a multiple of num_attention_heads"),
        (lambda root: change(root / "vit", hidden_size=64), "has shape|missing"),
        (lambda root: change(root / "vit", patch_size=0), "patch_size"),
        (lambda root: change(root / "bert", vocab_size=20), "another model's tokenizer"),
        (lambda root: change(root / "bert", auto_map={"x": "y"}), "code of its own"),
        (lambda root: (root / "bert" / "model.safetensors").unlink(), "model.safetensors"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_by_name(vit, bert, root, spoil, says):
    spoil(root)
    with pytest.raises(ModelError, match=says):
        load_model(settings().model.name, settings())


def test_parts_that_do_not_fit_each_other_are_named(vit, bert, root):
    blip(root, "captions", "caption")
    with pytest.raises(ModelError, match=r"num_hidden_layers is 2 .* and 1 .*other vocabularies"):
        load_model(settings(decoder="captions").model.name, settings(decoder="captions"))
    with pytest.raises(ModelError, match="BLIP for captions, which has no text encoder"):
        load_model(settings(encoder="captions").model.name, settings(encoder="captions"))


def test_what_is_wrong_with_the_knob_is_said(root):
    with pytest.raises(ConfigError, match=r"model\.name\.decoder: .*required(.|\n)*model\.name\.head: unknown key"):
        load_config(None, {"model": {"name": {"vision": "a", "encoder": "b", "head": "c"}}})
    with pytest.raises(ConfigError, match=r"model\.name: expected text"):
        load_config(None, {"model": {"name": 3}})
    with pytest.raises(ConfigError, match="revision is of one model"):
        load_config(None, {"model": {"name": {"vision": "a", "encoder": "b", "decoder": "c"}, "revision": "main"}})
    config = load_config(None, {"model.name": {"vision": "a", "encoder": "b", "decoder": "c"}})
    assert isinstance(config.model.name, Towers) and Config.model_validate(config.as_dict()) == config


def test_a_run_that_begins_so_notes_it(vit, bert, tiny):
    parts = {"vision": "vit", "encoder": "bert", "decoder": "bert"}
    run = fine_tune(tiny("joined", task="pretrain", model__name=parts, train__epochs=1, retrieval__queue=8))
    assert "vision_model: 30 of 30 weights from model 'vit'" in run.environment["start"]
    assert run.finished and "`vit`, `bert`" in (run.model_folder / "README.md").read_text()
    begun = tiny("captions", task="caption", model__name="outputs/joined/model", train__epochs=1)
    assert "not taken: " in fine_tune(begun).environment["start"][-1]
