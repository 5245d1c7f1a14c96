"""What a disk may hold after a power cut: what was flushed for sure, and of the rest whatever it had got to.

`Disk` stands between the program and a folder. It notes what every flush of a file and of a folder brought to the disk;
before every further write it builds the states that a power cut could leave:

- late: only flushed names are there, and files that were never flushed are empty;
- early: every creation, renaming and removal is on the disk already, and half of what was not flushed;
- mixed: each folder and each file at random one or the other, or as the program sees it.

Run as a script by `test_power_cuts.py`; the processes are those of `write_points.py`.
"""

import hashlib
import json
import os
import pickle
import random
import resource
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import write_points
from write_points import PHASES, contents, difference, restore, side_by_side, start, survey, watch_writes

THE_END = "nothing more, since it had ended"
State = dict[str, bytes | None]  # what lies below the folder, by path; None is a folder


class Disk:
    """What of `folder` is on the disk, and `states`, one for each kind that a power cut could leave, with its moment."""

    def __init__(self, folder: Path):
        self.folder, self.states, self.digests = folder, {}, set()
        self.handles: dict[int, int] = {}  # every file and folder stays open, so that no number is given anew
        self.flushed: dict[int, bytes] = {}  # a file's number: its content
        self.names: dict[int, dict[str, int]] = {}  # a folder's number: the numbers of what lies in it
        self.pool: dict[str, bytes] = {}  # contents that are equal are one
        for place, _, files in os.walk(folder):  # what is there before is there for sure
            self.flush(os.open(place, os.O_RDONLY))
            for name in files:
                self.flush(os.open(os.path.join(place, name), os.O_RDONLY))

    def flush(self, handle: int) -> None:
        """In place of `os.fsync`."""
        status = os.fstat(handle)
        self.handles.setdefault(status.st_ino, os.dup(handle))
        if stat.S_ISDIR(status.st_mode):
            self.names[status.st_ino] = self._listed(status.st_ino)
        else:
            self.flushed[status.st_ino] = self._content(status.st_ino)

    def cut(self, moment: str) -> None:
        """Note the states that a power cut at this moment could leave, of those that were not seen before."""
        draw = random.Random(len(self.states))
        for kind, names_late, content in (
            ("late", lambda: True, lambda: "flushed"),
            ("early", lambda: False, lambda: "half"),
            ("mixed", lambda: draw.random() < 0.5, lambda: draw.choice(("flushed", "half", "all"))),
        ):
            state: State = {}
            self._build(os.stat(self.folder).st_ino, "", state, names_late, content)
            digest = hashlib.sha256(repr([(k, v and hash(v)) for k, v in sorted(state.items())]).encode()).hexdigest()
            if digest not in self.digests:
                self.digests.add(digest)
                self.states[f"{len(self.states)} {kind}, before {moment}"] = state

    def _build(self, folder: int, path: str, state: State, names_late: Callable, content: Callable) -> None:
        names = self.names.get(folder, {}) if names_late() else self._listed(folder)
        for name, number in names.items():
            place = f"{path}{name}"
            if stat.S_ISDIR(os.fstat(self.handles[number]).st_mode):
                state[place] = None
                self._build(number, f"{place}/", state, names_late, content)
            else:
                data = self._survivor(number, content())
                state[place] = self.pool.setdefault(hashlib.sha256(data).hexdigest(), data)

    def _survivor(self, number: int, what: str) -> bytes:
        flushed, now = self.flushed.get(number, b""), self._content(number)
        if what == "all":
            return now
        rest = now[len(flushed) :] if now.startswith(flushed) else b""
        return flushed + rest[: len(rest) // 2 if what == "half" else 0]

    def _listed(self, folder: int) -> dict[str, int]:
        numbers = {}
        with os.scandir(f"/proc/self/fd/{self.handles[folder]}") as entries:
            for entry in entries:
                number = entry.stat(follow_symlinks=False).st_ino
                if number not in self.handles:
                    self.handles[number] = os.open(entry.path, os.O_RDONLY)
                numbers[entry.name] = number
        return numbers

    def _content(self, number: int) -> bytes:
        handle = self.handles[number]
        return os.pread(handle, os.fstat(handle).st_size, 0)


def cut_everywhere(root: Path, phase: str, fewest: int) -> dict:
    """Cut the power during `phase`, before each write, and start it again on what the disk may hold; `fewest` states
    are tried, at equal distances, or all of them (0)."""
    place = root / phase
    place.mkdir()
    os.environ["BLIPVQA_ROOT"] = str(place)
    outputs, log, work, expected = (
        place / "outputs",
        place / "log.txt",
        PHASES[phase],
        contents(root / f"whole-{phase}"),
    )
    restore(root / f"before-{phase}", outputs)
    outputs.mkdir(exist_ok=True)

    def recorded():
        disk = Disk(outputs)
        os.fsync = disk.flush
        watch_writes(outputs, lambda what, path: disk.cut(f"{what} {path.relative_to(place)}"))
        work()
        disk.digests.clear()
        disk.cut(THE_END)
        write_points.files.before_operation = None
        (place / "states.pickle").write_bytes(pickle.dumps(disk.states))

    assert start(recorded, log) == 0, log.read_text()
    states = pickle.loads((place / "states.pickle").read_bytes())
    step = max(1, len(states) // fewest) if fewest else 1
    chosen = [*list(states)[::-1][::step]]
    faults = []
    for name in chosen:
        restore(place / "nothing", outputs)
        outputs.mkdir()
        for path, content in states[name].items():
            (outputs / path).mkdir() if content is None else (outputs / path).write_bytes(content)
        ended = difference(expected, contents(outputs)) if THE_END in name else []
        if lost := [path for path in ended if not path.startswith("cache/")]:
            faults.append(f"{name}: not on the disk: {', '.join(lost)}")
        if start(work, log) != 0:
            faults.append(f"{name}: the next start fails\n{log.read_text()[-2000:]}")
        elif wrong := difference(expected, contents(outputs)):
            faults.append(f"{name}: not as without a power cut: {', '.join(wrong)}")
    return {"points": len(states), "tried": len(chosen), "faults": faults}


def main(fewest: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    root = Path(os.environ["BLIPVQA_ROOT"])
    survey(root)
    os.fsync = lambda _: None  # what the restarts write need not outlive them
    print(json.dumps(side_by_side(root, lambda phase: cut_everywhere(root, phase, int(fewest)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
