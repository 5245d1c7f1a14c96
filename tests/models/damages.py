"""Ways to damage a model folder: each changes the files of one that save_model wrote."""

import json
import pickle

import torch
from safetensors.torch import load_file, save_file

QUERY = "text_encoder.encoder.layer.0.attention.self.query.weight"
WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"
INDEX = "model.safetensors.index.json"


def edit(folder, name, change):
    """Apply `change` to the content of a JSON file."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def setting(section, key, value):
    """A damage: one key of config.json."""

    def damage(folder):
        edit(folder, "config.json", lambda c: (c[section] if section else c).__setitem__(key, value))

    return damage


def weights(change):
    """A damage: other tensors in model.safetensors."""

    def damage(folder):
        tensors = load_file(folder / "model.safetensors")
        save_file(change(tensors) or tensors, folder / "model.safetensors", {"format": "pt"})

    return damage


def content(name, value):
    """A damage: other bytes in a file."""

    def damage(folder):
        (folder / name).write_bytes(value if isinstance(value, bytes) else value.encode())

    return damage


def without(*names):
    def damage(folder):
        for name in names:
            (folder / name).unlink()

    return damage


def cut(name, kept):
    """A damage: a file that ends early."""

    def damage(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * kept)])

    return damage


def tokens(key, value):
    """A damage: one key of the model in tokenizer.json."""
    return lambda folder: edit(folder, "tokenizer.json", lambda c: c["model"].__setitem__(key, value))


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def adapter_only(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')


def split_into_parts(folder, place=lambda name: name):
    """The weights in two files and an index; `place` says what the index calls a file."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for part in (0, 1):
        name = f"model-{part + 1:05d}-of-00002.safetensors"
        some = dict(sorted(tensors.items())[part::2])
        save_file(some, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(some, place(name))
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def part_missing(folder):
    split_into_parts(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def index_promises_too_much(folder):
    split_into_parts(folder)
    edit(folder, INDEX, lambda c: c["weight_map"].__setitem__(QUERY + "2", "model-00001-of-00002.safetensors"))


def index_forgets(folder):
    split_into_parts(folder)
    edit(folder, INDEX, lambda c: c["weight_map"].pop(QUERY))


def index_without_map(folder):
    split_into_parts(folder)
    (folder / INDEX).write_text('{"weight_map": ["model.safetensors"]}')


def renamed(old, new):
    return weights(lambda t: {name.replace(old, new): tensor for name, tensor in t.items()})


def with_value(name, value):
    return weights(lambda t: t[name].view(-1)[:1].fill_(value) and None)


def folder_in_place_of(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def one_number_twice(folder):
    edit(folder, "tokenizer.json", lambda c: c["model"]["vocab"].__setitem__("yes", 7))


def one_word_less(folder):
    def drop_last(c):
        vocab = c["model"]["vocab"]
        vocab.pop(max(vocab, key=vocab.get))

    edit(folder, "tokenizer.json", drop_last)


def half_a_character(folder):
    def exchange_last(c):
        vocab = c["model"]["vocab"]
        vocab["\ud800"] = vocab.pop(max(vocab, key=vocab.get))

    edit(folder, "tokenizer.json", exchange_last)


def other_normalization(folder):
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')


DAMAGES = {
    # config.json
    "no config": (without("config.json"), "config.json"),
    "config is a folder": (folder_in_place_of("config.json"), "config.json"),
    "config is empty": (content("config.json", ""), "config.json is not JSON"),
    "config is cut": (cut("config.json", 0.5), "config.json is not JSON"),
    "config is binary": (content("config.json", b"\xff\xfe\x00"), "config.json"),
    "config is a list": (content("config.json", "[1, 2]"), "a list"),
    "config is null": (content("config.json", "null"), "nothing"),
    "config is nested without end": (content("config.json", "[" * 100_000), "config.json is not JSON"),
    "config with an endless number": (content("config.json", '{"a": ' + "9" * 10_000 + "}"), "config.json is not JSON"),
    "no model_type": (lambda f: edit(f, "config.json", lambda c: c.pop("model_type")), "model_type"),
    "another model_type": (setting("", "model_type", "bert"), "model_type is 'bert'"),
    "model_type is a list": (setting("", "model_type", ["blip"]), "model_type"),
    "code of its own": (setting("", "auto_map", {"AutoModel": "evil.Model"}), "auto_map"),
    "quantization": (setting("", "quantization_config", {"quant_method": "bitsandbytes"}), "quantization_config"),
    "text_config is text": (setting("", "text_config", "large"), "text_config"),
    "vision_config is null": (setting("", "vision_config", None), "vision_config"),
    "no text_config": (lambda f: edit(f, "config.json", lambda c: c.pop("text_config")), "30524"),
    "size is text": (setting("text_config", "hidden_size", "32"), "text_config.hidden_size"),
    "size is true": (setting("text_config", "num_hidden_layers", True), "text_config.num_hidden_layers"),
    "size is negative": (setting("vision_config", "hidden_size", -32), "vision_config.hidden_size"),
    "size is zero": (setting("vision_config", "patch_size", 0), "vision_config.patch_size"),
    "size is a fraction": (setting("vision_config", "image_size", 32.5), "vision_config.image_size"),
    "size is enormous": (setting("text_config", "vocab_size", 10**12), "text_config.vocab_size"),
    "layers without end": (setting("text_config", "num_hidden_layers", 10**9), "num_hidden_layers"),
    "heads do not divide": (setting("text_config", "num_attention_heads", 5), "multiple of its 5 heads"),
    "patch does not divide": (setting("vision_config", "patch_size", 7), "multiple of patch_size 7"),
    "widths contradict": (setting("text_config", "encoder_hidden_size", 64), "encoder_hidden_size"),
    "no such activation": (setting("text_config", "hidden_act", "os.system"), "hidden_act"),
    "dropout is NaN": (setting("text_config", "hidden_dropout_prob", float("nan")), "hidden_dropout_prob"),
    "dropout is two": (setting("vision_config", "attention_dropout", 2), "attention_dropout"),
    "no decoder": (setting("text_config", "is_decoder", False), "is_decoder"),
    "start token is null": (setting("text_config", "bos_token_id", None), "bos_token_id"),
    "start token outside": (setting("text_config", "bos_token_id", 99_999), "bos_token_id"),
    "another start token": (setting("text_config", "bos_token_id", 5), "DEC"),
    "fewer layers than weights": (setting("vision_config", "num_hidden_layers", 2), "missing"),
    "wider than weights": (setting("text_config", "intermediate_size", 256), "shape"),
    "other pictures than weights": (setting("vision_config", "image_size", 64), "shape"),
    # weights
    "no weights": (without("model.safetensors"), "model.safetensors"),
    "pickled weights": (pickled, "pytorch_model.bin"),
    "adapter only": (adapter_only, "model.safetensors"),
    "weights are a folder": (folder_in_place_of("model.safetensors"), "model.safetensors"),
    "weights are empty": (content("model.safetensors", ""), "damaged"),
    "weights are cut": (cut("model.safetensors", 0.7), "damaged"),
    "weights are cut in the header": (cut("model.safetensors", 0.001), "damaged"),
    "weights are zeros": (content("model.safetensors", bytes(10_000)), "damaged"),
    "weights are a pickle": (content("model.safetensors", pickle.dumps({"a": 1})), "damaged"),
    "weights with an endless header": (content("model.safetensors", (2**60).to_bytes(8, "little") + b"{}"), "damaged"),
    "one weight missing": (weights(lambda t: t.pop(QUERY) is None), "missing"),
    "one weight too many": (weights(lambda t: t.update(extra=torch.ones(1))), "not known"),
    "all names changed": (renamed("text_encoder", "encoder"), "missing"),
    "names of a wrapped model": (renamed("text", "module.text"), "missing"),
    "weights of another head": (renamed("text_decoder.cls", "itm_head"), "missing"),
    "transposed": (weights(lambda t: t.update({WORDS: t[WORDS].T.contiguous()})), "shape"),
    "one row less": (weights(lambda t: t.update({WORDS: t[WORDS][:-1].clone()})), "shape"),
    "flattened": (weights(lambda t: t.update({QUERY: t[QUERY].flatten()})), "shape"),
    "a scalar": (weights(lambda t: t.update({QUERY: torch.tensor(1.0)})), "shape"),
    "quantized weights": (weights(lambda t: t.update({QUERY: t[QUERY].to(torch.int8)})), "I8"),
    "complex weights": (weights(lambda t: t.update({QUERY: t[QUERY].to(torch.complex64)})), "C64"),
    "NaN": (with_value(QUERY, float("nan")), "no finite number"),
    "infinity": (with_value(WORDS, float("inf")), "no finite number"),
    "infinite in fp32": (weights(lambda t: t.update({QUERY: t[QUERY].double() * 1e300})), "no finite number"),
    # weights in parts
    "part missing": (part_missing, "model-00002-of-00002.safetensors"),
    "index is cut": (lambda f: (split_into_parts(f), cut(INDEX, 0.5)(f)), "not JSON"),
    "index without a map": (index_without_map, "weight_map"),
    "index points outside": (lambda f: split_into_parts(f, lambda name: f"../{name}"), "points to"),
    "index points to a path": (lambda f: split_into_parts(f, lambda name: f"{f}/{name}"), "points to"),
    "index points to a pickle": (lambda f: split_into_parts(f, lambda _: "pytorch_model.bin"), "points to"),
    "index points to the Hub": (lambda f: split_into_parts(f, lambda _: "https://x.y/a.safetensors"), "points to"),
    "index points to nothing": (lambda f: split_into_parts(f, lambda _: None), "points to"),
    "index promises too much": (index_promises_too_much, "does not"),
    "index forgets": (index_forgets, "missing"),
    # tokenizer
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), "no tokenizer"),
    "settings without vocabulary": (without("tokenizer.json"), "no tokenizer"),
    "tokenizer is cut": (cut("tokenizer.json", 0.5), "tokenizer.json is not JSON"),
    "tokenizer settings are cut": (cut("tokenizer_config.json", 0.5), "tokenizer_config.json is not JSON"),
    "tokenizer is empty": (content("tokenizer.json", "{}"), "vocabulary"),
    "vocabulary is a list": (tokens("vocab", ["yes", "no"]), "vocabulary"),
    "vocabulary of texts": (tokens("vocab", {"yes": "no"}), "vocabulary"),
    "vocabulary of another kind": (tokens("type", "BPE"), "vocabulary"),
    "one number twice": (one_number_twice, "each once"),
    "special tokens missing": (tokens("vocab", {"yes": 0, "no": 1}), "lacks"),
    "one word less": (one_word_less, "another model's tokenizer"),
    "upper case is text": (
        lambda f: edit(f, "tokenizer_config.json", lambda c: c.update(do_lower_case="no")),
        "do_lower",
    ),
    "vocabulary is binary": (
        lambda f: (without("tokenizer.json")(f), content("vocab.txt", b"\xff\xfe")(f)),
        "vocab.txt",
    ),
    "half a character": (half_a_character, "UTF-8"),
    # pictures
    "pictures in other units": (other_normalization, "image_mean"),
    "pictures in other units, newer file": (
        lambda f: edit(f, "processor_config.json", lambda c: c["image_processor"].update(image_std=[1.0, 1.0, 1.0])),
        "image_std",
    ),
    "picture settings are cut": (cut("processor_config.json", 0.5), "processor_config.json is not JSON"),
}
