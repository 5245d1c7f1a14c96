"""`fine_tune`: the loop, from a config to a run folder, for whatever task it is handed.

Notable:
- The explicit loop over accelerate's objects: one CPU, one GPU or several hosts run the same lines.
- An epoch's order is drawn from (seed, epoch) and a step's random numbers from (seed, step, process): resuming is
  loading tensors and going to the step, in the middle of an epoch too.
- A signal or the end of `max_minutes` lets the step finish and writes a checkpoint.
"""

from __future__ import annotations

import random
import time
from contextlib import nullcontext

import torch
from accelerate import Accelerator, notebook_launcher
from accelerate.utils.memory import should_reduce_batch_size
from tqdm import tqdm

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config
from blipvqa.data.augmentation import LightAugment
from blipvqa.data.batches import batch_loader, epoch_order, epoch_plan, loader_deaths_explained, workers_for
from blipvqa.data.dataset import Splits, load_splits
from blipvqa.data.fingerprint import fingerprint
from blipvqa.data.row_table import column_of
from blipvqa.models.adapters import folded
from blipvqa.models.adjust import ready_to_train
from blipvqa.models.cpu import large_products_in_bf16
from blipvqa.models.devices import pick_precision
from blipvqa.models.int8 import refuse_int8
from blipvqa.models.loading import load_model
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError, has_other_settings, open_run
from blipvqa.training.accelerator import make_accelerator
from blipvqa.training.checkpoints import remove_orphans
from blipvqa.training.interrupts import Interrupts, Stopped
from blipvqa.training.optimizer import learning_rate, make_optimizer
from blipvqa.training.progress import Progress, check_metric
from blipvqa.training.readings import Readings, StepTaken
from blipvqa.training.record import Record
from blipvqa.training.settings import check_settings, more_epochs
from blipvqa.training.step import Stepper
from blipvqa.training.stopping import Stop, Stopping
from blipvqa.training.task import Place, Task
from blipvqa.training.trained import check_weights, epoch_notes


def fine_tune(config: Config, task: Task, processes: int = 1) -> Run:
    """Train `task` as `config` says and return the run folder, with the best weights exported to `model/`.

    The same settings again: an unfinished run is resumed from its last checkpoint, a finished one is returned as it is.
    `processes` starts that many from a notebook; in a shell use `accelerate launch -m blipvqa train CONFIG`. Raises
    ConfigError, SourceError, ImageError or RunError before anything slow begins; Stopped (a KeyboardInterrupt) after a
    signal, with a checkpoint written; DivergedError on a loss that is no number.
    """
    if processes > 1:
        notebook_launcher(_fine_tune, (config, task), num_processes=processes)
        return Run(config.folder)
    return _fine_tune(config, task)


def _fine_tune(config: Config, task: Task) -> Run:
    check_settings(config, task)
    accelerator = make_accelerator(config)
    started = time.monotonic()
    with lock(config.folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            has_other_settings(config)  # refused before the data is read
        splits = load_splits(config)
        if accelerator.is_main_process:
            open_run(config, fingerprint(splits))
        accelerator.wait_for_everyone()
        run = Run(config.folder)
        if run.finished and not more_epochs(run, config):
            if accelerator.is_main_process:
                check_weights(run)
                remove_orphans(run.folder / "checkpoints")
                if not (run.model_folder / "README.md").exists():
                    task.write_card(run)
            accelerator.print(f"{run.name}: finished earlier, after {run.state['epoch']} epochs; nothing to train")
            return run
        check_settings(config, task)  # again: a finished run of other data was moved aside
        loop = FineTuning(config, task, splits, accelerator, run)
        on_cpu = large_products_in_bf16(pick_precision(config.train.precision, accelerator.device) == "bf16")
        with Interrupts() as interrupts, loader_deaths_explained(), on_cpu:
            loop.train(Stopping(accelerator, interrupts, config.train.max_minutes, started))
    return run


class FineTuning:
    """One run under way: the objects of the loop, and its parts as short methods."""

    def __init__(self, config: Config, task: Task, splits: Splits, accelerator: Accelerator, run: Run):
        self.config, self.task, self.accelerator, self.run = config, task, accelerator, run
        self.splits, self.data = splits, splits["train"]
        self.model, self.processor = load_model(config.model.name, config, self.data.texts)
        refuse_int8(self.model)
        ready_to_train(self.model, config, run.folder)
        task.tell_model(self.model, config, splits)
        self.collator = task.collator(self.processor, config)
        self.optimizer = make_optimizer(self.model, config.train)
        self.progress = Progress(micro_batch_size=config.train.micro_batch_size)
        wrapped, accelerated = accelerator.prepare(self.model, self.optimizer)
        self.stepper = Stepper(config, task, accelerator, self.model, wrapped, accelerated)
        self.readings = Readings(config.train, accelerator)
        self.workers = workers_for(config, accelerator.device)
        self.validate = task.validate(config, self.splits, self.processor, accelerator)
        self.image_ids, self.ids = (column_of(self.data.rows, name) for name in ("image_id", "id"))
        self.steps = config.train.epochs * len(self._plan(0))
        remembered = task.remembered(self.model, config)
        self.record = Record(config, task, accelerator, run, self.model, self.processor, self.optimizer, remembered)

    def train(self, stopping: Stopping) -> None:
        self.progress = self.record.resume(self.progress)
        self.record.environment(self.splits, self.collator)
        self.record.start_tracker()
        bar = progress_bar(
            total=self.steps,
            initial=self.progress.step,
            unit="step",
            desc="fine-tune",
            dynamic_ncols=True,
            disable=not self.accelerator.is_main_process,
        )
        with bar:
            if self.progress.step == 0:
                self._end_epoch(0.0)
            while self._unfinished():
                began = time.monotonic()
                stop = self._epoch(bar, stopping)
                if stop is Stop.NO:
                    self._end_epoch(time.monotonic() - began)
                    stop = stopping.agree() if self._unfinished() else Stop.NO
                if stop is not Stop.NO:
                    self._pause(stop, stopping.describe(stop))
                    return
        self._finish()

    def _unfinished(self) -> bool:
        patience = self.config.train.patience
        return self.progress.epoch < self.config.train.epochs and not (patience and self.progress.stale >= patience)

    def _plan(self, epoch: int) -> list[tuple[int, list[list[int]]]]:
        train = self.config.train
        order = epoch_order(self.image_ids, train.questions_per_image, self.config.seed, epoch, train.shuffle)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        return epoch_plan(order, train.batch_size, self.progress.micro_batch_size, process, processes)

    def _epoch(self, bar: tqdm, stopping: Stopping) -> Stop:
        """Steps until the epoch ends (Stop.NO), or until something asks to stop."""
        data = self.data.with_drawn_answers(self.config.seed, self.progress.epoch)
        if self.config.train.augment == "light":
            data = data.altered(LightAugment(self.config.seed, self.progress.epoch))
        plan = self._plan(self.progress.epoch)
        while self.progress.position < len(plan):
            rest = plan[self.progress.position :]
            loader = iter(batch_loader(data, self.collator, [m for _, micros in rest for m in micros], self.workers))
            began = time.monotonic()
            for total, micros in rest:
                try:
                    self._step([next(loader) for _ in micros], total, micros, stopping)
                except RuntimeError as error:
                    self._halve(error, len(micros[0]))
                    plan = self._plan(self.progress.epoch)
                    break
                bar.update()
                if self.readings.due(self.progress, len(plan)):
                    taken, rows = self.readings.read(self.progress)
                    self._log(bar, taken, rows / (time.monotonic() - began), len(plan))
                    began = time.monotonic()
                    if taken.stop is not Stop.NO:
                        return taken.stop
        return Stop.NO

    def _step(self, batches: list[dict], total: int, micros: list[list[int]], stopping: Stopping) -> None:
        """One optimizer step on `total` rows (over all processes), whose numbers are read later."""
        progress = self.progress
        rate = learning_rate(progress.step, self.steps, self.config.train)
        ids = [self.ids[i] for micro in micros for i in micro]
        unread = self.stepper.take(self._place(), rate, batches, total, ids, stopping.mine())
        self.readings.unread.append(unread)
        progress.step += 1
        progress.position += 1

    def _place(self) -> Place:
        step = self.progress.step
        seed = random.Random(f"{self.config.seed}/{step}").getrandbits(63)
        return Place(step, self.steps // self.config.train.epochs, seed)

    def _halve(self, error: RuntimeError, size: int) -> None:
        """After memory ran out: half the rows a forward pass, twice the passes. Other errors go on."""
        if not should_reduce_batch_size(error):
            raise error
        if not self.task.alone:
            raise RunError(
                f"out of memory with {size} rows: a row's loss in {self.task.name} depends on the whole batch, which "
                "cannot be cut. Lower train.batch_size, or turn on train.gradient_checkpointing"
            ) from error
        if size == 1 or self.accelerator.num_processes > 1:
            raise RunError(
                f"out of memory with {size} questions a forward pass and process: lower "
                "train.micro_batch_size, or turn on train.gradient_checkpointing"
            ) from error
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.micro_batch_size = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        tqdm.write(
            f"out of memory with {size} questions a forward pass: going on with {size // 2}, accumulated to the "
            f"same {self.config.train.batch_size} a step"
        )

    # ---------------------------------------------------------------------------------- what it leaves behind

    def _log(self, bar: tqdm, taken: StepTaken, rate: float, steps: int) -> None:
        progress, train = self.progress, self.config.train
        loss = taken.loss_sum / taken.total
        bar.set_postfix(epoch=progress.epoch + 1, loss=f"{loss:.3f}", refresh=False)
        if progress.step % train.log_every == 0 or progress.step == 1:
            row = {
                "type": "step",
                "step": progress.step,
                "epoch": round(progress.epoch + progress.position / steps, 4),
                "loss": loss,
                **{name: value / taken.total for name, value in taken.parts.items()},
                "learning_rate": learning_rate(progress.step - 1, self.steps, train),
                "gradient_norm": taken.norm,
                "rows_per_second": round(rate, 2),
            }
            self.record.write("history.jsonl", [row], progress)
        if train.checkpoint_every and progress.step % train.checkpoint_every == 0:
            self.record.checkpoint(progress, self.steps)

    def _end_epoch(self, seconds: float) -> None:
        """Evaluate, keep the best weights, and write a checkpoint. Also before training, as epoch 0."""
        progress = self.progress
        if progress.step:
            progress.epoch += 1
        self.model.eval()
        with folded(self.model):
            numbers, samples = self.validate(self.model)
        if self.config.train.epochs and not progress.step:  # later it may count nothing: of one word no pair of words
            check_metric(self.config.train.metric, numbers, self.task.metrics)
        row = {
            "type": "epoch",
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.questions if progress.questions else None,
            **numbers,
            "seconds": round(seconds, 2),
            "peak_memory_gib": peak_memory_gib(),
            "skipped_steps": progress.skipped,
        }
        row["best"] = bool(progress.step) and progress.note_epoch(self.config.train.metric, numbers)
        self.record.write("history.jsonl", [row], progress)
        self.record.write("samples.jsonl", [{"epoch": progress.epoch, **sample} for sample in samples], progress)
        progress.position, progress.loss_sum, progress.questions = 0, 0.0, 0
        if row["best"]:
            self.record.export(self.progress)
        if progress.step:
            self.record.checkpoint(progress, self.steps)
        if progress.epoch == 1 and self.model.kept:
            self.accelerator.print(f"{self.run.name}: {self.model.kept}")

    def _pause(self, stop: Stop, reason: str) -> None:
        exported = self.run.model_folder.exists()  # asked before the barrier: every process must answer alike
        self.record.checkpoint(self.progress, self.steps)
        message = (
            f"{self.run.name}: stopped after step {self.progress.step} of {self.steps} ({reason}). Nothing is "
            "lost: start it again, with the same name and settings, and it goes on from there."
        )
        self.record.end_tracker()
        if stop is Stop.SIGNAL:
            raise Stopped(message)
        self.accelerator.print(message)
        if not exported:
            self.record.export(self.progress)

    def _finish(self) -> None:
        if self.progress.best is None:  # no epoch was trained: what there is
            self.record.export(self.progress)
        done = self.progress.epoch >= self.config.train.epochs
        self.record.state(self.progress, self.steps)  # the card names the best epoch, which a kill kept from being said
        if self.accelerator.is_main_process:
            for line in epoch_notes(self.run):
                print(f"{self.run.name}: {line}")
            self.task.write_card(self.run)  # before the run counts as finished: afterwards nobody would write it
        self.record.state(self.progress, self.steps, finished=True, why="epochs" if done else "patience")
        self.record.end_tracker()
        self.accelerator.wait_for_everyone()
