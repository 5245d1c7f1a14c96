"""`fine_tune`: the loop, from a config to a run folder.

Notable:
- The explicit loop over accelerate's objects: one CPU, one GPU or several hosts run the same lines.
- A step's loss is the sum over its questions divided by their number over all processes and micro-batches, so a
  step is the same however it is cut up.
- Everything random in a step is drawn from (seed, step, process), and an epoch's order from (seed, epoch): resuming
  is loading tensors and going to the step, in the middle of an epoch too.
- A signal or the end of `max_minutes` lets the step finish and writes a checkpoint.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import nullcontext

import torch
from accelerate import Accelerator, notebook_launcher
from accelerate.state import AcceleratorState
from accelerate.utils.memory import should_reduce_batch_size
from tqdm.auto import tqdm

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.data.dataset import (
    LightAugment,
    VQADataset,
    batch_loader,
    collator_for,
    epoch_order,
    epoch_plan,
    load_splits,
    loader_deaths_explained,
)
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import pick_device, pick_precision
from blipvqa.models.loading import load_model
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, open_run
from blipvqa.training.checkpoints import trainable
from blipvqa.training.interrupts import Interrupts, Stopped
from blipvqa.training.optimizer import add_lora, learning_rate, make_optimizer
from blipvqa.training.record import Progress, Record
from blipvqa.vqa.card import write_card
from blipvqa.vqa.measures import MEASURES
from blipvqa.vqa.predictions import load_candidates, workers_for
from blipvqa.vqa.validation import Validation


def fine_tune(config: Config, processes: int = 1) -> Run:
    """Train as `config` says and return its run folder, with the best weights exported to `model/`.

    The same settings again: an unfinished run is resumed from its last checkpoint, a finished one is returned as it
    is. `processes` starts that many on this machine from a notebook (accelerate's `notebook_launcher`); in a shell
    use `accelerate launch -m blipvqa train CONFIG`.

    Raises ConfigError, SourceError, ImageError or RunError before anything slow begins; Stopped (a
    KeyboardInterrupt) after a signal, with a checkpoint written; FloatingPointError on a loss that is no number.
    """
    if processes > 1:
        notebook_launcher(_fine_tune, (config,), num_processes=processes)
        return Run(config.folder)
    return _fine_tune(config)


def _fine_tune(config: Config) -> Run:
    _check(config)
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    precision = pick_precision(config.train.precision, pick_device())
    reuse_memory(pick_device())
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        log_with=config.train.tracker,
        project_dir=str(config.folder),
    )
    with lock(config.folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            open_run(config)
        accelerator.wait_for_everyone()
        run = Run(config.folder)
        if run.finished and not _more_epochs(run, config):
            accelerator.print(f"{run.name}: finished earlier, after {run.state['epoch']} epochs; nothing to train")
            return run
        loop = FineTuning(config, accelerator, run)
        with Interrupts() as interrupts, loader_deaths_explained():
            loop.train(interrupts)
    return run


def _check(config: Config) -> None:
    if config.train.metric != "loss" and config.train.metric not in MEASURES:
        raise ConfigError(f"train.metric: '{config.train.metric}' is none of loss, {', '.join(MEASURES)}")
    if config.train.tracker:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        if config.train.tracker not in map(str, get_available_trackers()):
            package = LOGGER_TYPE_TO_CLASS[config.train.tracker].name
            raise ConfigError(f"train.tracker: {config.train.tracker} is not installed: pip install {package}")


def _more_epochs(run: Run, config: Config) -> bool:
    return run.state["why"] == "epochs" and run.state["epoch"] < config.train.epochs


class FineTuning:
    """One run under way: the objects of the loop, and its steps as short methods."""

    def __init__(self, config: Config, accelerator: Accelerator, run: Run):
        self.config, self.accelerator, self.run, self.started = config, accelerator, run, time.monotonic()
        self.splits = load_splits(config)
        self.data: VQADataset = self.splits["train"]
        self.model, self.processor = load_model(config.model.name, config)
        add_lora(self.model, config.model.lora)
        if config.train.gradient_checkpointing:
            self.model.activation_checkpointing_enable()
        if config.train.compile:
            self.model.compile_vision()
        self.collator = collator_for(self.processor, config)
        self.optimizer = make_optimizer(self.model, config.train)
        self.progress = Progress(micro_batch_size=config.train.micro_batch_size)
        self.wrapped, self.accelerated = accelerator.prepare(self.model, self.optimizer)
        self.workers = workers_for(config, accelerator.device)
        self.validation = Validation(
            config,
            self.splits["validation"],
            self.collator,
            accelerator,
            load_candidates(config, self.splits, self.processor),
        )
        image_ids = [row["image_id"] for row in self.data.rows]
        self.order = lambda epoch: epoch_order(
            image_ids, config.train.questions_per_image, config.seed, epoch, config.train.shuffle
        )
        self.steps = config.train.epochs * len(self._plan(0))
        self.record = Record(config, accelerator, run, self.model, self.processor, self.optimizer)

    # -------------------------------------------------------------------------------------------- the whole

    def train(self, interrupts: Interrupts) -> None:
        self.progress = self.record.resume(self.progress)
        self.record.environment(self.splits, self.collator)
        self.record.start_tracker()
        bar = tqdm(
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
                stop = self._epoch(bar, interrupts)
                if not stop:
                    self._end_epoch(time.monotonic() - began)
                if stop or (self._unfinished() and (stop := self._stop_wanted(interrupts))):
                    self._pause(stop)
                    return
        self._finish()

    def _unfinished(self) -> bool:
        patience = self.config.train.patience
        return self.progress.epoch < self.config.train.epochs and not (patience and self.progress.stale >= patience)

    def _plan(self, epoch: int):
        micro = self.progress.micro_batch_size
        return epoch_plan(
            self.order(epoch),
            self.config.train.batch_size,
            micro,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )

    def _epoch(self, bar: tqdm, interrupts: Interrupts) -> str | None:
        """Steps until the epoch ends (None), or until something asks to stop (what did)."""
        data = self.data
        if self.config.train.augment == "light":
            data = data.altered(LightAugment(self.config.seed, self.progress.epoch))
        plan = self._plan(self.progress.epoch)
        while self.progress.position < len(plan):
            rest = plan[self.progress.position :]
            loader = iter(batch_loader(data, self.collator, [m for _, micros in rest for m in micros], self.workers))
            for total, micros in rest:
                began = time.monotonic()
                try:
                    batches = [next(loader) for _ in micros]
                    loss, norm, stop = self._step(batches, total, micros, interrupts)
                except RuntimeError as error:
                    self._halve(error, len(micros[0]))
                    plan = self._plan(self.progress.epoch)
                    break
                self._log(bar, loss / total, norm, total / (time.monotonic() - began), len(plan))
                if stop:
                    return stop
        return None

    # -------------------------------------------------------------------------------------------- one step

    def _step(self, batches: list[dict], total: int, micros: list[list[int]], interrupts) -> tuple[float, float, str]:
        """One optimizer step on `total` questions (over all processes): loss sum, gradient norm, wish to stop."""
        train, accelerator, progress = self.config.train, self.accelerator, self.progress
        torch.manual_seed(
            random.Random(f"{self.config.seed}/{progress.step}/{accelerator.process_index}").getrandbits(63)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress.step, self.steps, train)
        divisor = total if train.loss == "answer_sum" else self._answer_tokens(batches)
        self.wrapped.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, batch in enumerate(batches):
            batch = {key: value.to(accelerator.device, non_blocking=True) for key, value in batch.items()}
            last = number == len(batches) - 1
            with nullcontext() if last else accelerator.no_sync(self.wrapped):
                loss = self.wrapped(**batch).loss_per_answer.sum()
                accelerator.backward(loss * accelerator.num_processes / divisor)  # DDP averages over processes
            losses.append(loss.detach())
        norm = float(accelerator.clip_grad_norm_(trainable(self.model).values(), train.clip_norm or math.inf))
        loss_sum, stop = self._agree(float(torch.stack(losses).sum()), interrupts)
        finite = math.isfinite(norm) and math.isfinite(loss_sum)
        if finite or accelerator.scaler is not None:  # fp16: the scaler leaves out what overflows, and scales down
            self.accelerated.step()
        elif train.nonfinite == "raise":
            raise FloatingPointError(self._not_finite(loss_sum / total, norm, micros))
        progress.skipped += not finite
        progress.step += 1
        progress.position += 1
        progress.questions += total * finite
        progress.loss_sum += loss_sum if finite else 0.0
        return loss_sum, norm, stop

    def _answer_tokens(self, batches: list[dict]) -> int:
        """Labelled tokens of the step over all processes, each answer's first ([DEC], which is given) left out."""
        mine = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
        return int(self.accelerator.reduce(torch.tensor(mine, device=self.accelerator.device)))

    def _agree(self, loss_sum: float, interrupts: Interrupts) -> tuple[float, str]:
        """The loss sum over all processes, and one answer of all to whether to stop."""
        wish = self._stop_wanted(interrupts)
        if self.accelerator.num_processes == 1:
            return loss_sum, wish
        told = torch.tensor([loss_sum, float(bool(wish))], dtype=torch.float64, device=self.accelerator.device)
        loss_sum, wishes = self.accelerator.reduce(told).tolist()
        return loss_sum, wish or ("another process was asked to stop" if wishes else "")

    def _stop_wanted(self, interrupts: Interrupts) -> str:
        limit = self.config.train.max_minutes
        if limit and time.monotonic() - self.started > 60 * limit:
            return f"train.max_minutes ({limit:g}) are over"
        return interrupts.received

    def _not_finite(self, loss: float, norm: float, micros: list[list[int]]) -> str:
        ids = [self.data.rows[i]["id"] for micro in micros for i in micro]
        return (
            f"step {self.progress.step + 1}: loss {loss:g}, gradient norm {norm:g}. The last checkpoint is intact. "
            f"Lower train.learning_rate or use train.precision: fp32; train.nonfinite: skip leaves such steps out. "
            f"The step's questions: {', '.join(ids[:8])}{', …' * (len(ids) > 8)}"
        )

    def _halve(self, error: RuntimeError, size: int) -> None:
        """After memory ran out: half the questions a forward pass, twice the passes. Other errors go on."""
        if not should_reduce_batch_size(error):
            raise error
        if size == 1 or self.accelerator.num_processes > 1:
            raise RuntimeError(
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

    # -------------------------------------------------------------------------------------------- what it leaves behind

    def _log(self, bar: tqdm, loss: float, norm: float, rate: float, steps: int) -> None:
        progress, train = self.progress, self.config.train
        bar.update()
        bar.set_postfix(epoch=progress.epoch + 1, loss=f"{loss:.3f}", refresh=False)
        if progress.step % train.log_every == 0 or progress.step == 1:
            row = {
                "type": "step",
                "step": progress.step,
                "epoch": round(progress.epoch + progress.position / steps, 4),
                "loss": loss,
                "learning_rate": learning_rate(progress.step - 1, self.steps, train),
                "gradient_norm": norm,
                "questions_per_second": round(rate, 2),
            }
            self.record.write("history.jsonl", [row], progress)
        if train.checkpoint_every and progress.step % train.checkpoint_every == 0:
            self.record.checkpoint(self.progress, self.steps)

    def _end_epoch(self, seconds: float) -> None:
        """Evaluate, keep the best weights, and write a checkpoint. Also before training, as epoch 0."""
        progress = self.progress
        if progress.step:
            progress.epoch += 1
        numbers, samples = self.validation.run(self.model, self.processor)
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
        row["best"] = bool(progress.step) and self._is_best(numbers)
        self.record.write("history.jsonl", [row], progress)
        self.record.write("samples.jsonl", [{"epoch": progress.epoch, **sample} for sample in samples], progress)
        progress.position, progress.loss_sum, progress.questions = 0, 0.0, 0
        if row["best"]:
            self.record.export()
        if progress.step:
            self.record.checkpoint(self.progress, self.steps)

    def _is_best(self, numbers: dict) -> bool:
        name, progress = self.config.train.metric, self.progress
        value = numbers.get(name)
        sign = -1 if name == "loss" else 1
        better = value is not None and (progress.best is None or sign * value > sign * progress.best["value"])
        if better:
            progress.best, progress.stale = {"epoch": progress.epoch, "metric": name, "value": value}, 0
        else:
            progress.stale += 1
        return better

    def _pause(self, reason: str) -> None:
        self.record.checkpoint(self.progress, self.steps)
        message = (
            f"{self.run.name}: stopped after step {self.progress.step} of {self.steps} ({reason}). Nothing is "
            "lost: start it again, with the same name and settings, and it goes on from there."
        )
        self.record.end_tracker()
        if reason.startswith("train.max_minutes"):
            self.accelerator.print(message)
            if not self.run.model_folder.exists():
                self.record.export()
        else:
            raise Stopped(message)

    def _finish(self) -> None:
        if self.progress.best is None:  # no epoch, or never a metric: what there is
            self.record.export()
        done = self.progress.epoch >= self.config.train.epochs
        if self.accelerator.is_main_process:
            write_card(self.run)  # before the run counts as finished: afterwards nobody would write it
        self.record.state(self.progress, self.steps, finished=True, why="epochs" if done else "patience")
        self.record.end_tracker()
        self.accelerator.wait_for_everyone()
