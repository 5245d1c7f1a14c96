"""What a run's beginning had learnt: rows that it holds out, in the training of the runs whose exports it began with.

Notable:
- Rows are compared by the digests that every run's folder keeps (`data.json`): the same picture's bytes, texts and
  further columns. A picture under other texts is not known so: `data.without` leaves such out before they are learnt.
- Runs are followed from start to start, those of a soup each. A start is known by its weights, so that one in a copied
  or renamed folder of this project is, too. What came from elsewhere (the Hub) tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from blipvqa.config.kinds import names_of
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.dataset import VQADataset
from blipvqa.data.fingerprint import fingerprint
from blipvqa.errors import UserError
from blipvqa.models.weights import weights_digest
from blipvqa.plural import of_all
from blipvqa.runs.identity import read_rows
from blipvqa.runs.run import Run


def learnt_before(config: Config, splits: Mapping[str, VQADataset], split: str) -> list[str]:
    """A line for each run that the run of `config` began with, and that was trained on rows of its held-out `split`."""
    if split == "train":
        return []
    digests, lines = list(fingerprint({split: splits[split]})[split].values()), []
    for run in _starts(config):
        learnt = _learnt_by(run)
        if count := sum(digest in learnt for digest in digests):
            lines.append(
                f"{split}: {of_all(count, len(digests), 'row', 'was', 'were')} learnt by run '{run.name}', with whose "
                "weights this run began: its scores promise too much. Hold out the same rows in both "
                "(data.validation_seed), or let data.without of that run name this data"
            )
    return lines


def _learnt_by(run: Run) -> set[str]:
    """The digests of the rows that a run was trained on: none where it took no step."""
    trained = run.state.get("step", 1) or "soup" in run.state
    return set((read_rows(run.folder) or {}).get("train", {}).values()) if trained else set()


def _starts(config: Config) -> Iterator[Run]:
    """The runs whose exports training began with, those that they began with, and so on."""
    waiting, seen = [(Run(config.folder), config)], {config.folder}
    while waiting:
        for start in _starts_of(*waiting.pop()):
            if start.folder not in seen:
                seen.add(start.folder)
                with suppress(UserError):  # a folder of another version, or damaged: what it learnt is not known
                    waiting.append((start, start.config))
                    yield start


def _starts_of(run: Run, config: Config) -> Iterator[Run]:
    """The runs whose exports `run`, of `config`, began with itself."""
    began = run.state.get("start") if isinstance(config.model.name, str) else None  # a digest; of older runs none
    for name in [*names_of(config.model.name), *(f"outputs/{member}/model" for member in run.state.get("soup", ()))]:
        export = project_path(name)
        named = Run(export.parent)
        if export.is_dir() and named.exists and began in (None, _weights_of(named)):
            yield named
        elif weights := began or (weights_digest(name) if export.is_dir() else None):
            yield from (other for other in _runs() if _weights_of(other) == weights)


def _runs() -> list[Run]:
    return [Run(file.parent) for file in sorted(project_path("outputs").glob("*/state.json"))]


def _weights_of(run: Run) -> str | None:
    """The digest of what a run exported; None where its folder does not say."""
    with suppress(UserError):
        return run.state.get("weights")
    return None
