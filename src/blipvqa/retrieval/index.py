"""`make_index`: a gallery of pictures and texts that can be searched, kept in the folder of the run that made it.

Notable:
- A picture's features are made once, under the digest of its bytes, and a text's under the text: renamed pictures cost
  nothing, new ones are added, and a killed call goes on.
- The model of other weights is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.dataset import VQADataset, load_splits
from blipvqa.data.images import ImageStore
from blipvqa.data.own_pictures import own_dataset, picture_names, rows_of_pictures
from blipvqa.data.texts import text_problem
from blipvqa.errors import InputError, MissingFile
from blipvqa.models.devices import autocast, pick_device, pin_number_formats, prediction_precision
from blipvqa.models.loading import load_model
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.weights import weights_digest
from blipvqa.numbers.grouping import rows_by
from blipvqa.numbers.nearest import Cells
from blipvqa.plural import how_many
from blipvqa.retrieval.batches import text_notes, text_tokens
from blipvqa.retrieval.encoding import EncodedPictures, encode_texts, encoded_rows
from blipvqa.retrieval.feature_files import features_of, refuse_other_weights
from blipvqa.runs.files import remove, sweep, write_lines
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError
from blipvqa.text import normalize
from blipvqa.training.stored import made_by
from blipvqa.training.trained import check_weights

FOLDER = "index"  # in the run folder


@dataclass
class Index:
    """Pictures and texts with their features, and the model that compares them with what is searched for."""

    run: Run
    model: BlipForRetrieval
    processor: Any
    dataset: VQADataset  # whose pictures these are
    picture_rows: list[list[int]]  # of each distinct picture its rows, the first of which names it
    pictures: Tensor  # features [I,D]
    texts: list[str]  # distinct ones
    text_features: Tensor  # [T,D]
    text_rows: dict[str, list[int]]  # of each text, normalized, the rows that say it
    left_out: dict[str, str] = field(default_factory=dict)  # what cannot be read, with what is wrong with it
    cells: dict[str, Cells] = field(default_factory=dict)  # of galleries too large to compare with each, once searched

    def __repr__(self) -> str:
        pictures, texts = how_many(len(self.picture_rows), "picture"), how_many(len(self.texts), "text")
        return f"Index({pictures}, {texts}, run {self.run.name!r})"

    def name(self, picture: int) -> str:
        """What a picture is called: its path inside its folder, or the id of its first row."""
        row = self.picture_rows[picture][0]
        return self.dataset.image_path(row) or self.dataset.rows[row]["id"]

    def image(self, picture: int) -> Image.Image:
        """A picture as it came."""
        return self.dataset.image(self.picture_rows[picture][0])

    def rows(self, picture: int) -> list[dict]:
        """What the source says of a picture: its texts and further columns, a row each."""
        return [self.dataset.rows[row] for row in self.picture_rows[picture]]

    def saying(self, text: int) -> list[dict]:
        """The rows whose caption a text is; none where the texts were given."""
        return [self.dataset.rows[row] for row in self.text_rows.get(normalize(self.texts[text]), [])]

    def encoded(self, pictures: Sequence[int]) -> EncodedPictures:
        """Pictures, or clips, as texts are matched with them."""
        rows = [self.picture_rows[picture][0] for picture in pictures]
        return encoded_rows(self.model, self.dataset, rows, self.run.config.generate.batch_size)


def make_index(
    run: Run,
    source: str | Path | VQADataset,
    *,
    texts: Sequence[str] | None = None,
    skip: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> Index:
    """The index of `source`: a split of the run's data, a folder of pictures, or a data set.

    `texts` are what pictures can be described with; None: the captions of `source`, where it has them. `skip` leaves
    out pictures that cannot be read. `fresh` makes all features anew. Called again with a source that has grown, it
    makes what is new.

    Raises RunError where the run has no retrieval model, or where other weights made the features that are there,
    InputError for texts that are none, MissingFile, and SourceError that names what cannot be read.
    """
    config = _retrieval_config(run)
    _check_texts(texts)
    dataset, left_out = _dataset(config, source, skip)
    folder = run.folder / FOLDER
    with lock(folder):
        sweep(folder)
        if fresh:
            remove(folder)
        refuse_other_weights(folder, made_by(config, weights_digest(run.model_folder, config)))
        model, processor = load_model(str(run.model_folder), config)
        new = dataset if isinstance(source, VQADataset) else None  # of a split of its own the run has told
        told = [row["caption"] for row in (new.rows if new else ()) if "caption" in row] if texts is None else texts
        for note in text_notes("index", processor.tokenizer, told, config.retrieval):
            print(note)
        index = _index(run, config, model, processor, dataset, texts, progress)
        index.left_out = left_out
        rows = [{"name": index.name(i), "image_id": index.rows(i)[0]["image_id"]} for i in range(len(index.pictures))]
        write_lines(folder / f"{_name_of(source)}.jsonl", rows)
    return index


def _check_texts(texts: Sequence[str] | None) -> None:
    """Of one text each letter would be a text, and one without a word lies near nothing."""
    if isinstance(texts, str):
        raise InputError(f"texts: found the one text {texts[:80]!r}, expected a list of texts")
    for text in texts or ():
        if text_problem("text", text):
            raise InputError(f"texts: found {str(text)[:80]!r}, expected texts with a letter or a digit in each")


def _retrieval_config(run: Run) -> Config:
    check_weights(run)
    config = run.config
    if config.task not in ("retrieval", "pretrain"):
        raise RunError(
            f"run '{run.name}' is of task: {config.task}, whose model compares no pictures: give one of task: retrieval"
        )
    return config


def _dataset(config: Config, source: str | Path | VQADataset, skip: bool) -> tuple[VQADataset, dict[str, str]]:
    """A split of the run's data, the pictures of a folder, or a data set at the size of the run's pictures."""
    if isinstance(source, VQADataset):
        place, size = project_path(config.data.cache_dir) / "images", config.model.image_size
        return source.stored_in(ImageStore(place, size, config.data.cache_gigabytes)), {}
    path = project_path(source)
    if path.is_dir():
        names = picture_names(path, config.data)
        dataset, left_out, notes = own_dataset(rows_of_pictures(path, names, [{} for _ in names]), path, config, ())
        if left_out and not skip:
            place, problem = next(iter(left_out.items()))
            raise InputError(
                f"{len(left_out):,} of {len(names):,} pictures cannot be read, such as {place}: {problem}\nMend or "
                "remove them, or have them left out: skip=True."
            )
        for note in notes:
            print(note)
        return dataset, left_out
    if Path(source).name != str(source) or str(source) not in ("train", "validation", "test"):
        raise MissingFile(f"there is no folder '{source}', and it is no split (train, validation, test)")
    splits = load_splits(config)
    if source not in splits:
        raise InputError(f"there is no split '{source}', only {', '.join(splits)}")
    return splits[source], {}


def _name_of(source: str | Path | VQADataset) -> str:
    """What the list of an index's pictures is called."""
    if isinstance(source, VQADataset):
        return f"{source.split}-{hashlib.sha256(str(source.folder).encode()).hexdigest()[:8]}"
    path = project_path(source)
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}" if path.is_dir() else str(source)


def _index(
    run: Run,
    config: Config,
    model: BlipForRetrieval,
    processor,
    dataset: VQADataset,
    texts: Sequence[str] | None,
    progress: bool,
) -> Index:
    device, size, folder = pick_device(), config.generate.batch_size, run.folder / FOLDER
    pin_number_formats(device)
    model.to(device).eval()
    by_picture = rows_by(row["image_id"] for row in dataset.rows)
    text_rows: dict[str, list[int]] = {}
    if texts is None:
        captions = {i: row["caption"] for i, row in enumerate(dataset.rows) if "caption" in row}
        for i, text in captions.items():
            text_rows.setdefault(normalize(text), []).append(i)
        texts = list(captions.values())
    texts = list({normalize(text): text for text in texts}.values())
    picture_rows = list(by_picture.values())

    def of_pictures(positions: list[int]) -> Tensor:
        rows = [picture_rows[position][0] for position in positions]
        return encoded_rows(model, dataset, rows, size, kept_bytes=0).features

    def of_texts(positions: list[int]) -> Tensor:
        chosen = [texts[position] for position in positions]
        return encode_texts(model, text_tokens(processor.tokenizer, chosen, config.retrieval), size)

    width = model.config.image_text_hidden_size
    with autocast(prediction_precision(config, device), device):
        doing = "index pictures" if progress else None
        pictures = features_of(folder, "pictures", list(by_picture), of_pictures, width, doing)
        doing = "index texts" if progress else None
        text_features = features_of(folder, "texts", texts, of_texts, width, doing)
    return Index(run, model, processor, dataset, picture_rows, pictures, texts, text_features, text_rows)
