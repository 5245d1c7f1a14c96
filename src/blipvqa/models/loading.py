"""Models and their processors: loading, starting from scratch, exporting.

Notable:
- The exported folder works in plain transformers: [ENC] and [DEC] are in its tokenizer, its position table is the
  one in use, its architecture is the library's (docs/facts.md 1.9, 1.11, 1.12). Every export is read back and compared.
- "scratch" is BLIP's architecture at the config's sizes, its vocabulary trained on the run's own train split.
- Weights come from safetensors only, and stay fp32 while they are trained (docs/facts.md 1.17).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import BertTokenizer, BlipConfig, BlipImageProcessorPil, BlipProcessor
from transformers.utils import logging as transformers_logging

from blipvqa.config.knobs import Config, ConfigError, ScratchModel, project_path
from blipvqa.data.dataset import load_splits
from blipvqa.models.vqa import IMAGE_MEAN, IMAGE_STD, BlipForVQA

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def load_model(name_or_path: str, config: Config | None = None) -> tuple[BlipForVQA, BlipProcessor]:
    """A model in fp32 on the CPU, in `eval()` mode, and its processor.

    `name_or_path`: Hub id, local folder, or "scratch" (needs `config`). With a config the position table is baked
    at `model.image_size`, and dropout and label smoothing are the config's; LoRA is added by the training loop.
    Raises ConfigError when there is no such model, or it is no BLIP for question answering.
    """
    if name_or_path == "scratch":
        if config is None:
            raise ConfigError("load_model('scratch') needs a config: sizes from model.scratch, words from its data")
        rows = load_splits(config)["train"].rows
        return new_model(config, [text for row in rows for text in (row["question"], row["answer"])])
    source = _resolve(name_or_path)
    model_config = _model_config(source)
    if config is not None:
        _apply(model_config, config)
    with _quiet():
        model = BlipForVQA.from_pretrained(source, config=model_config, dtype=torch.float32, use_safetensors=True)
        tokenizer = BertTokenizer.from_pretrained(source)
    size = config.model.image_size if config else model.config.vision_config.image_size
    resize_position_table(model, size)
    return model.eval(), make_processor(tokenizer, size)


def _resolve(name_or_path: str) -> str:
    folder = project_path(name_or_path)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise ConfigError(
                f"model '{name_or_path}' is a folder without config.json: give one that save_model or "
                "transformers' save_pretrained wrote"
            )
        return str(folder)
    if name_or_path.count("/") != 1 or name_or_path.startswith((".", "/", "~")):
        raise ConfigError(
            f"model '{name_or_path}': no such folder, and no Hub id (owner/name). "
            "Give a folder, a Hub id, or 'scratch'."
        )
    return name_or_path


def _model_config(source: str) -> BlipConfig:
    try:
        model_config = BlipConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model '{Path(source).name if Path(source).is_absolute() else source}' cannot be read, and "
            f"the Hub gave none ({str(error).splitlines()[0]:.160}). Connect, or give a folder with "
            "config.json and model.safetensors."
        ) from None
    if model_config.model_type != "blip":
        raise ConfigError(f"model '{source}' is a {model_config.model_type}, expected blip")
    return model_config


def _apply(model_config: BlipConfig, config: Config) -> None:
    """The config's numbers into the model's, before it is built: later they would do nothing (docs/facts.md 1.6)."""
    text = model_config.text_config
    text.label_smoothing = config.train.label_smoothing
    if config.model.text_dropout is not None:
        text.hidden_dropout_prob = text.attention_probs_dropout_prob = config.model.text_dropout
    patch = model_config.vision_config.patch_size
    if config.model.image_size % patch:
        raise ConfigError(
            f"model.image_size: {config.model.image_size} is not a multiple of the model's patch, {patch}"
        )
    limit = max(config.data.max_question_tokens, config.data.max_answer_tokens)
    if limit > text.max_position_embeddings:
        raise ConfigError(f"data.max_…_tokens: {limit} exceeds the model's {text.max_position_embeddings} positions")


def new_model(config: Config, texts: list[str]) -> tuple[BlipForVQA, BlipProcessor]:
    """BLIP at `config.model.scratch`'s sizes with weights from `config.seed`, and a vocabulary learnt from `texts`."""
    scratch = config.model.scratch
    processor = make_processor(train_tokenizer(texts, scratch.vocabulary), config.model.image_size)
    model_config = _scratch_config(scratch, processor.tokenizer, config)
    _apply(model_config, config)
    torch.manual_seed(config.seed)
    model = BlipForVQA(model_config)
    with torch.no_grad():  # as loud as the patches it is added to, or "where" is not learnt within minutes
        model.vision_model.embeddings.position_embedding.normal_()
    return model.eval(), processor


def _scratch_config(scratch: ScratchModel, tokenizer: BertTokenizer, config: Config) -> BlipConfig:
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
        "image_size": config.model.image_size,
    }
    return BlipConfig(text_config=text, vision_config=vision)


def train_tokenizer(texts: list[str], size: int) -> BertTokenizer:
    """A WordPiece tokenizer of at most `size` entries, as BERT's, from `texts`; the same for the same texts."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The trainer numbers letters inside words in an order of chance, which decides between equally common pairs:
    # named in advance, they have a fixed one.
    letters = sorted(
        {letter for text in texts for letter in learner.normalizer.normalize_str(text) if not letter.isspace()}
    )
    fixed = SPECIAL_TOKENS + [f"##{letter}" for letter in letters]
    size = max(size, len(fixed) + len(letters))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=fixed, show_progress=False)
    learner.train_from_iterator(sorted(texts), trainer)
    learnt = sorted(learner.get_vocab(with_added_tokens=False), key=lambda word: (len(word), word))
    words = SPECIAL_TOKENS + [word for word in learnt if word not in SPECIAL_TOKENS]
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)})


def make_processor(tokenizer: BertTokenizer, image_size: int) -> BlipProcessor:
    """The processor of a model: square `image_size`, and a tokenizer that writes `[ENC] text [SEP]`."""
    if tokenizer.cls_token != "[ENC]":
        # Two calls, in this order: one call would swap the ids (docs/facts.md 1.9).
        tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        tokenizer.add_special_tokens({"cls_token": "[ENC]"})
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[ENC] $A [SEP]", pair="[ENC] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[ENC]", start), ("[SEP]", end)]
    )
    side = {"height": image_size, "width": image_size}
    images = BlipImageProcessorPil(size=side, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD))
    return BlipProcessor(images, tokenizer)


def resize_position_table(model: BlipForVQA, image_size: int) -> None:
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


def save_model(model: BlipForVQA, processor: BlipProcessor, folder: str | Path) -> Path:
    """Write `folder` (model.safetensors, config, processor) so that plain transformers loads it.

    Raises RuntimeError when what was written does not read back as it should.
    """
    folder = Path(folder)
    with _quiet():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    path = folder / "config.json"
    written = json.loads(path.read_text())
    written["architectures"] = ["BlipForQuestionAnswering"]
    path.write_text(json.dumps(written, indent=2))
    _check_tokenizer(folder, model)
    return folder


def _check_tokenizer(folder: Path, model: BlipForVQA) -> None:
    read = BertTokenizer.from_pretrained(folder)
    ids = read("a").input_ids
    text = model.config.text_config
    expected = (text.bos_token_id, text.vocab_size - 1, text.sep_token_id)
    if (read.bos_token_id, ids[0], ids[-1]) != expected:
        raise RuntimeError(
            f"the exported tokenizer gives [DEC], first, last token {(read.bos_token_id, ids[0], ids[-1])}, "
            f"the model has {expected}"
        )


class _quiet:
    """No progress bars of transformers: loading takes a second, and notebooks keep every frame."""

    def __enter__(self):
        self.on = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_):
        if self.on:
            transformers_logging.enable_progress_bar()
