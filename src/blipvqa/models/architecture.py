"""`config.json` of a model folder: the sizes of BLIP's towers, and nothing else.

transformers takes every key of that file as an attribute of the config. Some lead to code from elsewhere (`auto_map`),
to kernels from the Hub (`_attn_implementation`) or to other weights (`quantization_config`). Here only the keys of
`TEXT`, `VISION` and `TOP` are taken, each of one type and within bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import BlipConfig

from blipvqa.models.folders import ModelError, called, read_json

ASKS_FOR_MORE = {"auto_map": "code of its own", "quantization_config": "quantized weights"}
ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "quick_gelu", "relu", "silu")

Check = Callable[[Any], Any]  # gives the value to use; raises ValueError that says what was expected


def whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"a number from {low:g} to {high:g}")
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def one_of(*values: Any) -> Check:
    def check(value: Any) -> Any:
        if not any(value is each or (isinstance(value, str) and value == each) for each in values):
            raise ValueError(" or ".join(map(str, values)).lower())
        return value

    return check


def knobs(value: Any) -> dict:
    if not isinstance(value, dict) or not all(isinstance(one, str | int | float | None) for one in value.values()):
        raise ValueError("an object of texts and numbers")
    return value


TOKEN = whole(0, 10**6)
SIZES = {
    "hidden_size": whole(1, 2**14),
    "intermediate_size": whole(1, 2**17),
    "projection_dim": whole(1, 2**17),
    "num_hidden_layers": whole(1, 256),
    "num_attention_heads": whole(1, 1024),
    "hidden_act": one_of(*ACTIVATIONS),
    "layer_norm_eps": number(0, 1),
    "initializer_range": number(0, 1000),
}
TEXT = SIZES | {
    "encoder_hidden_size": whole(1, 2**14),
    "vocab_size": whole(1, 10**6),
    "max_position_embeddings": whole(3, 2**16),
    "hidden_dropout_prob": number(0, 0.99),
    "attention_probs_dropout_prob": number(0, 0.99),
    "label_smoothing": number(0, 0.99),
    "bos_token_id": TOKEN,
    "eos_token_id": TOKEN,
    "pad_token_id": TOKEN,
    "sep_token_id": TOKEN,
    "is_decoder": one_of(True),  # without it there is no cross-attention to the picture
    "use_cache": one_of(True, False),
    "tie_word_embeddings": one_of(True, False),
}
VISION = SIZES | {
    "image_size": whole(1, 2**14),
    "patch_size": whole(1, 2**10),
    "attention_dropout": number(0, 0.99),
}
TOP = {
    "projection_dim": whole(1, 2**17),
    "image_text_hidden_size": whole(1, 2**17),
    "logit_scale_init_value": number(-1000, 1000),
    "contrast_temperature": number(1e-6, 1000),  # retrieval's, learnt (models/retriever.py)
    "picture_places": whole(0, 1024),  # of rows with several pictures (models/several_pictures.py)
    "conversations": one_of(True, False),  # whether it is asked with the conversation so far (vqa/turns.py)
    "history_tokens": whole(3, 512),  # the same in exports of older versions, by `question_tokens`
    "question_tokens": whole(3, 512),  # of a question as its run reads it, turns included (vqa/token_limits.py)
    "answer_tokens": whole(3, 512),  # of an answer as its run ranks it (vqa/token_limits.py)
    "own_settings": knobs,  # how its run finds answers; checked by who reads them (training/own_settings.py)
    "label_smoothing": number(0, 0.99),
    "initializer_factor": number(0, 1000),
    "initializer_range": number(0, 1000),
    "tie_word_embeddings": one_of(True, False),
}


def read_architecture(folder: Path) -> BlipConfig:
    """The sizes that `config.json` gives. Raises ModelError that names the key, what was found and what is expected."""
    content = read_json(folder, "config.json")
    if content.get("model_type") != "blip":
        raise ModelError(f"{called(folder)}: model_type is {content.get('model_type')!r:.60}, expected 'blip'")
    _refuse_more(folder, content)
    text = _section(folder, content, "text_config", TEXT)
    vision = _section(folder, content, "vision_config", VISION)
    top = _checked(folder, content, "", TOP)
    if length := top.pop("history_tokens", None):
        top = {"question_tokens": length} | top | {"conversations": True}
    config = BlipConfig(text_config=text, vision_config=vision, **top)
    _check_sizes_fit(folder, config, text)
    return config


def read_sizes(folder: Path, checks: dict[str, Check]) -> dict[str, Any]:
    """What `checks` names of the config.json of a model that is no BLIP. Raises ModelError as `read_architecture`."""
    content = read_json(folder, "config.json")
    _refuse_more(folder, content)
    return _checked(folder, {key: value for key, value in content.items() if value is not None}, "", checks)


def _refuse_more(folder: Path, content: dict) -> None:
    for key, what in ASKS_FOR_MORE.items():
        if content.get(key):
            raise ModelError(f"{called(folder)}: config.json asks for {what} ({key}), which is never loaded here")


def _section(folder: Path, content: dict, name: str, checks: dict[str, Check]) -> dict[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise ModelError(f"{called(folder)}: {name} is {section!r:.60}, expected a JSON object")
    return _checked(folder, section, f"{name}.", checks)


def _checked(folder: Path, section: dict, prefix: str, checks: dict[str, Check]) -> dict[str, Any]:
    values = {}
    for key in section.keys() & checks.keys():
        try:
            values[key] = checks[key](section[key])
        except ValueError as error:
            raise ModelError(
                f"{called(folder)}: {prefix}{key} in config.json is {section[key]!r:.60}, expected {error}"
            ) from None
    return values


def _check_sizes_fit(folder: Path, config: BlipConfig, given_text: dict) -> None:
    text, vision = config.text_config, config.vision_config
    problems = [
        f"{name}.hidden_size {section.hidden_size} is not a multiple of its {section.num_attention_heads} heads"
        for name, section in (("text_config", text), ("vision_config", vision))
        if section.hidden_size % section.num_attention_heads
    ]
    if vision.image_size % vision.patch_size:
        problems.append(
            f"vision_config.image_size {vision.image_size} is not a multiple of patch_size {vision.patch_size}"
        )
    if given_text.get("encoder_hidden_size", vision.hidden_size) != vision.hidden_size:
        problems.append(
            f"text_config.encoder_hidden_size {given_text['encoder_hidden_size']} is not vision_config.hidden_size "
            f"{vision.hidden_size}"
        )
    problems += [
        f"text_config.{key} {getattr(text, key)} is not below vocab_size {text.vocab_size}"
        for key in ("bos_token_id", "pad_token_id", "sep_token_id")
        if getattr(text, key) >= text.vocab_size
    ]
    if problems:
        raise ModelError(f"{called(folder)}: config.json contradicts itself: {'; '.join(problems)}")
