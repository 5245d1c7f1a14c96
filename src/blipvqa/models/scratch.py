"""A model that starts from nothing: BLIP's architecture at the config's sizes, its vocabulary learnt from texts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import BertTokenizer, BlipConfig, BlipProcessor, PreTrainedModel

from blipvqa.config.knobs import Config, ScratchModel
from blipvqa.models.adjust import apply_settings
from blipvqa.models.tokenizer import make_processor, train_tokenizer


def new_model(
    model_class: type[PreTrainedModel], config: Config, texts: Iterable[str]
) -> tuple[PreTrainedModel, BlipProcessor]:
    """BLIP at `config.model.scratch`'s sizes with weights from `config.seed`, and a vocabulary learnt from `texts`."""
    scratch = config.model.scratch
    texts = [*texts, *([config.caption.prompt] if config.task == "caption" else [])]  # its words must be known too
    processor = make_processor(train_tokenizer(texts, scratch.vocabulary), config.model.image_size)
    model_config = _blip_config(scratch, processor.tokenizer, config.model.image_size)
    apply_settings(model_config, config)
    torch.manual_seed(config.seed)
    model = model_class(model_config)
    with torch.no_grad():  # as large as the patches it is added to: else the model needs far longer to learn positions
        model.vision_model.embeddings.position_embedding.normal_()
    return model.eval(), processor


def _blip_config(scratch: ScratchModel, tokenizer: BertTokenizer, image_size: int) -> BlipConfig:
    """The library's config at the sizes of `model.scratch`."""
    # Weights as large as a layer's width asks for: with the library's 0.02 (made for 768) a narrow model takes three
    # times as long to look at the picture at all, and with vision's default, 1e-10, it never does (docs/facts.md 1.7).
    sizes = {
        "hidden_size": scratch.hidden_size,
        "intermediate_size": 4 * scratch.hidden_size,
        "num_attention_heads": scratch.heads,
        "initializer_range": scratch.hidden_size**-0.5,
    }
    text = {
        **sizes,
        "num_hidden_layers": scratch.layers,
        "encoder_hidden_size": scratch.hidden_size,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "is_decoder": True,
    }
    vision = {
        **sizes,
        "num_hidden_layers": scratch.vision_layers or scratch.layers,
        "patch_size": scratch.patch_size,
        "image_size": image_size,
    }
    return BlipConfig(text_config=text, vision_config=vision)
