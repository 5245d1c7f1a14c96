"""Fingerprints of weights are of content: a new name changes nothing, a new value does."""

import os
import shutil

import pytest
import torch
from damages import QUERY, edit, weights

from blipvqa import load_model, save_model
from blipvqa.models.weights import weights_digest

TEXTS = ["is there a vessel?", "yes", "no"]


@pytest.fixture
def folder(tiny, tmp_path):
    return save_model(*load_model("scratch", tiny(), texts=TEXTS), tmp_path / "start")


def test_a_folder_under_another_name_is_the_same(folder, tmp_path):
    again = shutil.copytree(folder, tmp_path / "other")
    (again / "README.md").write_text("a card of another day")
    assert weights_digest(again) == weights_digest(str(folder))


def change_a_weight(folder):
    """One value, with the size and the time of the file as they were."""
    path = folder / "model.safetensors"
    before = path.stat()
    weights(lambda t: t[QUERY].view(-1)[:1].add_(1) and None)(folder)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def exchange_two_words(folder):
    def change(content):
        vocabulary = content["model"]["vocab"]
        vocabulary["y"], vocabulary["n"] = vocabulary["n"], vocabulary["y"]

    edit(folder, "tokenizer.json", change)


@pytest.mark.parametrize(
    "change",
    [
        change_a_weight,
        exchange_two_words,
        lambda folder: edit(folder, "config.json", lambda c: c["text_config"].update(layer_norm_eps=1e-3)),
        lambda folder: edit(folder, "tokenizer_config.json", lambda c: c.update(do_lower_case=False)),
    ],
    ids=["a weight", "the vocabulary", "the architecture", "the tokenizer"],
)
def test_another_content_under_the_same_name_is_another(folder, change):
    before = weights_digest(folder)
    change(folder)
    assert weights_digest(folder) != before


def test_a_start_from_scratch_is_its_sizes_seed_and_texts(tiny):
    before = weights_digest("scratch", tiny(), TEXTS)
    assert weights_digest("scratch", tiny(name="other", train__epochs=9), reversed(TEXTS)) == before
    others = (
        (tiny(seed=1), TEXTS),
        (tiny(model__image_size=64), TEXTS),
        (tiny(), [*TEXTS[:-1], "maybe"]),
    )
    digests = {weights_digest("scratch", config, texts) for config, texts in others}
    assert len(digests) == 3
    assert before not in digests


def test_a_model_in_memory_is_its_weights(folder):
    model, _ = load_model(str(folder))
    again, _ = load_model(str(folder))
    before = weights_digest(model)
    assert weights_digest(again) == before
    with torch.no_grad():
        next(again.parameters()).view(-1)[0] += 1
    assert weights_digest(again) != before
