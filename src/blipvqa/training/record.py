"""What training leaves behind in the run folder: logs, checkpoints, the best weights, the environment; and trackers.

Notable:
- Only the main process writes; the others wait where they must not run ahead of a file.
- A log is cut back to what the checkpoint knew when a run goes on: what came after it comes again.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from accelerate import Accelerator
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.config.reading import settings_difference
from blipvqa.data.dataset import Splits
from blipvqa.data.saved_sets import fetched_commit
from blipvqa.hub import commit_of
from blipvqa.models.adapters import has_adapters, merged, save_adapter
from blipvqa.models.devices import describe_device, pick_precision
from blipvqa.models.loading import save_model
from blipvqa.models.weights import tensors_digest, weights_digest
from blipvqa.runs.environment import describe_environment
from blipvqa.runs.files import append_lines, cut_log, flush_logs, replacing_folder, write_json
from blipvqa.runs.identity import read_rows, rows_digest
from blipvqa.runs.run import Run, RunError, indented
from blipvqa.runs.seals import write_sealed
from blipvqa.training.checkpoints import (
    check_space,
    load_checkpoint,
    remove_orphans,
    restore,
    save_checkpoint,
    trainable,
)
from blipvqa.training.cut_texts import cut_notes
from blipvqa.training.progress import LOGS, Progress
from blipvqa.training.task import Collator, Task


class Record:
    """The run folder as training writes it."""

    def __init__(
        self,
        config: Config,
        task: Task,
        accelerator: Accelerator,
        run: Run,
        model: torch.nn.Module,
        processor,
        optimizer: torch.optim.Optimizer,
        remembered: dict[str, Tensor],
    ):
        self.config, self.task, self.accelerator, self.run = config, task, accelerator, run
        self.model, self.processor, self.optimizer, self.remembered = model, processor, optimizer, remembered
        if self.main:
            check_space(run.folder, model, config.train.keep_checkpoints, remembered)

    @property
    def main(self) -> bool:
        return self.accelerator.is_main_process

    def resume(self, fresh: Progress) -> Progress:
        """The last checkpoint into model and optimizer, and how far it was; `fresh` where there is none."""
        tensors, state, notes = load_checkpoint(self.run.folder / "checkpoints")
        fresh.frozen, fresh.made_by = self._frozen(), self._made_by()
        progress = fresh
        if not tensors and self.run.finished:
            raise RunError(
                f"run '{self.run.name}' is finished and its checkpoints are gone, so it cannot train further: put "
                f"'{self.run.name}/checkpoints' back, or give the longer training another name."
            )
        if not tensors and self.run.state.get("step"):
            notes.append(f"{self.run.name}: no checkpoint can be read; training starts anew")
        if tensors:
            self._check_base()
            progress = Progress(**state)
            self._check_made_by(progress, fresh)
            self._check_frozen(progress, fresh)
            restore(tensors, self.model, self.optimizer, self.remembered)
            if self.accelerator.scaler is not None and progress.scaler:
                self.accelerator.scaler.load_state_dict(progress.scaler)
            notes.append(f"{self.run.name}: going on after step {progress.step}")
        if self.main:
            remove_orphans(self.run.folder / "checkpoints")
            for name in LOGS:
                cut_log(self.run.folder / name, progress.rows[name])
        for note in notes:
            self.accelerator.print(note)
        self.accelerator.wait_for_everyone()
        return progress

    def environment(self, splits: Splits, collator: Collator) -> None:
        """environment.json: versions, device, sizes, and what is known of the data, which is printed too."""
        if not self.main:
            return
        start = getattr(self.model, "start", [])
        cut = {split: collator.count_cut(data.rows) for split, data in splits.items()}
        for note in (*splits.notes, *cut_notes(self.config.task, cut), *start):
            print(note)
        device = self.accelerator.device
        weights = {
            "weights": sum(p.numel() for p in self.model.parameters()),
            "trained": sum(p.numel() for p in trainable(self.model).values()),
        }
        write_json(
            self.run.folder / "environment.json",
            describe_environment(
                self.config,
                device=describe_device(device),
                processes=self.accelerator.num_processes,
                precision=pick_precision(self.config.train.precision, device),
                **weights,
                revisions=self._revisions(),
                **({"start": start} if start else {}),
                texts_cut=cut,
                notes=splits.notes,
            ),
        )

    def _revisions(self) -> dict[str, str | None]:
        """The commits that data and model had on the Hub; None for what came from elsewhere."""
        data = self.config.data
        source = None if project_path(data.source).is_dir() else data.source
        commit = source and fetched_commit(source, data.revision, project_path(data.cache_dir) / "hub")
        return {"data": commit, "model": commit_of(getattr(self.model, "folder", None))}

    def _check_base(self) -> None:
        """Raises RunError where trained weights would go on beside frozen ones of another commit of their base."""
        before, now = (self.run.environment.get("revisions") or {}).get("model"), self._revisions()["model"]
        frozen = has_adapters(self.model) or self.config.model.freeze
        if frozen and before and before != now:
            raise RunError(
                f"run '{self.run.name}' was begun on {self.config.model.name} at {before}, which is {now} now: go on "
                f"with model.revision={before}, or give another name"
            )

    def _frozen(self) -> str | None:
        """The digest of the weights that training leaves as they are; None where it trains all."""
        trained = trainable(self.model)
        frozen = {name: p for name, p in self.model.named_parameters() if name not in trained}
        return tensors_digest(frozen) if frozen else None

    def _made_by(self) -> dict:
        """What tells this run's checkpoints from those of a run with tensors of the same shapes."""
        rows = read_rows(self.run.folder)
        name = self.config.model.name
        start = None if name == "scratch" else weights_digest(name, self.config)
        return {"settings": self.config.as_dict(), "rows": rows and rows_digest(rows), "start": start}

    def _check_made_by(self, before: Progress, now: Progress) -> None:
        """Raises RunError where the checkpoint is of a run with other settings or other data, copied into this one."""
        if before.made_by is None:  # of an older version
            return
        changed = settings_difference(before.made_by["settings"], now.made_by["settings"])
        lines = [f"{key}: {theirs!r}, here {ours!r}" for key, (theirs, ours) in changed.items()]
        if before.made_by["rows"] != now.made_by["rows"]:
            lines.append("its data")
        if lines:
            raise RunError(
                f"the checkpoint in '{self.run.name}/checkpoints' is of another run, "
                f"'{before.made_by['settings']['name']}', by:\n{indented(lines)}\nPut this run's own back, or remove "
                "the folder, and training starts anew."
            )

    def _check_frozen(self, before: Progress, now: Progress) -> None:
        """Raises RunError where trained weights would go on beside other frozen ones than they were trained beside."""
        if before.frozen and before.frozen != now.frozen:
            raise RunError(
                f"run '{self.run.name}' was begun on other weights than model.name ({self.config.model.name}) holds "
                "now: those that it does not train are not the same. Put the folder back as it was, or give another "
                "name, or fresh: true"
            )

    def write(self, name: str, rows: list[dict], progress: Progress) -> None:
        """Add rows to a log, and to the tracker what of them is a number."""
        if self.main:
            append_lines(self.run.folder / name, rows)
            progress.rows[name] += len(rows)
        if self.config.train.tracker and name == "history.jsonl":
            for row in rows:
                values = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in ("step", "best")}
                self.accelerator.log({f"{row['type']}/{k}": v for k, v in values.items()}, step=row["step"])

    @property
    def _base_is_somewhere(self) -> bool:
        """Whether the weights that adapters stand on lie in one folder: not where this run drew or joined them."""
        return isinstance(self.config.model.name, str) and self.config.model.name != "scratch"

    def export(self, progress: Progress) -> None:
        """The weights as they are now, to `model/`; adapters by themselves to `adapter/` too."""
        if self.main:
            if has_adapters(self.model) and self._base_is_somewhere:  # of others nobody has that base
                with replacing_folder(self.run.folder / "adapter") as beside:
                    save_adapter(self.model, self.processor, self.config, beside)
            with replacing_folder(self.run.model_folder) as beside:
                save_model(merged(self.model), self.processor, beside)
            progress.weights = weights_digest(self.run.model_folder)
        self.accelerator.wait_for_everyone()

    def checkpoint(self, progress: Progress, steps: int) -> None:
        if self.main:
            if self.accelerator.scaler is not None:
                progress.scaler = self.accelerator.scaler.state_dict()
            flush_logs(*(self.run.folder / name for name in LOGS))  # the checkpoint counts their lines
            save_checkpoint(
                self.run.folder / "checkpoints",
                progress.step,
                self.model,
                self.optimizer,
                asdict(progress),
                self.config.train.keep_checkpoints,
                self.remembered,
            )
            self.state(progress, steps)
        self.accelerator.wait_for_everyone()

    def state(self, progress: Progress, steps: int, finished: bool = False, why: str = "") -> None:
        """state.json: how far training came."""
        if self.main:
            flush_logs(*(self.run.folder / name for name in LOGS))
            write_sealed(
                self.run.folder / "state.json",
                {
                    "finished": finished,
                    "why": why,
                    "epoch": progress.epoch,
                    "step": progress.step,
                    "steps": steps,
                    "best": progress.best,
                    "weights": progress.weights,
                    "start": progress.made_by and progress.made_by["start"],
                },
            )

    def start_tracker(self) -> None:
        if self.config.train.tracker:
            settings = {key: str(value) for key, value in self.config.as_dict()["train"].items()}
            self.accelerator.init_trackers(f"blipvqa-{self.run.name}", config=settings)

    def end_tracker(self) -> None:
        if self.config.train.tracker:
            self.accelerator.end_training()
