"""Model folders, which may come from strangers: where they lie, and what is read of them at all.

Notable:
- A folder and a name on the Hub end in the same place: a local folder of the few files named in `READ`. Nothing else
  is opened, no code is run, and no other place is visited, whatever the files ask for.
- `architecture`, `weights` and `tokenizer` read and check one kind of file each. What does not fit is a `ModelError`,
  which names folder, file and entry, before a model is built.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path, project_root
from blipvqa.hub import fetch_model, refusal

INT8 = "model.int8.safetensors"  # of an export that `int8` wrote; beside no other weights
READ = (
    INT8,
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
CALIBRATION = "calibration.json"  # beside them: how sure to be of an answer; no answer depends on it
ANSWER_SETS = "answer_sets.json"  # candidates, and how unlikely one may be to belong to a set
FOREIGN = "foreign.safetensors"  # how train's pictures look to these weights
FETCHED = (*READ, CALIBRATION, ANSWER_SETS, FOREIGN)  # of a model on the Hub
LARGEST_JSON = 64 * 2**20  # bytes; BERT's tokenizer.json takes 0.7 MB


class ModelError(ConfigError):
    """A model folder that is damaged, or holds something else than the BLIP that is expected."""


def check_task(model, expected: type, function: str) -> None:
    """Raise ModelError unless `model` is what `function` works with, one of our classes; adapters around it count."""
    purpose = getattr(model, "purpose", None)
    if purpose != expected.purpose:
        found = f"one for {purpose}" if purpose else f"a {type(model).__name__}"
        raise ModelError(
            f"{function} needs a model for {expected.purpose}, found {found}: load one of its own with load_model"
        )


def model_folder(name_or_path: str, revision: str | None = None, files: Sequence[str] = FETCHED) -> Path:
    """The local folder of a path from the project's root, or of a Hub id (owner/name) at a revision, whose `files` are
    fetched if need be.

    Raises ConfigError where there is neither.
    """
    folder = project_path(name_or_path)
    if folder.is_dir():
        return folder
    if name_or_path.count("/") != 1 or name_or_path.startswith((".", "/", "~")):
        raise ConfigError(
            f"model '{name_or_path}': no such folder, and no Hub id (owner/name). "
            "Give a folder, a Hub id, or 'scratch'."
        )
    try:
        return fetch_model(name_or_path, revision, files)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ConfigError(
            f"model '{name_or_path}' is no folder, and the Hub gave none: {refusal(error, name_or_path, revision)}. "
            "Or give a folder with config.json and model.safetensors."
        ) from None


def refuse_missing_model(name_or_path: str, revision: str | None = None) -> None:
    """Raises ConfigError where there is no such folder or Hub id, or none with a `config.json`; no weights are read."""
    read_json(model_folder(name_or_path, revision, ("config.json",)), "config.json")


def revision_of(name: str | Path, config: Config | None) -> str | None:
    """The revision that a config asks for of the model that it names; None for any other model."""
    return config.model.revision if config is not None and str(name) == config.model.name else None


def called(folder: Path) -> str:
    """What messages call a model folder: its path from the project's root, or its last name."""
    try:
        return f"model '{folder.relative_to(project_root())}'"
    except ValueError:
        return f"model '{folder.name}'"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object of a file in `folder`. Raises ModelError where it is missing, too large or something else."""
    text = read_text(folder, name)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{called(folder)}: {name} is not JSON ({error!s:.120})") from None
    if not isinstance(content, dict):
        raise ModelError(f"{called(folder)}: {name} holds {_kind(content)}, expected a JSON object")
    return content


def read_text(folder: Path, name: str) -> str:
    """The text of a file in `folder`; raises ModelError as `read_json`."""
    path = folder / name
    if not path.is_file():
        raise ModelError(
            f"{called(folder)} has no {name}: give a folder that save_model or transformers' save_pretrained wrote"
        )
    if path.stat().st_size > LARGEST_JSON:
        raise ModelError(f"{called(folder)}: {name} has {path.stat().st_size / 2**20:.0f} MiB, expected at most 64")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ModelError(f"{called(folder)}: {name} cannot be read ({reason})") from None


def _kind(content: Any) -> str:
    return "nothing" if content is None else f"a {type(content).__name__}"
