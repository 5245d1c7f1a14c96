"""Models and their processors: loading and exporting.

Notable:
- The exported folder works in plain transformers: [ENC] and [DEC] are in its tokenizer, its position table is the
  one in use, its architecture is the library's (docs/facts.md 1.9, 1.11, 1.12). Every export is read back and compared.
- Weights come from safetensors only, and stay fp32 while they are trained (docs/facts.md 1.17).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import BertTokenizer, BlipConfig, BlipProcessor, PreTrainedModel
from transformers.utils import logging as transformers_logging

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.models.adjust import apply_settings, resize_position_table
from blipvqa.models.architecture import read_architecture
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.folders import INT8, called, model_folder, read_json, revision_of
from blipvqa.models.int8 import read_int8, to_int8
from blipvqa.models.pretraining import BlipForPretraining
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.scratch import new_model
from blipvqa.models.tokenizer import check_pictures, make_processor, read_tokenizer
from blipvqa.models.vqa import BlipForVQA
from blipvqa.models.weights import read_weights

MODELS = (BlipForVQA, BlipForCaptioning, BlipForRetrieval, BlipForPretraining)


def load_model(
    name_or_path: str, config: Config | None = None, texts: Iterable[str] | None = None
) -> tuple[PreTrainedModel, BlipProcessor]:
    """A model in fp32 on the CPU, in `eval()` mode, and its processor.

    `name_or_path`: Hub id, local folder, or "scratch", which needs `config` and `texts`, those of the train split: its
    vocabulary is learnt from them. With a config the position table is baked at `model.image_size`, and dropout and
    label smoothing are the config's; LoRA is added by the training loop. The class is that of the config's task;
    without a config, that of the folder's `architectures`.
    Raises ConfigError when there is no such model, and ModelError when its folder is damaged, is no BLIP for the
    task, or asks for more than to be read.
    """
    if name_or_path == "scratch":
        if config is None or texts is None:
            raise ConfigError(
                "load_model('scratch') needs a config, for its sizes, and texts, for its vocabulary: "
                "load_model('scratch', config, texts=load_splits(config)['train'].texts)"
            )
        return new_model(_class_of(config.task), config, texts)
    folder = model_folder(name_or_path, revision_of(name_or_path, config))
    model_config = read_architecture(folder)
    tokenizer = read_tokenizer(folder, model_config)
    check_pictures(folder)
    model_class = _class_of(config.task) if config else _class_of_folder(folder)
    whole_numbers = (folder / INT8).is_file()
    if model_class is not BlipForPretraining and _class_of_folder(folder) is BlipForPretraining:
        weights = _pretrained(folder, model_config, model_class)
    else:
        weights = (read_int8 if whole_numbers else read_weights)(folder, model_config, model_class)
    if config is not None:
        apply_settings(model_config, config)
    with _quiet():
        model = model_class.from_pretrained(None, config=model_config, state_dict=weights, dtype=torch.float32)
    _check_loaded(folder, model, weights)
    size = config.model.image_size if config else model.config.vision_config.image_size
    resize_position_table(model, size)
    if whole_numbers:
        to_int8(model)
    model.folder = folder  # where `ask` reads the calibration
    return model.eval(), make_processor(tokenizer, size)


def _check_loaded(folder: Path, model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Raises RuntimeError where transformers put another tensor in the place of one that was read: some versions draw
    shared ones anew, with a line in the log only."""
    state, tied = model.state_dict(), model.all_tied_weights_keys
    other = [name for name, read in weights.items() if name not in tied and not torch.equal(state[name], read)]
    if other:
        raise RuntimeError(
            f"{called(folder)}: transformers {transformers.__version__} changed {len(other)} weights while loading, "
            f"{other[0]} among them: install a version that `make test-versions` admits"
        )


def _pretrained(folder: Path, model_config: BlipConfig, model_class: type[PreTrainedModel]) -> dict[str, Tensor]:
    """Of a pre-trained model's weights all that a model of another task has."""
    with torch.device("meta"):  # names without memory
        names = model_class(model_config).state_dict().keys()
    return BlipForPretraining.fitted(read_weights(folder, model_config, BlipForPretraining), names)


def _class_of(task: str) -> type[PreTrainedModel]:
    return next(each for each in MODELS if each.task == task)


def _class_of_folder(folder: Path) -> type[PreTrainedModel]:
    """What its config.json says it is; questions and answers where it says nothing that is read here."""
    architectures = read_json(folder, "config.json").get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return next((each for each in MODELS if each.architecture in names), BlipForVQA)


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
