"""Which runs are seeds of one recipe: the same settings but for the seed, and the same data.

Where a source has no validation split, one is cut from train by the seed. Then the rows that the seeds trained and
validated on are the same all together, and only the scored split must be the same row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blipvqa.config.recipes import recipe
from blipvqa.errors import UserError
from blipvqa.runs.identity import read_rows, rows_digest
from blipvqa.runs.run import Run

UNREADABLE = (UserError, ValueError, OSError, KeyError, TypeError, AttributeError)  # of a folder that is damaged


@dataclass(frozen=True)
class Scored:
    """An evaluated run, and what it may be pooled by."""

    run: Run
    split: str
    scores: dict  # metrics-<split>.json
    data: str | None  # digest of the rows; None where an older version kept none
    recipe: str

    @property
    def pool(self) -> tuple | None:
        """Equal for seeds of one recipe on the same data; None where that cannot be known."""
        return None if self.data is None else (self.recipe, self.split, self.data)


def scored(run: Run) -> Scored | None:
    """What an evaluated run may be pooled by; None before it is evaluated. Raises what is in UNREADABLE for a damaged
    folder."""
    for split in ("test", "validation"):
        if (run.folder / f"metrics-{split}.json").exists():
            scores = run.metrics(split)
            entries = scores["overall"].values()
            [(entry["value"], entry["n"]) for entry in entries]  # else it is no file of ours
            return Scored(run, split, scores, _data(run, split, scores), recipe(run.scored_config(split)))
    return None


def _data(run: Run, split: str, scores: dict) -> str | None:
    rows, evaluated = read_rows(run.folder), scores.get("data", {})
    if rows is None:
        return evaluated.get("digest")
    if evaluated.get("changes"):  # scored as new data
        return f"{evaluated.get('digest')}, not as in training"
    training = sorted(digest for name in rows if name != split for digest in rows[name].values())
    return rows_digest({split: rows[split], "others": dict(enumerate(training))})


def one_a_seed(runs: Sequence[Scored]) -> list[Scored]:
    """The first run of each seed: a copy of a run is no further seed."""
    first: dict[int, Scored] = {}
    for each in runs:
        first.setdefault(each.run.config.seed, each)
    return list(first.values())


def seeds_of(run: Run) -> list[Scored]:
    """Evaluated runs that are seeds of a run's recipe on its data, itself first; none where that cannot be known.

    A damaged folder beside it does not matter here: the board names it.
    """
    own = scored(run)
    if own is None or own.pool is None:
        return []
    return one_a_seed([own, *(other for other in _beside(run) if other.pool == own.pool)])


def _beside(run: Run) -> Iterator[Scored]:
    for folder in run_folders(run.folder.parent):
        if folder == run.folder:
            continue
        try:
            other = scored(Run(folder))
        except UNREADABLE:
            continue
        if other:
            yield other


def run_folders(outputs: Path) -> list[Path]:
    """The folders in `outputs` that are runs by their settings, by name."""
    return sorted(path.parent for path in outputs.glob("*/config.yaml") if not path.parent.name.startswith("."))
