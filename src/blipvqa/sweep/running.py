"""The runs of a grid, one after the other or one on each GPU.

Notable:
- Every run is a process of its own (`python -m blipvqa run`): one that fails takes no other along, and on several GPUs
  each sees one device (`CUDA_VISIBLE_DEVICES`).
- Started again, a sweep leaves out what is finished and goes on with what was stopped.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.recipes import result_settings
from blipvqa.data.dataset import load_splits
from blipvqa.data.fingerprint import fingerprint
from blipvqa.errors import DamagedFile
from blipvqa.runs.run import Run, RunError, indented
from blipvqa.sweep.grid import Point

PROGRAM = (sys.executable, "-m", "blipvqa", "run")


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    name: str
    well: bool  # finished now or before
    says: str  # "finished", "finished before", or what went wrong


def devices_here(wanted: str | None = None) -> list[str]:
    """The GPUs to run on, as CUDA_VISIBLE_DEVICES names them: those `wanted` ("0,1"), or all that this process sees."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES") if wanted is None else wanted
    if listed is not None:
        devices = [part.strip() for part in listed.split(",") if part.strip()]
        if len(set(devices)) < len(devices):
            raise ConfigError(f"devices {listed}: one stands there twice, so two runs would share it")
        return devices
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


# Ctrl-C reaches the sweep alone, which passes it on once; on Windows as Ctrl-Break, the only one that can be sent
APART = {"start_new_session": True, "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
STOP = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)


def sweep(points: Sequence[Point], devices: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> list[Outcome]:
    """Run what is not finished, side by side on `devices` (none: one after the other), and say what became of each.

    A run that fails does not stop the others. Raises KeyboardInterrupt when it is stopped, after every run that was
    under way has written what it goes on from. Raises RunError where a finished run was made of other data.
    """
    outcomes = {point.config.name: Outcome(point.config.name, True, "finished before") for point in finished(points)}
    waiting: queue.SimpleQueue[Point] = queue.SimpleQueue()
    for point in points:
        if point.config.name not in outcomes:
            waiting.put(point)
    running: set[subprocess.Popen] = set()
    stopped = threading.Event()

    def work(device: str | None) -> None:
        while not stopped.is_set():
            try:
                point = waiting.get_nowait()
            except queue.Empty:
                return
            outcomes[point.config.name] = _run(point, device, program, running)

    with ThreadPoolExecutor(max(1, len(devices))) as pool:
        workers = [pool.submit(work, device) for device in devices or [None]]
        try:
            for worker in workers:
                worker.result()
        except KeyboardInterrupt:
            stopped.set()
            for process in list(running):
                process.send_signal(STOP)
            raise  # leaving the pool waits for them
    return [outcomes[point.config.name] for point in points]


def _run(point: Point, device: str | None, program: Sequence[str], running: set) -> Outcome:
    name = point.config.name
    environment = os.environ if device is None else {**os.environ, "CUDA_VISIBLE_DEVICES": device}
    print(f"{name}: begins" + (f" on device {device}" if device is not None else ""), flush=True)
    process = subprocess.Popen(
        point.command(program),
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        **APART,
    )
    running.add(process)
    _, errors = process.communicate()
    running.discard(process)
    if process.returncode == 0 and is_finished(point.config):
        return Outcome(name, True, "finished")
    if process.returncode == 0:
        return Outcome(name, False, "not finished yet: the same sweep again goes on with it")
    lines = errors.strip().splitlines()
    ended = f"ended by signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"
    print(f"{name}: failed, {ended}\n{indented(lines[-20:])}", file=sys.stderr, flush=True)
    return Outcome(name, False, f"failed: {lines[-1] if lines else ended}")


def finished(points: Iterable[Point]) -> list[Point]:
    """The points with nothing left to do. Raises RunError where the data is not as it was when one of them was made."""
    done = [point for point in points if is_finished(point.config)]
    rows: dict[str, dict] = {}
    for point in done:
        config = point.config
        splits = rows.setdefault(f"{config.task} {config.seed} {config.data}", {})
        splits |= {} if splits else fingerprint(load_splits(config))
        changed = Run(config.folder).row_changes(splits)
        if changed:
            raise RunError(
                f"run '{config.name}' of this grid is finished, but was made with other data:\n{indented(changed)}\n"
                "Put the data back as it was, or give the sweep another NAME."
            )
    return done


def is_finished(config: Config) -> bool:
    """Whether a run was trained to its end and evaluated with these settings, and has its report."""
    run = Run(config.folder)
    try:
        same = result_settings(run.scored_config(run.evaluated_split)) == result_settings(config)
    except (RunError, DamagedFile):  # evaluated anew, or refused by name, when its turn comes
        return False
    return run.finished and same and (run.folder / "report.html").exists()
