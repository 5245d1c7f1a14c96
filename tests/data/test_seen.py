"""Pictures in large files are not all read again, and never taken for what they were before."""

import os
import time

import pytest
from small_sources import config_of, parquet, rows, splits_of

from blipvqa.data import looks, seen
from blipvqa.data.cache import clean_cache


@pytest.fixture
def looked(root, monkeypatch):
    """A parquet source that was read once, long after it was written; how many pictures were looked at since."""
    (root / "mine").mkdir()
    parquet(root / "mine" / "train.parquet", rows(8))
    parquet(root / "mine" / "validation.parquet", rows(4, 8))
    monkeypatch.setattr(seen, "SETTLED", -1.0)
    splits_of()
    count, look = [], looks.Looks._look
    monkeypatch.setattr(looks.Looks, "_look", lambda self, *cell: (count.append(1), look(self, *cell))[1])
    return count


def test_the_second_time_no_picture_is_read_and_all_is_the_same(looked, root):
    first = splits_of()
    assert not looked
    clean_cache(root / "outputs" / "cache")
    again = splits_of()
    assert len(looked) == 12
    assert all(first[split].rows == again[split].rows for split in first)


@pytest.mark.parametrize("back", [False, True])
def test_a_file_that_was_replaced_is_read_anew(looked, root, back):
    """Also where its size and its time are what they were: one of its times nobody can put back."""
    path = root / "mine" / "train.parquet"
    before, state = splits_of(), path.stat()
    other = root / "other.parquet"
    parquet(other, list(reversed(rows(8))))
    path.write_bytes(other.read_bytes())
    if back:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = splits_of()
    assert len(looked) == 8
    assert [row["answer"] for row in after["train"].rows] == [row["answer"] for row in before["train"].rows][::-1]


def test_a_file_of_the_last_seconds_is_not_trusted(root, monkeypatch):
    """Two changes in one tick of the clock have the same times."""
    (root / "mine").mkdir()
    parquet(root / "mine" / "train.parquet", rows(8))
    assert time.time() - (root / "mine" / "train.parquet").stat().st_ctime < seen.SETTLED
    splits_of()
    assert not list((root / "outputs" / "cache").rglob("*.seen"))


@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:-1], lambda d: d[:-1] + b"?", lambda d: d[:20], lambda d: d + d]
)
def test_what_is_damaged_counts_for_nothing(looked, root, damage):
    before = splits_of()
    for path in (root / "outputs" / "cache").rglob("*.seen"):
        path.write_bytes(damage(path.read_bytes()))
    after = splits_of()
    assert len(looked) == 12
    assert all(before[split].rows == after[split].rows for split in before)


def test_what_is_not_in_the_store_is_looked_at(looked, root):
    """The store of another size, and one that made room for others."""
    assert splits_of(model__image_size=16)["train"][0]["pixels"].shape[-1] == 16
    assert len(looked) == 8  # validation shows four of them again
    for path in (root / "outputs" / "cache").rglob("*.shard"):
        path.unlink()
    splits_of()
    assert len(looked) == 16


def test_no_text_is_kept(looked, root):
    for path in (root / "outputs" / "cache").rglob("*.seen"):
        assert path.stat().st_size < 44 + 8 * 8 + 1
        assert config_of().data.source.encode() not in path.read_bytes()
