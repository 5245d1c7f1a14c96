"""Processes that die before their k-th write, one after the other: what `test_kills.py` and `test_power_cuts.py` start.

Run as a script, in a process of its own: it forks a child for every start of the program, and has itself never computed
anything, so that no thread of torch is lost in a fork. Every creation, opening for writing, renaming, removal and change
of mode below `outputs/` is seen by an audit hook, whatever library does it; flushes and appended lines are announced by
`files.before_operation`.
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from blipvqa import Run, evaluate, fine_tune, load_config, load_splits
from blipvqa.data.cache import is_unfinished
from blipvqa.data.shards import NAME, Shards
from blipvqa.runs import files
from blipvqa.tasks import write_report

SMALL = {
    "data.synthetic": {"images": {"train": 3, "validation": 2, "test": 2}, "size": 32},
    "model.name": "scratch",
    "model.image_size": 16,
    "model.scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "patch_size": 8, "vocabulary": 200},
    "train.epochs": 2,
    "train.batch_size": 12,
    "train.learning_rate": 1e-3,
    "train.metric": "loss",  # better after each epoch, so the export is replaced
    "train.checkpoint_every": 1,
    "train.keep_checkpoints": 1,
    "train.samples": 2,
    "train.log_every": 1,
    "generate.max_new_tokens": 3,
}
TIMED = ("seconds", "rows_per_second", "peak_memory_gib", "started")
NAMED = ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.chmod", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def config():
    return load_config(None, SMALL, "small")


def report():
    write_report(Run(config().folder), load_splits(config()))


PHASES: dict[str, Callable] = {
    "reading": lambda: load_splits(config()),
    "training": lambda: fine_tune(config()),
    "evaluation": lambda: evaluate(config(), progress=False, resamples=20),
    "report": report,
}


def watch_writes(outputs: Path, before_write: Callable[[str, Path], None]) -> None:
    """Call `before_write` (what, path) before every write below `outputs` from now on, for as long as the process lives."""
    inside = str(outputs) + os.sep

    def place(path, folder: int = -1) -> str:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        path = os.fsdecode(path)
        return os.path.abspath(path if folder == -1 else os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path))

    def audit(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int) or not flags & WRITING or flags & WRITING == os.O_RDWR:
                return  # one that is there, opened to be flushed, which is announced
            target = place(path)
        elif event in NAMED:
            at = {"os.rename": 2, "os.link": 2, "os.mkdir": 2, "os.chmod": 2, "os.remove": 1, "os.rmdir": 1}.get(event)
            target = place(arguments[0], arguments[at] if at is not None else -1)
        else:
            return
        announce(event, Path(target))

    def announce(what, path):
        """Not what is kept in `cache/seen`: whether that is depends on how long files have rested."""
        if str(path).startswith(inside) and path.relative_to(outputs).parts[:2] != ("cache", "seen"):
            before_write(what, path)

    sys.addaudithook(audit)
    files.before_operation = lambda what, path: what in ("flush", "flush folder", "append") and announce(what, path)


def start(work: Callable, log: Path) -> int:
    """Do `work` in a process of its own; its exit status. What it says lies in `log`."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    status = 1
    try:
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        torch.set_num_threads(1)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def import_as_child(modules: list[str]) -> None:
    """Import what a child had to, so that the next ones find it there."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child copies no page for the sake of counting references


def plain(value):
    """`value` without what differs from one run to the next: times and memory."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in TIMED}
    return [plain(item) for item in value] if isinstance(value, list) else value


def contents(folder: Path) -> dict[str, object]:
    """Every file below `folder`, by its path: bytes, or values without times; of who held a lock nothing.

    Of the store of pictures it is each picture, whichever shards hold it. What is left unfinished in the cache stays
    there a day, since other runs may be writing to it, and what pictures were called at a place is only a shorter way.
    """
    result: dict[str, object] = {}
    for store in folder.glob("cache/images/*px-*"):
        result |= stored_pictures(store)
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name.startswith("cache/") and (is_unfinished(path) or NAME.fullmatch(path.name) or "seen" in path.parts):
            continue
        if path.suffix in (".lock", ".holder"):
            result[name] = ""
        elif path.suffix == ".json":
            result[name] = plain(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            result[name] = plain([json.loads(line) for line in path.read_text().splitlines()])
        else:
            result[name] = path.read_bytes()
    return result


def stored_pictures(store: Path) -> dict[str, bytes | None]:
    """What a reader finds of each picture of a store; None where it is damaged."""
    shards = Shards(store, int(store.name.partition("px-")[0]), 1)
    pixels = {f"{store.name}/{picture:016x}": shards.read(picture) for picture in shards.ids[: len(shards)].tolist()}
    return {name: None if one is None else one.tobytes() for name, one in pixels.items()}


def difference(a: dict[str, object], b: dict[str, object]) -> list[str]:
    return [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def restore(copy: Path, outputs: Path) -> None:
    shutil.rmtree(outputs, ignore_errors=True)
    if copy.exists():
        shutil.copytree(copy, outputs, symlinks=True)


def survey(root: Path) -> dict[str, list[str]]:
    """The write points of each phase, in order; what was there before it and after it lies in `root/before-<phase>` and
    `root/whole-<phase>`."""
    outputs, log, points = root / "outputs", root / "log.txt", {}
    for phase, work in PHASES.items():
        restore(outputs, root / f"before-{phase}")
        passed, modules = root / "points.txt", root / "modules.txt"

        def counted(work=work, passed=passed, modules=modules):
            names: list[str] = []
            watch_writes(outputs, lambda what, path: names.append(f"{what} {path.relative_to(root)}"))
            work()
            files.before_operation = None
            passed.write_text("\n".join(names))
            modules.write_text("\n".join(sys.modules))

        assert start(counted, log) == 0, log.read_text()
        import_as_child(modules.read_text().splitlines())
        points[phase] = passed.read_text().splitlines()
        restore(outputs, root / f"whole-{phase}")
    return points


def kill_everywhere(root: Path, phase: str, points: list[str], every: int) -> dict:
    """Kill `phase` before each `every`-th of its writes and start it again; the points, and what was not as it should."""
    place = root / phase
    os.environ["BLIPVQA_ROOT"] = str(place)
    outputs, log, work = place / "outputs", place / "log.txt", PHASES[phase]
    place.mkdir()
    expected, faults, numbers = contents(root / f"whole-{phase}"), [], range(1, len(points) + 1, every)
    for number in numbers:
        restore(root / f"before-{phase}", outputs)

        def killed(number=number):
            passed = 0

            def die(_what, _path):
                nonlocal passed
                passed += 1
                if passed == number:
                    os._exit(9)

            watch_writes(outputs, die)
            work()

        status = start(killed, log)
        if status != 9:
            faults.append(f"{number}: ended with {status} before it was killed\n{log.read_text()[-2000:]}")
        elif start(work, log) != 0:
            faults.append(f"{number} ({points[number - 1]}): the next start fails\n{log.read_text()[-2000:]}")
        elif wrong := difference(expected, contents(outputs)):
            faults.append(f"{number} ({points[number - 1]}): not as without a kill: {', '.join(wrong)}")
    return {"points": len(points), "tried": len(numbers), "faults": faults}


def side_by_side(root: Path, work: Callable[[str], dict]) -> dict[str, dict]:
    """What `work` finds of each phase, each in a process of its own."""
    processes = []
    for phase in PHASES:
        process = os.fork()
        if not process:
            try:
                (root / f"{phase}.json").write_text(json.dumps(work(phase)))
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        processes.append(process)
    for process in processes:
        os.waitpid(process, 0)
    return {phase: json.loads((root / f"{phase}.json").read_text()) for phase in PHASES}


def main(every: str) -> None:
    os.fsync = lambda _: None  # a kill takes nothing from the system's memory: flushes are counted, and not waited for
    root = Path(os.environ["BLIPVQA_ROOT"])
    points = survey(root)
    print(json.dumps(side_by_side(root, lambda phase: kill_everywhere(root, phase, points[phase], int(every)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
