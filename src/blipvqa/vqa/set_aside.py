"""Which validation questions choose the epoch, and which are set aside from every choice.

Where answers are ranked, half of validation's groups (images, or patients), drawn from the seed, choose neither the
epoch nor the temperature: answer sets are calibrated on them (`conformal`). Where half would not do for the strictest
set, none is set aside: an epoch chosen by half of a small split would be all that comes of it. Training notes in
`history.jsonl` how many it set aside. Of a run that set none aside, what `train.evaluate_questions` did not reach is
apart all the same.
"""

from __future__ import annotations

import random

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import VQADataset
from blipvqa.numbers.conformal import fewest_groups
from blipvqa.numbers.grouping import rows_by
from blipvqa.runs.run import Run
from blipvqa.vqa.conformal import LEVELS

SHARE = 0.5  # of validation's groups


def groups_aside(data: VQADataset, config: Config) -> set[str]:
    """The groups that training sets aside: half of them, where it ranks and these are enough; else none."""
    groups = sorted({row[config.data.group] for row in data.rows})
    count = int(SHARE * len(groups))
    if config.generate.method != "rank" or count < fewest_groups(max(LEVELS)):
        return set()
    random.Random(f"{config.seed}/set aside").shuffle(groups)
    return set(groups[:count])


def epoch_rows(data: VQADataset, config: Config, aside: set[str]) -> list[int]:
    """Rows that choose the epoch: whole images, drawn until there are `train.evaluate_questions` (None: every row),
    in the split's order; of `aside` none."""
    allowed = [i for i, row in enumerate(data.rows) if not aside or row[config.data.group] not in aside]
    return [allowed[k] for k in choose_images(data.chosen(allowed), config.train.evaluate_questions, config.seed)]


def rows_aside(data: VQADataset, run: Run) -> list[int]:
    """Rows of validation whose group had no part in choosing the run's epoch."""
    config = run.config
    noted = any(row.get("set_aside") for row in run.history if row["type"] == "epoch")
    chose = epoch_rows(data, config, groups_aside(data, config) if noted else set())
    groups = {data.rows[i][config.data.group] for i in chose}
    return [i for i, row in enumerate(data.rows) if row[config.data.group] not in groups]


def choose_images(data: VQADataset, questions: int | None, seed: int) -> list[int]:
    """Rows of whole images, drawn until there are at least `questions` (None: every row), in the split's order."""
    if questions is None or questions >= len(data):
        return list(range(len(data)))
    by_image = rows_by(row["image_id"] for row in data.rows)
    images = sorted(by_image)
    random.Random(f"{seed}/validation").shuffle(images)
    chosen: list[int] = []
    for image in images:
        if len(chosen) >= questions:
            break
        chosen += by_image[image]
    return sorted(chosen)
