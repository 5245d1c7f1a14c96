"""A start for training from parts of other models: `model.name: {vision: …, encoder: …, decoder: …}`.

Notable:
- Vision from BLIP or a ViT. From the encoder's folder all that the text towers share too (embeddings, cross-attention,
  feed-forward layers), and projections and matching head where it has them; a BERT has no cross-attention. From the
  decoder's folder its own self-attention and what it writes words with. No folder of the Hub holds all (docs/facts.md
  10.2, 16).
- What no folder holds is new, drawn from the run's seed, and `start_lines` says what that is.
- As the authors did: BERT's token types are left out, and pictures are scaled as BLIP's whatever a ViT had.

Source: salesforce/BLIP models/blip_pretrain.py, which begins with DeiT-base and bert-base-uncased.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertTokenizer, BlipConfig

from blipvqa.config.kinds import Towers
from blipvqa.models.architecture import TEXT, VISION, read_architecture, read_sizes
from blipvqa.models.classes import class_of_folder
from blipvqa.models.folders import ModelError, called, model_folder, read_json
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.models.tokenizer import read_tokenizer, read_words
from blipvqa.models.weights import read_named, read_weights

OTHERS = {"vision": "vit", "encoder": "bert", "decoder": "bert"}  # what each part may be beside BLIP, by model_type
BASE = {"hidden_size": 768, "num_attention_heads": 12}  # transformers' defaults for both, which are not all BLIP's
VIT = BASE | {"image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-12, "initializer_range": 0.02}
BERT = BASE | {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
BERT_SIZES = {key: check for key, check in TEXT.items() if key not in ("is_decoder", "encoder_hidden_size")}
RENAMED = (  # of a ViT's layers
    ("attention.attention.", "self_attn."),
    ("attention.output.dense.", "self_attn.projection."),
    ("layernorm_before.", "layer_norm1."),
    ("layernorm_after.", "layer_norm2."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
)
OWN = (r"text_decoder\.bert\.encoder\.layer\.\d+\.attention\.", r"text_decoder\.cls\.predictions\.(bias|transform)")
START_TOKENS = 2  # [DEC] and [ENC], which a BERT lacks
SAME = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")


@dataclass
class Part:
    """What one folder brings: `sizes` of its tower, and weights by the names of `BlipForPretraining`."""

    folder: Path
    sizes: dict
    weights: dict[str, Tensor]
    tokenizer: BertTokenizer | None = None
    top: dict | None = None  # of a BLIP: its sizes that belong to no tower


def put_together(towers: Towers, seed: int) -> tuple[BlipConfig, BertTokenizer, dict[str, Tensor], dict[str, str]]:
    """Config, tokenizer and all weights of a `BlipForPretraining`; and which folder each weight is of, where it is not
    new.

    Raises ModelError where a folder is none of these, lacks its part, or two do not fit each other.
    """
    folders = {part: model_folder(name) for part, name in towers.model_dump().items()}
    for part, folder in folders.items():
        _check_kind(part, folder)
    vision = _vision(folders["vision"])
    encoder = _text(folders["encoder"], "encoder")
    decoder = _text(folders["decoder"], "decoder")
    _check_fit(vision, encoder, decoder)
    text = encoder.sizes | {"encoder_hidden_size": vision.sizes["hidden_size"]}
    config = BlipConfig(text_config=text, vision_config=vision.sizes, **(encoder.top or {}))
    torch.manual_seed(seed)
    state = BlipForPretraining(config).state_dict()
    origins = {}
    for part in (vision, encoder, decoder):
        for name, read in part.weights.items():
            state[name][: len(read)] = read  # of a BERT's words: the two start tokens behind them stay new
            rest = "" if len(read) == len(state[name]) else " but for [DEC] and [ENC], which are new"
            origins[name] = called(part.folder) + rest
    return config, encoder.tokenizer, state, origins


def start_lines(names: Iterable[str], origins: Mapping[str, str], left: Iterable[str] = ()) -> list[str]:
    """A line for each part of a model with weights of these `names`: how many were taken from where, as `origins` says
    of those that were, and which are new; and one on what of the source is `left` aside."""
    parts: dict[str, list[str]] = {}
    for name in names:
        if name != "temp" and not name.startswith("text_decoder.cls.predictions.decoder."):  # it is the words' table
            parts.setdefault(name.split(".")[0], []).append(name)
    lines = []
    for part, own in parts.items():
        counts = Counter(origins[name] for name in own if name in origins)
        said = [f"{count} of {len(own)} weights from {origin}" for origin, count in counts.items()]
        new = [name.removeprefix(f"{part}.") for name in own if name not in origins]
        kinds = dict.fromkeys(re.sub(r"\.\d+\.(\w+).*|\.?(weight|bias)$", r".*.\1", name).strip(".*") for name in new)
        said += [f"new: {len(new)} ({', '.join(kinds)})".replace(" ()", "")] if new else []
        lines.append(f"{part}: {'; '.join(said)}")
    kinds = sorted({name.split(".")[0] for name in left if name != "temp"})
    return lines + ([f"not taken: {', '.join(kinds)}"] if kinds else [])


def _check_kind(part: str, folder: Path) -> None:
    kind = read_json(folder, "config.json").get("model_type")
    if kind not in ("blip", OTHERS[part]):
        raise ModelError(
            f"model.name.{part}: {called(folder)} is a {kind!r:.60} by its config.json, expected blip or {OTHERS[part]}"
        )


def _is_blip(folder: Path) -> bool:
    return read_json(folder, "config.json")["model_type"] == "blip"


def _shapes(config: BlipConfig) -> dict[str, list[int]]:
    with torch.device("meta"):  # shapes without memory
        return {name: list(each.shape) for name, each in BlipForPretraining(config).state_dict().items()}


def _vision(folder: Path) -> Part:
    if _is_blip(folder):
        config = read_architecture(folder)
        weights = read_weights(folder, config, class_of_folder(folder))
        own = {name: each for name, each in weights.items() if name.startswith("vision_model.")}
        return Part(folder, config.vision_config.to_dict(), own)
    sizes = VIT | read_sizes(folder, VISION)
    _check_multiples(folder, sizes)
    config = BlipConfig(vision_config=sizes)
    shapes = {name: shape for name, shape in _shapes(config).items() if name.startswith("vision_model.")}
    thirds = {  # query, key and value are one matrix here
        name.replace("qkv", one): [shape[0] // 3, *shape[1:]]
        for name, shape in shapes.items()
        if "qkv" in name
        for one in ("query", "key", "value")
    }
    read = read_named(folder, {n: shape for n, shape in shapes.items() if "qkv" not in n} | thirds, _name_in_vit)
    for name in (name for name in shapes if "qkv" in name):
        read[name] = torch.cat([read.pop(name.replace("qkv", one)) for one in ("query", "key", "value")])
    return Part(folder, config.vision_config.to_dict(), read)


def _name_in_vit(stored: str) -> str | None:
    name = stored.removeprefix("vit.")
    if match := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name):
        inner = next((new + match[2][len(old) :] for old, new in RENAMED if match[2].startswith(old)), None)
        return inner and f"vision_model.encoder.layers.{match[1]}.{inner}"
    name = name.replace("cls_token", "class_embedding").replace("position_embeddings", "position_embedding")
    name = name.replace("patch_embeddings.projection", "patch_embedding")
    return f"vision_model.{re.sub(r'^layernorm', 'post_layernorm', name)}"


def _check_multiples(folder: Path, sizes: Mapping[str, int]) -> None:
    for whole, parts in (("hidden_size", "num_attention_heads"), ("image_size", "patch_size")):
        if whole in sizes and sizes[whole] % sizes[parts]:
            raise ModelError(
                f"{called(folder)}: config.json contradicts itself: {whole} {sizes[whole]} is not a multiple of "
                f"{parts} {sizes[parts]}"
            )


def _text(folder: Path, part: str) -> Part:
    if not _is_blip(folder):
        return _bert(folder, part)
    config = read_architecture(folder)
    weights = read_weights(folder, config, class_of_folder(folder))
    if part == "encoder":
        tops = ("text_encoder.", "vision_proj.", "text_proj.", "itm_head.")
        own = {name: each for name, each in weights.items() if name.startswith(tops)}
    else:
        own = {name: each for name, each in weights.items() if any(re.match(pattern, name) for pattern in OWN)}
    if not any(name.startswith(f"text_{part}.") for name in own):
        raise ModelError(
            f"model.name.{part}: {called(folder)} is BLIP for {class_of_folder(folder).purpose}, which has no text "
            f"{part}: name a folder that has one"
        )
    top = {"image_text_hidden_size": config.image_text_hidden_size}
    if (temperature := getattr(config, "contrast_temperature", None)) is not None:
        top["contrast_temperature"] = temperature
    return Part(folder, config.text_config.to_dict(), own, read_tokenizer(folder, config), top)


def _bert(folder: Path, part: str) -> Part:
    sizes, tokenizer = BERT | read_sizes(folder, BERT_SIZES), read_words(folder)
    words = sizes.pop("vocab_size", len(tokenizer) - START_TOKENS)
    if words != len(tokenizer) - START_TOKENS:
        raise ModelError(
            f"{called(folder)}: another model's tokenizer: its files hold {len(tokenizer) - START_TOKENS} entries, "
            f"config.json says {words}"
        )
    ids = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    ids |= {"sep_token_id": tokenizer.sep_token_id, "eos_token_id": tokenizer.sep_token_id}
    sizes |= ids | {"vocab_size": len(tokenizer), "is_decoder": True}
    _check_multiples(folder, sizes)
    config = BlipConfig(text_config=sizes)
    shapes = {name: shape for name, shape in _shapes(config).items() if "crossattention" not in name}
    for name in ("text_encoder.embeddings.word_embeddings.weight", "text_decoder.cls.predictions.bias"):
        shapes[name] = [words, *shapes[name][1:]]
    if part == "encoder":
        body = {name: shape for name, shape in shapes.items() if name.startswith("text_encoder.")}
        return Part(folder, config.text_config.to_dict(), read_named(folder, body, _name_in_encoder), tokenizer)
    attention = {name: shape for name, shape in shapes.items() if re.match(OWN[0], name)}
    head = {name: shape for name, shape in shapes.items() if re.match(OWN[1], name)}
    return Part(folder, config.text_config.to_dict(), read_named(folder, attention, _name_in_decoder, head), tokenizer)


def _plain(stored: str) -> str:
    """A weight's name in a BERT; the oldest ones call a LayerNorm's weights gamma and beta."""
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", stored.removeprefix("bert.")))


def _name_in_encoder(stored: str) -> str:
    return f"text_encoder.{_plain(stored)}"


def _name_in_decoder(stored: str) -> str:
    plain = _plain(stored)
    return f"text_decoder.{plain}" if plain.startswith("cls.") else f"text_decoder.bert.{plain}"


def _check_fit(vision: Part, encoder: Part, decoder: Part) -> None:
    """Raises ModelError that names every size in which two parts differ."""
    one, other = called(encoder.folder), called(decoder.folder)
    problems = [
        f"{key} is {encoder.sizes[key]} in {one} and {decoder.sizes[key]} in {other}"
        for key in SAME
        if encoder.sizes[key] != decoder.sizes[key]
    ]
    if encoder.tokenizer.get_vocab() != decoder.tokenizer.get_vocab():
        problems.append(f"{one} and {other} have other vocabularies")
    width, pictures = encoder.sizes["encoder_hidden_size"], vision.sizes["hidden_size"]
    if encoder.top is not None and width != pictures:
        problems.append(f"{one} looks at pictures of width {width}, and {called(vision.folder)} gives {pictures}")
    if problems:
        raise ModelError(f"model.name: its parts do not fit each other: {'; '.join(problems)}")
