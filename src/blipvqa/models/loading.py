"""Models and their processors: loading and exporting.

Notable:
- The exported folder works in plain transformers: [ENC] and [DEC] are in its tokenizer, its position table is the
  one in use, its architecture is the library's (docs/facts.md 1.9, 1.11, 1.12). Every export is read back and compared.
- Weights come from safetensors only, and stay fp32 while they are trained (docs/facts.md 1.17).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import BertTokenizer, BlipConfig, BlipProcessor, PreTrainedModel
from transformers.utils import logging as transformers_logging

from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.models.adjust import apply_settings, resize_position_table
from blipvqa.models.architecture import read_architecture
from blipvqa.models.classes import class_of, class_of_folder
from blipvqa.models.folders import INT8, called, model_folder, revision_of
from blipvqa.models.int8 import read_int8, to_int8
from blipvqa.models.pairs import BlipForPairs
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.models.scratch import new_model
from blipvqa.models.together import put_together, start_lines
from blipvqa.models.tokenizer import check_pictures, make_processor, read_tokenizer
from blipvqa.models.versions import check_transformers
from blipvqa.models.weights import read_weights


def load_model(
    name_or_path: str | Towers, config: Config | None = None, texts: Iterable[str] | None = None
) -> tuple[PreTrainedModel, BlipProcessor]:
    """A model in fp32 on the CPU, in `eval()` mode, and its processor.

    `name_or_path`: Hub id, local folder, "scratch", which needs `config` and `texts`, those of the train split: its
    vocabulary is learnt from them; or the folders of a model that is put together, which needs `config`. With a config
    the position table is baked at `model.image_size`, and dropout and label smoothing are the config's; LoRA is added
    by the training loop. The class is that of the config's task; without a config, that of the folder's
    `architectures`. `start` of a model that began as another one says which weights were taken, and which are new.
    Raises ConfigError when there is no such model, and ModelError when its folder is damaged, is no BLIP for the
    task, or asks for more than to be read.
    """
    check_transformers()
    if name_or_path == "scratch":
        if config is None or texts is None:
            raise ConfigError(
                "load_model('scratch') needs a config, for its sizes, and texts, for its vocabulary: "
                "load_model('scratch', config, texts=load_splits(config)['train'].texts)"
            )
        return new_model(class_of(config.task), config, texts)
    if isinstance(name_or_path, Towers):
        return _together(name_or_path, config)
    folder = model_folder(name_or_path, revision_of(name_or_path, config))
    model_config = read_architecture(folder)
    tokenizer = read_tokenizer(folder, model_config)
    check_pictures(folder)
    model_class, stored_class = class_of(config.task) if config else class_of_folder(folder), class_of_folder(folder)
    if model_class is not stored_class and hasattr(model_config, "own_settings"):
        del model_config.own_settings  # of another task's run
    whole_numbers, start = (folder / INT8).is_file(), []
    begins_pairs = model_class is BlipForPairs and stored_class is not BlipForPairs
    if begins_pairs:
        model_class = stored_class
    if model_class is not BlipForPretraining and stored_class is BlipForPretraining:
        weights = read_weights(folder, model_config, BlipForPretraining)
        weights, start = _fitted(weights, dict.fromkeys(weights, called(folder)), model_config, model_class)
    else:
        weights = (read_int8 if whole_numbers else read_weights)(folder, model_config, model_class)
    model, size = _filled(model_class, model_config, weights, config, called(folder))
    if begins_pairs:
        model, start = _as_pairs(model, dict.fromkeys(weights, called(folder)), config.seed)
    if whole_numbers:
        to_int8(model)
    model.folder, model.start = folder, start  # the folder is where `ask` reads the calibration
    return model.eval(), make_processor(tokenizer, size)


def _together(towers: Towers, config: Config | None) -> tuple[PreTrainedModel, BlipProcessor]:
    """As `load_model`, of a model that is put together."""
    if config is None:
        raise ConfigError("a model that is put together needs a config: for its task, and the seed of what is new")
    model_config, tokenizer, weights, origins = put_together(towers, config.seed)
    pairs = config.task == BlipForPairs.task
    model_class = BlipForPretraining if pairs else class_of(config.task)
    fitted, start = _fitted(weights, origins, model_config, model_class)
    model, size = _filled(model_class, model_config, fitted, config, "the model that is put together")
    if pairs:
        model, start = _as_pairs(model, origins, config.seed)
    model.start = start
    return model.eval(), make_processor(tokenizer, size)


def _as_pairs(model: PreTrainedModel, origins: Mapping[str, str], seed: int) -> tuple[BlipForPairs, list[str]]:
    """The model of pairs that begins as `model`, and lines on where its weights came from: `origins` by the names of
    that one's."""
    pairs = BlipForPairs.begun_from(model, seed)
    names = pairs.state_dict().keys()
    taken = BlipForPairs.fitted(origins, names)
    left = origins.keys() - set(taken.values())
    return pairs, start_lines(names, {name: origins[theirs] for name, theirs in taken.items()}, left)


def _fitted(
    weights: dict[str, Tensor], origins: Mapping[str, str], model_config: BlipConfig, model_class: type[PreTrainedModel]
) -> tuple[dict[str, Tensor], list[str]]:
    """Of pre-training's weights all that a model of a task has, and lines on where they came from."""
    with torch.device("meta"):  # names without memory
        names = model_class(model_config).state_dict().keys()
    taken = BlipForPretraining.fitted(weights, names)
    left = weights.keys() - set(taken.values())
    # cloned, or two towers of the new model would stay one
    fitted = {name: weights[theirs].clone() for name, theirs in taken.items()}
    told = {name: origins[theirs] for name, theirs in BlipForPretraining.fitted(origins, names).items()}
    return fitted, start_lines(names, told, left)


def _filled(
    model_class: type[PreTrainedModel],
    model_config: BlipConfig,
    weights: dict[str, Tensor],
    config: Config | None,
    named: str,
) -> tuple[PreTrainedModel, int]:
    """The model with these weights and the config's settings, and how many pixels a side it takes."""
    if config is not None:
        apply_settings(model_config, config)
    before = {name: _mark_of(read) for name, read in weights.items()}
    with _quiet():
        model = model_class.from_pretrained(None, config=model_config, state_dict=weights, dtype=torch.float32)
    _check_loaded(named, model, before)
    size = config.model.image_size if config else model.config.vision_config.image_size
    resize_position_table(model, size)
    return model, size


def _mark_of(tensor: Tensor) -> int:
    """What another content of an fp32 tensor changes."""
    return int(np.bitwise_xor.reduce(tensor.detach().numpy().ravel().view(np.uint32)))


def _check_loaded(named: str, model: PreTrainedModel, before: Mapping[str, int]) -> None:
    """Raises RuntimeError where a weight is not what was read, by the marks of `before`: some versions of
    transformers draw shared ones anew, with a line in the log only; the model's tensors are those that were read."""
    state, tied = model.state_dict(), model.all_tied_weights_keys
    other = [name for name, mark in before.items() if name not in tied and _mark_of(state[name]) != mark]
    if other:
        raise RuntimeError(
            f"{named}: transformers {transformers.__version__} changed {len(other)} weights while loading, "
            f"{other[0]} among them: install a version that `make test-versions` admits"
        )


def load_processor(name_or_path: str) -> BlipProcessor:
    """The processor of a model that a folder or the Hub holds, without its weights."""
    folder = model_folder(name_or_path)
    architecture = read_architecture(folder)
    return make_processor(read_tokenizer(folder, architecture), architecture.vision_config.image_size)


def save_model(model: PreTrainedModel, processor: BlipProcessor, folder: str | Path) -> Path:
    """Write `folder` (model.safetensors, config, processor) so that plain transformers loads it.

    Raises RuntimeError when what was written does not read back as it should.
    """
    folder = Path(folder)
    with _quiet():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    path = folder / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["architectures"] = [model.architecture]
    path.write_text(json.dumps(written, indent=2), encoding="utf-8")
    _check_tokenizer(folder, model)
    return folder


def _check_tokenizer(folder: Path, model: PreTrainedModel) -> None:
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
