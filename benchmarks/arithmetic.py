"""What a training step must compute, counted by hand, and how fast this machine multiplies matrices.

Counted are the products of matrices, a multiply and an add as two operations: projections, attention scores and values,
the feed-forward layers, and logits where a label is. Not counted: normalization, softmax, the optimizer, and anything that
padding, repeated pictures or repeated projections would add. A backward pass is two forward passes.
"""

from __future__ import annotations

import time

import torch


def step_operations(config, groups: list[list[list[int]]]) -> float:
    """Floating-point operations of forward and backward for `groups`: per image, [question, answer] tokens of each."""
    vision, text = config.vision_config, config.text_config
    d, f, n = vision.hidden_size, vision.intermediate_size, (vision.image_size // vision.patch_size) ** 2 + 1
    image = 2 * (n - 1) * 3 * vision.patch_size**2 * d
    image += vision.num_hidden_layers * (2 * n * (4 * d * d + 2 * d * f) + 4 * n * n * d)
    t, g, layers, words = text.hidden_size, text.intermediate_size, text.num_hidden_layers, text.vocab_size
    image += layers * 2 * n * 2 * d * t  # keys and values of the picture, once a layer for all its questions
    total = 0.0
    for questions in groups:
        total += image
        for q, a in questions:
            token = 2 * (4 * t * t + 2 * t * t + 2 * t * g)  # own attention, the other's query and output, feed-forward
            total += layers * (q * token + 4 * q * q * t + 4 * q * n * t)
            given = a - 1  # an answer's last token predicts nothing
            total += layers * (given * token + 4 * given * given * t + 4 * given * q * t + 2 * q * 2 * t * t)
            total += given * 2 * (t * t + t * words)
    return 3 * total


def matmul_rate(
    seconds: float = 3.0, size: int = 2048, device: str = "cpu", dtype=torch.float32, multiply=torch.matmul
) -> float:
    """The best rate of one matrix product, operations a second; `multiply` is torch's, or another's."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, ended = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < ended:
        begun = time.perf_counter()
        multiply(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best
