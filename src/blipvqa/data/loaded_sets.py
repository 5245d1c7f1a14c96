"""What the `datasets` library loads: sets of the Hub, and folders that `save_to_disk` wrote. It takes seconds to
import, which is why `formats` imports this file where a source is such a set."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict
from datasets.naming import camelcase_to_snakecase
from filelock import FileLock
from huggingface_hub.errors import LocalEntryNotFoundError

from blipvqa.data.cache import mark
from blipvqa.data.saved_sets import COMMITS, commits, fetched_commit
from blipvqa.data.split_names import SourceError
from blipvqa.hub import COMMIT, dataset_commit, refusal
from blipvqa.runs.files import write_json

PLAIN_NAME = re.compile(r"[\w-][\w.-]*")


def saved_set(folder: Path, source: str) -> dict[str, Dataset]:
    """What `save_to_disk` wrote into `folder`, by the names that its splits have there."""
    _check_names(folder, source)
    try:
        with _quiet():
            saved = datasets.load_from_disk(str(folder))
    except Exception as error:  # datasets and pyarrow raise many kinds for a folder that is damaged
        reason = " ".join(str(error).replace(str(folder), folder.name).split())[:160]
        raise SourceError(
            f"data.source '{source}' does not load as written by save_to_disk: {reason or type(error).__name__}"
        ) from None
    return dict(saved) if isinstance(saved, DatasetDict) else {"train": saved}


def _check_names(folder: Path, source: str) -> None:
    """A stranger's folder may name files elsewhere: names must be plain."""
    for file, key in ((folder / "dataset_dict.json", "splits"), *((f, "_data_files") for f in _state_files(folder))):
        if not file.is_file():
            continue
        try:
            names = json.loads(file.read_text(encoding="utf-8"))[key]
            names = [name["filename"] if isinstance(name, dict) else name for name in names]
            plain = all(isinstance(name, str) and PLAIN_NAME.fullmatch(name) for name in names)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"{file.name} does not read ({type(error).__name__})"
            raise SourceError(f"data.source '{source}' does not load as written by save_to_disk: {reason}") from None
        if not plain:
            raise SourceError(f"data.source '{source}': {file.name} names files outside their folder")


def _state_files(folder: Path) -> list[Path]:
    return [folder / "state.json", *sorted(folder.glob("*/state.json"))]


def hub_set(source: str, revision: str | None, cache: Path, subset: str | None = None) -> dict[str, Dataset]:
    """A set from the Hub at a revision (None: main); what is downloaded lies in `cache`, by its commit.

    Of a set with several configurations it is `subset`, and without it the one that the set calls its default.
    """
    mark(cache)
    place = cache / f"subset {subset}" if subset else cache  # so that none is taken for another
    try:
        with FileLock(cache / "hub.lock"), _quiet():
            commit = _commit(source, revision, cache, place)
            if not _cached(source, commit, place):
                datasets.load_dataset(source, subset, revision=commit, cache_dir=str(place))
            # The library names its locks by the absolute path of the cache. Ours keeps others out while they go.
            for lock in place.glob("*.lock"):
                if lock.name != "hub.lock":
                    lock.unlink(missing_ok=True)
            return _read_cached(_cached(source, commit, place))
    except ValueError as error:
        names = re.search(r"\[.*\]", str(error))
        if names is None or "config" not in str(error).lower():  # the library has no kind of error of its own for this
            raise SourceError(f"data.source '{source}' does not load: {refusal(error, source, revision)}") from None
        asked = f"has no '{subset}'" if subset else "holds several sets"
        raise SourceError(f"data.source '{source}' {asked}: set data.subset to one of {names[0]}") from None
    except Exception as error:  # no connection, no such set, gated, offline mode: each is said in its own words
        raise SourceError(
            f"data.source '{source}' is no folder, and the Hub gave none: {refusal(error, source, revision)}. Or give "
            "a folder with train.parquet, train.jsonl or train.csv."
        ) from None


def _commit(source: str, revision: str | None, cache: Path, place: Path) -> str:
    """What the Hub says that the name means, which is kept for when it says nothing. A commit stays what it is."""
    if revision and COMMIT.fullmatch(revision) and _cached(source, revision, place):
        commit = revision
    else:
        commit = dataset_commit(source, revision) or fetched_commit(source, revision, cache)
    if commit is None:
        raise LocalEntryNotFoundError("neither the Hub nor the cache")
    write_json(cache / COMMITS, commits(cache) | {f"{source}@{revision or 'main'}": commit})
    return commit


def _cached(source: str, commit: str, cache: Path) -> Path | None:
    """Where the library keeps the set at a commit: it puts a whole folder there, or none."""
    owner, name = source.split("/")
    return next(iter(sorted(cache.glob(f"{owner}___{camelcase_to_snakecase(name)}/*/*/{commit}"))), None)


def _read_cached(folder: Path) -> dict[str, Dataset]:
    names = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))["splits"]
    return {
        name: datasets.concatenate_datasets(
            [
                Dataset.from_file(str(file))
                for file in sorted([*folder.glob(f"*-{name}.arrow"), *folder.glob(f"*-{name}-*-of-*.arrow")])
            ]
        )
        for name in names
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars of `datasets`, and without its warnings on ports of the Hub that are in nobody's way."""
    bars, logger = datasets.are_progress_bars_disabled(), logging.getLogger("datasets")
    level = logger.level
    datasets.disable_progress_bars()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
