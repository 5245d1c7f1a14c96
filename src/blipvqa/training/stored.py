"""What a run's model said, kept in its folder as long as what made it stays the same; and the model, loaded once.

A fingerprint of content stands beside each file. What is stored is used again only where all of it is equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits
from blipvqa.data.images import DECODER
from blipvqa.errors import DamagedFile
from blipvqa.models.devices import pick_device
from blipvqa.models.loading import load_model
from blipvqa.models.pictures import KeptStates
from blipvqa.models.weights import weights_digest
from blipvqa.runs.files import (
    flush_folder,
    read_json,
    read_lines,
    remove,
    replacing_folder,
    write_json,
    write_lines,
)
from blipvqa.runs.run import Run, RunError
from blipvqa.runs.seals import digest_of_file, digest_of_folder
from blipvqa.training.shares import is_first, of_first

CONTENT = "content"  # the digest of the rows: what was edited is made again


def made_by(config: Config, weights: str) -> dict:
    """What anything that a run's weights, of this digest, say of pictures depends on."""
    return {
        "weights": weights,
        "precision": config.generate.precision or config.train.precision,
        "image_size": config.model.image_size,
        "pictures": DECODER,
    }


class ModelsOfRun:
    """The trained weights of a run, and those that training began with; one model is held at a time.

    On a CPU the states of pictures are kept from one pass over a split to the next, up to `data.cache_gigabytes`, and
    for both models where training left the vision tower as it was. A GPU encodes a picture in less time than its
    digest takes.
    """

    def __init__(self, config: Config, run: Run, splits: Splits):
        self.config, self.run, self.texts = config, run, splits["train"].texts
        self.models: dict[bool, tuple] = {}
        self.digests: dict[bool, str] = {}  # computed once: they read every weight
        self.kept = KeptStates(run.folder, int(config.data.cache_gigabytes * 1e9))

    def load(self, start: bool = False) -> tuple:
        """Model and processor; with `start`, of the weights that training began with."""
        if start not in self.models:
            self.models = {}  # they may be large: the other goes before this one comes
            model, processor = load_model(self._source(start), self.config, self.texts)
            if pick_device().type == "cpu":
                model.keep_states(self.kept, weights_digest(model.vision_model))
            self.models = {start: (model, processor)}
        return self.models[start]

    def digest(self, start: bool = False) -> str:
        """A fingerprint of these weights by content."""
        if start not in self.digests:
            self.digests[start] = weights_digest(self._source(start), self.config, self.texts)
        return self.digests[start]

    def made_by(self, start: bool = False) -> dict:
        """What anything that these weights say depends on, whatever they are asked."""
        return made_by(self.config, self.digest(start))

    def say_kept(self) -> None:
        """What the states that were kept took of the disk, for people."""
        if self.kept.places:
            print(f"{self.run.name}: {self.kept}")

    def _source(self, start: bool) -> str | Towers:
        return self.config.model.name if start else str(self.run.model_folder)


def stored(folder: Path, name: str, made_of: Mapping, make: Callable[[], list[dict]]) -> list[dict]:
    """The rows of `folder/name.jsonl` where they were made of `made_of`, which JSON can hold; else those of `make()`,
    which are then kept. Of several processes (`shares`) each gets the rows, and calls `make` where there are none."""
    file, made_by = folder / f"{name}.jsonl", folder / f"{name}.json"
    made_of = json.loads(json.dumps(made_of, default=str))
    rows = of_first(lambda: _read(file, made_by, made_of))
    if rows is None:
        rows = make()
        if is_first():
            write_lines(file, rows)
            write_json(made_by, made_of | {CONTENT: digest_of_file(file)})
    return rows


def _read(file: Path, made_by: Path, made_of: Mapping) -> list[dict] | None:
    """The rows of `file`; None, and the mark of what made them is gone, where they are of something else."""
    with suppress(DamagedFile):
        if made_by.exists() and file.exists() and read_json(made_by) == made_of | {CONTENT: digest_of_file(file)}:
            return read_lines(file)
    if made_by.exists():
        remove(made_by)
        flush_folder(made_by.parent)  # else a power cut brings it back, beside rows that it did not make
    return None


def stored_folder(
    folder: Path, made_of: Mapping, write: Callable[[Path], None], may_replace: Callable[[], None] = lambda: None
) -> None:
    """`folder` as `write` fills it, left alone where it was made of `made_of`, which `folder.json` beside it says.

    `may_replace` raises where a folder that was made of something else must stay. Raises RunError where somebody edited
    what was written: it would be learnt as ours, or lost.
    """
    beside = folder.with_name(f"{folder.name}.json")
    if folder.is_dir() and beside.exists():
        before = read_json(beside)
        if {key: value for key, value in before.items() if key != CONTENT} == made_of:
            if CONTENT in before and before[CONTENT] != digest_of_folder(folder):  # an older version kept none
                raise RunError(
                    f"'{folder.parent.name}/{folder.name}' is not what was written there: a file in it was changed, "
                    "added or removed. Put it back, or move the folder away, and it is written anew."
                )
            return
    if folder.is_dir():
        may_replace()
    remove(beside)
    with replacing_folder(folder) as place:
        write(place)
    write_json(beside, {**made_of, CONTENT: digest_of_folder(folder)})


def content_digest(value) -> str:
    """A sha256, in hex, of anything that JSON can hold, and of rows."""
    return hashlib.sha256(json.dumps(value, default=_plain).encode()).hexdigest()


def _plain(value):
    return list(value) if isinstance(value, Sequence) else str(value)
