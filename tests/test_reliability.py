"""Faults done for real: a full disk, a vanished file, fifty epochs. `docs/reliability.md` is their table."""

import os
import subprocess

import psutil
import pytest
import torch
from safetensors.torch import load_file

import blipvqa.record as record
from blipvqa import Run, evaluate, fine_tune, load_splits
from blipvqa.checkpoints import load_checkpoint
from blipvqa.report import write_report
from blipvqa.runs import RunError


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A project root on a disk of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    monkeypatch.setenv("BLIPVQA_ROOT", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small_is_said_before_training(small_disk, tiny, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(small_disk))
    with pytest.raises(RunError, match="GiB free, the run needs"):
        fine_tune(tiny(model__scratch={"hidden_size": 256, "layers": 2, "heads": 4, "patch_size": 8}))


def test_a_disk_that_fills_leaves_the_last_checkpoint(small_disk, tiny, monkeypatch):
    whole = fine_tune(tiny("whole", train__epochs=3))
    monkeypatch.setenv("BLIPVQA_ROOT", str(small_disk))
    monkeypatch.setattr(record, "check_space", lambda *_: None)
    save, filler = record.save_checkpoint, small_disk / "filler"

    def onto_a_full_disk(folder, step, *rest):
        if step > 7 and not filler.exists():
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
            filler.write_bytes(b"\0" * (free - 200_000))
        save(folder, step, *rest)

    monkeypatch.setattr(record, "save_checkpoint", onto_a_full_disk)
    config = tiny("filled", train__epochs=3)
    with pytest.raises(Exception, match="No space left on device"):
        fine_tune(config)
    tensors, state, _ = load_checkpoint(config.folder / "checkpoints")
    assert tensors
    assert state["epoch"] == 1
    monkeypatch.setattr(record, "save_checkpoint", save)
    filler.unlink()
    filler.touch()
    run = fine_tune(config)
    torch.testing.assert_close(load_file(run.model_folder / "model.safetensors"), load_file(whole.model_folder / "model.safetensors"), rtol=0, atol=0)


def test_a_picture_that_vanishes_is_named(tiny, root):
    from PIL import Image

    folder = root / "mine"
    folder.mkdir()
    for i in range(8):
        Image.effect_noise((40, 40), 90).save(folder / f"{i}.png")
    (folder / "train.jsonl").write_text("".join(f'{{"image": "{i}.png", "question": "what is {i}?", "answer": "it {i}"}}\n' for i in range(8)))
    config = tiny(data__source="mine")
    splits = load_splits(config)
    name = splits["train"].table[0]["image"]
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"image '{name}': No such file"):
        splits["train"].image(0)
    assert splits["train"][0]["pixels"].shape == (3, 32, 32)  # what the store holds is still there


def test_the_private_stays_private(tiny, root):
    """Names in metadata, user names and absolute paths reach neither the report, the export nor the cache."""
    from PIL import Image, PngImagePlugin

    folder = root / "mine"
    folder.mkdir()
    for i in range(12):
        notes = PngImagePlugin.PngInfo()
        notes.add_text("PatientName", "Jane Doe")
        Image.effect_noise((40, 40), 90).save(folder / f"{i}.png", pnginfo=notes)
    line = '{{"image": "{0}.png", "question": "is there fat?", "answer": "{1}"}}\n'
    (folder / "train.jsonl").write_text("".join(line.format(i, ("yes", "no")[i % 2]) for i in range(8)))
    (folder / "test.jsonl").write_text("".join(line.format(i, ("yes", "no")[i % 2]) for i in range(8, 12)))
    config = tiny(data__source=str(folder), train__epochs=1)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=20)
    write_report(run, load_splits(config))
    files = [run.folder / "report.html", *run.model_folder.iterdir(), *(root / "outputs" / "cache").rglob("*.raw")]
    assert len(files) > 15
    for file in files:
        content = file.read_bytes()
        assert b"Jane" not in content
        assert str(root).encode() not in content, file.name


@pytest.mark.slow
def test_fifty_epochs_hold_no_more_than_ten(tiny, monkeypatch):
    process, seen = psutil.Process(), {}
    run = record.Record.checkpoint

    def watched(self, progress, steps):
        run(self, progress, steps)
        seen[progress.epoch] = process.memory_info().rss / 2**20, process.num_fds()

    monkeypatch.setattr(record.Record, "checkpoint", watched)
    fine_tune(tiny(train__epochs=50))
    print("MiB and file handles after 10 and 50 epochs:", seen[10], seen[50])
    assert seen[50][0] < seen[10][0] + 20
    assert seen[50][1] <= seen[10][1]


def test_only_one_process_at_a_time_and_no_lock_stays(done):
    assert not list(done.folder.parent.glob(".*.lock"))
    assert Run(done.folder).finished
