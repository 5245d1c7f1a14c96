"""The shards of the picture store: whatever happens to them, a picture is right, or made again."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from blipvqa.data import shards
from blipvqa.data.shards import ENTRY, HEAD, Shards

SIDE = 4


def pixels(number: int) -> np.ndarray:
    """A picture that no other number gives."""
    return np.random.default_rng(number).integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)


def opened(folder, in_a_shard: int = 100) -> Shards:
    return Shards(folder, SIDE, in_a_shard * 3 * SIDE * SIDE)


def filled(folder, numbers, in_a_shard: int = 100) -> Shards:
    store = opened(folder, in_a_shard)
    for number in numbers:
        store.add(number, pixels(number), one_colour=number % 5 == 0)
    return store


def right(store: Shards, numbers) -> list[int]:
    """The pictures of these that are here; whichever is here must be right."""
    read = {number: store.read(number) for number in numbers}
    assert all((one == pixels(number)).all() for number, one in read.items() if one is not None)
    return [number for number, one in read.items() if one is not None]


def test_any_picture_is_found_by_its_number_in_this_process_and_the_next(tmp_path):
    numbers = [*range(1, 250), 2**64 - 1, 2**63]
    for store in (filled(tmp_path, numbers), opened(tmp_path)):
        assert right(store, numbers) == numbers
        assert store.read(999) is None and store.find(999) is None
        assert store.holds(np.array([7, 999, 2**63], np.uint64)).tolist() == [True, False, True]
        assert store.one_coloured(np.array([5, 7, 999], np.uint64)).tolist() == [True, False, False]
        assert len(store) == len(numbers)
    assert len(list(tmp_path.glob("*.shard"))) == 3


def test_pictures_are_merged_into_the_index_as_they_become_many(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST_RECENT", 7)
    store = filled(tmp_path, range(1, 60), in_a_shard=10)
    assert len(store.recent) < 7 and right(store, range(1, 60)) == list(range(1, 60))


@pytest.mark.parametrize("ending", ["shard", "index"])
def test_damage_anywhere_is_noticed_and_the_rest_stays(tmp_path, ending):
    """Each byte of a shard and of its index is bent once: no picture is wrong, and at most all of one shard is lost."""
    filled(tmp_path, range(1, 5))
    path = next(tmp_path.glob(f"*.{ending}"))
    whole = path.read_bytes()
    for at in range(len(whole)):
        bent = bytearray(whole)
        bent[at] ^= 0x55
        path.write_bytes(bent)
        found = right(opened(tmp_path), range(1, 5))
        assert len(found) == (0 if at < HEAD.size else 3)


@pytest.mark.parametrize("ending", ["shard", "index"])
def test_a_file_cut_at_any_place_loses_what_is_missing_alone(tmp_path, ending):
    filled(tmp_path, range(1, 5))
    path = next(tmp_path.glob(f"*.{ending}"))
    whole, size = path.read_bytes(), 3 * SIDE * SIDE if ending == "shard" else ENTRY.itemsize
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert len(right(opened(tmp_path), range(1, 5))) == max(0, length - HEAD.size) // size
    path.unlink()
    assert right(opened(tmp_path), range(1, 5)) == []


def test_a_damaged_picture_is_written_again_and_found(tmp_path):
    filled(tmp_path, range(1, 5))
    path = next(tmp_path.glob("*.shard"))
    path.write_bytes(path.read_bytes()[:-5] + b"other")
    store = opened(tmp_path)
    assert right(store, range(1, 5)) == [1, 2, 3]
    store.add(4, pixels(4), False)
    for one in (store, opened(tmp_path)):
        assert right(one, range(1, 5)) == [1, 2, 3, 4]


def test_an_index_of_other_pictures_counts_for_nothing(tmp_path):
    """Of another shard, of another size, of another program."""
    filled(tmp_path, range(1, 5), in_a_shard=2)
    one, other = sorted(tmp_path.glob("*.index"))
    one.write_bytes(other.read_bytes())
    assert len(right(opened(tmp_path), range(1, 5))) == 2
    assert right(Shards(tmp_path, 2 * SIDE, 1000), range(1, 5)) == []
    other.write_bytes(b"a person's own")
    assert right(opened(tmp_path), range(1, 5)) == []


class OnAFullDisk:
    """A file of a disk with room for `left[0]` bytes."""

    def __init__(self, file, left):
        self.file, self.left = file, left

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        if len(content) > self.left[0]:
            if not self.left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            content = content[: self.left[0]]
        self.left[0] -= len(content)
        return self.file.write(content)


def test_a_full_disk_leaves_what_was_whole(tmp_path):
    store, left = filled(tmp_path, range(1, 4)), [60]
    for name in ("pixels", "index"):
        setattr(store.writer, name, OnAFullDisk(getattr(store.writer, name), left))
    for number in range(4, 9):
        with pytest.raises(OSError, match=r"full|No space"):
            store.add(number, pixels(number), False)
    assert right(opened(tmp_path), range(1, 9)) == right(store, range(1, 9)) == [1, 2, 3]


def test_what_made_room_is_gone_and_room_is_made_while_others_read(tmp_path):
    store, other = filled(tmp_path, range(1, 30), in_a_shard=10), opened(tmp_path)
    assert right(other, range(1, 30)) == list(range(1, 30))
    for path in tmp_path.iterdir():
        path.unlink()
    assert right(store, range(1, 30)) == right(other, range(1, 30)) == []
    store.add(30, pixels(30), False)  # not into the file that nobody can find any more
    assert right(opened(tmp_path), range(1, 31)) == [30]
    assert not other.holds(np.arange(1, 30, dtype=np.uint64)).any()


WRITER = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_shards import filled
filled(Path({folder!r}), range({first}, {last}), in_a_shard=50)
print("written", flush=True)
"""


def start_writer(folder, first: int, last: int) -> subprocess.Popen:
    here = os.path.dirname(__file__)
    code = WRITER.format(here=here, folder=str(folder), first=first, last=last)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)


def test_processes_that_write_at_once_and_one_that_is_killed(tmp_path):
    """Two write the same and other pictures, one of them is killed; a third reads all the while."""
    writers = [start_writer(tmp_path, 1, 1000), start_writer(tmp_path, 500, 500_000)]
    store = opened(tmp_path)
    while len(list(tmp_path.glob("*.shard"))) < 30:
        time.sleep(0.01)
    writers[1].send_signal(signal.SIGKILL)
    writers[1].wait()
    assert writers[0].wait(timeout=120) == 0
    assert right(opened(tmp_path), range(1, 1000)) == list(range(1, 1000))
    store._look(force=True)
    assert right(store, range(1, 1000)) == list(range(1, 1000))


def test_threads_and_forked_processes_write_shards_of_their_own(tmp_path):
    store = filled(tmp_path, range(1, 5))
    threads = [
        threading.Thread(target=lambda k=k: [store.add(n, pixels(n), False) for n in range(100 * k, 100 * k + 50)])
        for k in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if not child:
        store.add(1000, pixels(1000), False)
        os._exit(0)
    os.waitpid(child, 0)
    store.add(1001, pixels(1001), False)
    numbers = [*range(1, 5), *(n for k in range(1, 5) for n in range(100 * k, 100 * k + 50)), 1000, 1001]
    assert right(opened(tmp_path), numbers) == numbers
