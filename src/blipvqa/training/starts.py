"""What a run's beginning had learnt: rows that it holds out, in the training of the runs whose exports it began with.

Notable:
- Rows are compared by the digests that every run's folder keeps (`data.json`): the same picture's bytes, texts and
  further columns. A picture under other texts is not known so: `data.without` leaves such out before they are learnt.
- Runs are followed from start to start. What came from elsewhere (the Hub, a copied folder) tells nothing.
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
from blipvqa.plural import of_all
from blipvqa.runs.identity import read_rows
from blipvqa.runs.run import Run


def learnt_before(config: Config, splits: Mapping[str, VQADataset], split: str) -> list[str]:
    """A line for each run that the run of `config` began with, and that was trained on rows of its held-out `split`."""
    if split == "train":
        return []
    digests, lines = list(fingerprint({split: splits[split]})[split].values()), []
    for run in _starts(config):
        learnt = set((read_rows(run.folder) or {}).get("train", {}).values())
        if count := sum(digest in learnt for digest in digests):
            lines.append(
                f"{split}: {of_all(count, len(digests), 'row', 'was', 'were')} learnt by run '{run.name}', with whose "
                "weights this run began: its scores promise too much. Hold out the same rows in both "
                "(data.validation_seed), or let data.without of that run name this data"
            )
    return lines


def _starts(config: Config) -> Iterator[Run]:
    """The runs whose exports training began with, those that they began with, and so on."""
    names, seen = list(names_of(config.model.name)), {config.folder}
    while names:
        export = project_path(names.pop())
        run = Run(export.parent)
        if not export.is_dir() or run.folder in seen or not run.exists:
            continue
        seen.add(run.folder)
        with suppress(UserError):  # a folder of another version, or damaged: what it learnt is not known
            names += names_of(run.config.model.name)
            yield run
