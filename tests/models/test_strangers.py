"""Model folders from strangers: every damage is one message that names it; nothing is run, fetched or left at random."""

import json
import os
import shutil
import time

import pytest
import torch
from conftest import TINY
from damages import DAMAGES, edit, setting, split_into_parts, weights, without

from blipvqa import load_config, load_model, save_model
from blipvqa.config.knobs import ConfigError
from blipvqa.errors import UserError
from blipvqa.models.folders import ModelError


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder as save_model writes it, of a small random model."""
    folder = tmp_path_factory.mktemp("sound") / "model"
    model, processor = load_model("scratch", load_config(None, TINY), texts=["is there a vessel?", "yes", "no"])
    return save_model(model, processor, folder)


@pytest.fixture
def folder(sound, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(sound, tmp_path / "model")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_by_name(folder, root, damage):
    apply, words = DAMAGES[damage]
    apply(folder)
    began = time.monotonic()
    with pytest.raises(ModelError) as refused:
        load_model(str(folder))
    message = str(refused.value)
    assert words in message
    assert message.startswith("model 'model'")
    assert len(message) < 500
    assert time.monotonic() - began < 10


def test_its_errors_are_a_persons():
    assert issubclass(ModelError, UserError) and issubclass(ModelError, ConfigError)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is readable here")
def test_weights_that_may_not_be_read_are_refused(folder):
    (folder / "model.safetensors").chmod(0)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(str(folder))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_in_place_of_weights_does_not_hang(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_model(str(folder))


# ---------------------------------------------------------------------------------------- what is taken, and no more


def same_weights(one, another):
    torch.testing.assert_close(one.state_dict(), another.state_dict(), rtol=0, atol=0)


def test_what_config_json_asks_for_beyond_sizes_is_not_taken(sound, folder):
    expected, _ = load_model(str(sound))
    for key, value in {
        "_attn_implementation": "kernels-community/flash-attn",
        "attn_implementation": "someone/kernel",
        "_name_or_path": "https://somewhere",
        "custom_pipelines": {"x": {"impl": "evil.py"}},
        "torch_dtype": "float16",
        "use_bfloat16": True,
        "output_attentions": True,
    }.items():
        setting("", key, value)(folder)
        setting("text_config", key, value)(folder)
        setting("vision_config", key, value)(folder)
    setting("text_config", "num_beams", 7)(folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else", "peft_type": "LORA"}')
    (folder / "generation_config.json").write_text('{"max_length": 1, "custom_generate": "someone/else"}')
    (folder / "evil.py").write_text("raise SystemExit('run')")
    model, _ = load_model(str(folder))
    same_weights(model, expected)
    assert model.config.to_dict() == expected.config.to_dict()
    assert model.config._attn_implementation == expected.config._attn_implementation
    assert model.text_decoder.generation_config.to_dict() == expected.text_decoder.generation_config.to_dict()


def test_what_tokenizer_json_does_beyond_its_vocabulary_is_not_taken(sound, folder):
    _, expected = load_model(str(sound))

    def change(tokenizer):
        tokenizer["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "no"}
        tokenizer["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        tokenizer["post_processor"] = None

    edit(folder, "tokenizer.json", change)
    edit(folder, "tokenizer_config.json", lambda c: c.update(auto_map={"AutoTokenizer": "evil.T"}, padding_side="left"))
    _, processor = load_model(str(folder))
    texts = ["is there a vessel?", "Ünknown, yes"]
    assert processor.tokenizer(texts, padding=True)["input_ids"] == expected.tokenizer(texts, padding=True)["input_ids"]


@pytest.mark.parametrize("number_format", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_are_read_as_fp32(sound, folder, number_format):
    weights(lambda t: {name: tensor.to(number_format) for name, tensor in t.items()})(folder)
    model, _ = load_model(str(folder))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(model.state_dict(), load_model(str(sound))[0].state_dict(), rtol=1e-2, atol=1e-2)


def test_weights_in_parts_and_a_plain_vocabulary_are_read(sound, folder):
    expected, processor = load_model(str(sound))
    split_into_parts(folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(vocabulary, key=vocabulary.get)))
    without("tokenizer.json", "tokenizer_config.json")(folder)
    model, plain = load_model(str(folder))
    same_weights(model, expected)
    assert plain.tokenizer("is there a vessel?").input_ids == processor.tokenizer("is there a vessel?").input_ids


def test_positions_that_older_versions_stored_are_no_weights(sound, folder):
    ids = torch.arange(512)[None]
    weights(lambda t: t.update({"text_encoder.embeddings.position_ids": ids}))(folder)
    same_weights(load_model(str(folder))[0], load_model(str(sound))[0])
