"""What a run's config changes in a model: dropout, label smoothing, the size of its pictures, and what is trained."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BlipConfig, PreTrainedModel

from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.models.adapters import add_lora, freeze
from blipvqa.models.pictures import KeptStates
from blipvqa.models.towers import recompute_activations


def apply_settings(model_config: BlipConfig, config: Config) -> None:
    """The config's numbers into the model's, before it is built: later they would do nothing (docs/facts.md 1.6)."""
    text = model_config.text_config
    text.label_smoothing = config.train.label_smoothing
    if config.model.text_dropout is not None:
        text.hidden_dropout_prob = text.attention_probs_dropout_prob = config.model.text_dropout
    if config.model.picture_places:
        model_config.picture_places = MOST_PICTURES
    patch = model_config.vision_config.patch_size
    if config.model.image_size % patch:
        raise ConfigError(
            f"model.image_size: {config.model.image_size} is not a multiple of the model's patch, {patch}"
        )
    limit = max(config.token_limits.values())
    if limit > text.max_position_embeddings:
        key = max(config.token_limits, key=config.token_limits.get)
        raise ConfigError(f"{key}: {limit} exceeds the model's {text.max_position_embeddings} positions")


def resize_position_table(model: PreTrainedModel, image_size: int) -> None:
    """Replace the position table by its interpolation to `image_size` pixels, and say so in the model's config.

    Baked, so that what is saved is what was trained (docs/facts.md 1.11).
    """
    vision = model.config.vision_config
    if image_size % vision.patch_size:
        raise ConfigError(f"model.image_size: {image_size} is not a multiple of the model's patch, {vision.patch_size}")
    if image_size == vision.image_size:
        return
    embeddings = model.vision_model.embeddings
    positions = (image_size // vision.patch_size) ** 2 + 1
    with torch.no_grad():
        like = embeddings.position_embedding.new_empty(1, positions, embeddings.embed_dim)
        table = embeddings.interpolate_pos_encoding(like, image_size, image_size)
    embeddings.position_embedding = torch.nn.Parameter(table.clone())
    embeddings.image_size = vision.image_size = image_size
    embeddings.num_positions, embeddings.num_patches = positions, positions - 1


def ready_to_train(model: PreTrainedModel, config: Config, folder: Path) -> None:
    """Choose what is trained, and how the rest is computed; the states of a frozen vision tower go to the disk of
    `folder`."""
    torch.manual_seed(config.seed)  # adapters on published weights are drawn, and no seed was set before
    add_lora(model, config.model.lora)
    freeze(model, config.model.freeze)
    if config.train.gradient_checkpointing:
        recompute_activations(model)
    if config.train.compile:
        model.compile_vision()
    if config.train.augment == "none" and model.sees_the_same():  # else each epoch's pixels are others
        model.keep_states(KeptStates(folder, int(config.data.cache_gigabytes * 1e9)))
