"""A transformers that no test has seen: whether BLIP's numbers are still the same with it."""

from __future__ import annotations

import functools
import re
import warnings

import torch
import transformers
from transformers import BlipConfig

from blipvqa.models.folders import ModelError
from blipvqa.models.vqa import BlipForVQA

TESTED = ((5, 16), (5, 24))  # the first and the last minor version that `make test-versions` admits
LOSS, ANSWERS = 12.54251, [[22, 15, 13, 10, 2], [22, 15, 6, 4, 17]]  # of `small_numbers`, equal with each of those


@functools.cache
def check_transformers() -> None:
    """Once a process: a version outside `TESTED` is warned of, and refused with ModelError where a small model
    computes another loss or another answer with it than with those."""
    version = transformers.__version__
    minor = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if TESTED[0] <= minor <= TESTED[1]:
        return
    loss, answers = small_numbers()
    tested = " to ".join(f"{major}.{minor}" for major, minor in TESTED)
    if abs(loss - LOSS) > 1e-4 or answers != ANSWERS:
        raise ModelError(
            f"transformers {version} computes other numbers for BLIP than {tested}, with which it is tested: a small "
            f"model's loss is {loss:.5f} (expected {LOSS:.5f}), its answers {answers} (expected {ANSWERS}). "
            "Install one of those"
        )
    warnings.warn(
        f"transformers {version} is not tested ({tested} are); a small model gave the numbers that it should",
        stacklevel=2,
    )


def small_numbers() -> tuple[float, list[list[int]]]:
    """The loss of two answers, and two answers written, by a model whose weights are the same everywhere: later
    digits of sines, since random numbers differ from one torch to another."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = {**sizes, "encoder_hidden_size": 16, "vocab_size": 24, "bos_token_id": 22, "sep_token_id": 3}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "is_decoder": True, "pad_token_id": 0}
    model = BlipForVQA(
        BlipConfig(text_config=text | dropout, vision_config=sizes | {"image_size": 16, "patch_size": 8})
    ).eval()
    with torch.no_grad():
        for place, (_, weight) in enumerate(sorted(model.named_parameters())):
            sines = torch.sin(torch.arange(weight.numel(), dtype=torch.float64) + 100 * place)
            if weight.dim() > 1:  # scales and shifts stay ones and zeros
                weight.copy_((1e4 * sines).frac().view_as(weight))
        pictures = torch.sin(torch.arange(2 * 3 * 16 * 16, dtype=torch.float64)).view(2, 3, 16, 16).float()
        asked = {
            "input_ids": torch.tensor([[23, 5, 6, 3], [23, 7, 3, 0]]),
            "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
            "pixel_values": pictures,
            "image_index": torch.tensor([0, 1]),
        }
        loss = model(**asked, labels=torch.tensor([[22, 9, 3], [22, 8, 3]])).loss
        answers = model.generate_answers(**asked, max_new_tokens=4, repetition_penalty=5.0)
    return float(loss), answers.tolist()
