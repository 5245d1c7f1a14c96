"""What a person takes away of a run's model: a smaller export for a CPU, and the Hub.

Notable:
- Only files of a model leave this machine, by a list of names. Rows, pictures and predictions have no name on it, and a
  folder that holds anything else is refused, not thinned out.
- `push` sends nothing unless it is told to; what it would send is shown first.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from blipvqa.errors import InputError
from blipvqa.hub import reachable, refusal
from blipvqa.models.folders import ANSWER_SETS, CALIBRATION, FOREIGN, INT8, READ
from blipvqa.models.int8 import FOLDER, linear_weights, save_int8
from blipvqa.models.loading import load_model
from blipvqa.models.weights import read_weights, weights_digest
from blipvqa.runs.files import replacing_folder
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError
from blipvqa.training.trained import check_weights
from blipvqa.vqa.calibration import read_calibration

FILES = (*READ, CALIBRATION, "README.md", "generation_config.json", "special_tokens_map.json")  # of a model, no more
STAY = {FOREIGN: "the pictures", ANSWER_SETS: "the answers"}  # of train, of which these are made
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
INT8_CARD = """# {name}, in whole numbers of 8 bits

**This is no medical device.** Made of the run's `model/` for a CPU; its card has the numbers. Only `blipvqa` reads it:

```python
from blipvqa import ask, load_model

model, processor = load_model("this-folder")
```
"""


def export_int8(run: Run) -> Path:
    """Write `model-int8/` of a run beside its `model/`, and return it. Raises RunError without a model."""
    with lock(run.folder):  # or a training that goes on exchanges the weights between two looks
        check_weights(run)
        model, _ = load_model(str(run.model_folder))
        weights = read_weights(run.model_folder, model.config, type(model))
        folder = run.folder / FOLDER
        with replacing_folder(folder) as beside:
            beside.mkdir(exist_ok=True)
            for path in run.model_folder.iterdir():
                if _is_of_a_model(path) and not path.name.endswith((".safetensors", ".index.json", "README.md")):
                    shutil.copyfile(path, beside / path.name)
            linear, made_of = linear_weights(model.config, type(model)), weights_digest(run.model_folder)
            save_int8(weights, linear, beside / INT8, made_of)
            (beside / "README.md").write_text(INT8_CARD.format(name=run.name), encoding="utf-8")
    return folder


def push(run: Run, repository: str, send: bool = False) -> list[str]:
    """Lines that say what of `run` goes to `repository` (owner/name) on the Hub; with `send` it goes there.

    A repository that is made for it is private. Raises RunError for a run that is not finished, and InputError where
    the folder holds what is no file of a model, or the Hub refuses.
    """
    if not HUB_ID.fullmatch(repository):
        raise InputError(f"repository '{repository}' is no Hub id: give owner/name")
    with lock(run.folder):
        check_weights(run)
        if not run.finished:
            raise RunError(f"run '{run.name}' is not finished: start it again, and it goes on")
        files = sorted(path for path in run.model_folder.iterdir() if path.name not in STAY)
        strangers = [path.name for path in files if not _is_of_a_model(path)]
        if strangers:
            raise InputError(
                f"{run.name}/model holds {', '.join(strangers[:5])}{', …' * (len(strangers) > 5)}, which is no file of "
                "a model and may hold data: move it elsewhere. Nothing was sent."
            )
        load_model(str(run.model_folder))  # weights by name, shape and value: what is called so is a model
        read_calibration(run.model_folder)
        lines = [f"{repository}: {path.name}, {path.stat().st_size / 1e6:,.2f} MB" for path in files]
        lines += [
            f"{name} stays here: it is made of {what} of train."
            for name, what in STAY.items()
            if (run.model_folder / name).exists()
        ]
        if run.config.model.name == "scratch":
            lines.append("Its vocabulary was learnt from the texts of train: tokenizer.json holds words of them.")
        if not send:
            return [*lines, "Nothing was sent. Read README.md, then add SEND=1 (in a shell --send)."]
        return [*lines, f"sent: {_send(run.model_folder, repository, [path.name for path in files])}"]


def _send(folder: Path, repository: str, files: list[str]) -> str:
    if not reachable():
        raise InputError(f"'{repository}': the Hub cannot be reached. Nothing was sent.")
    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise InputError(f"'{repository}': the Hub took nothing: {refusal(error, repository, None)}") from None


def _is_of_a_model(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and any(path.match(pattern) for pattern in FILES)
