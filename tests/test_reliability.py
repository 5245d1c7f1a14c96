"""Faults done for real: a full disk, a vanished file, fifty epochs. `docs/reliability.md` is their table."""

import os
import signal
import subprocess

import psutil
import pytest
import torch
from safetensors.torch import load_file

import blipvqa.training.record as record
from blipvqa import evaluate, fine_tune, load_config, load_splits
from blipvqa.data.dataset import VQADataset
from blipvqa.data.formats import SourceError
from blipvqa.data.images import ImageError
from blipvqa.runs.run import RunError
from blipvqa.tasks import write_report
from blipvqa.training.checkpoints import load_checkpoint


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A project root on a disk of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True
    )
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
    torch.testing.assert_close(
        load_file(run.model_folder / "model.safetensors"),
        load_file(whole.model_folder / "model.safetensors"),
        rtol=0,
        atol=0,
    )


def noisy_folder(root, count=8):
    """A source of `count` pictures with a question each."""
    from PIL import Image

    folder = root / "mine"
    folder.mkdir()
    for i in range(count):
        Image.effect_noise((40, 40), 90).save(folder / f"{i}.png")
    (folder / "train.jsonl").write_text(
        "".join(f'{{"image": "{i}.png", "question": "what is {i}?", "answer": "it {i}"}}\n' for i in range(count))
    )
    return folder


def test_a_picture_that_vanishes_is_named(tiny, root):
    folder = noisy_folder(root)
    splits = load_splits(tiny(data__source="mine"))
    name = splits["train"].rows[0]["id"].removeprefix("train/") + ".png"
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"image '{name}': No such file"):
        splits["train"].image(0)
    assert splits["train"][0]["pixels"].shape == (3, 32, 32)  # what the store holds is still there


@pytest.mark.usefixtures("permissions_count")
def test_files_that_may_not_be_read_are_named(tiny, root):
    folder = noisy_folder(root)
    (folder / "3.png").chmod(0)
    with pytest.raises((SourceError, ImageError), match=r"3\.png.*Permission denied"):
        load_splits(tiny(data__source="mine"))
    (folder / "3.png").chmod(0o644)
    (folder / "train.jsonl").chmod(0)
    with pytest.raises(SourceError, match=r"train\.jsonl cannot be read: Permission denied"):
        load_splits(tiny(data__source="mine"))


@pytest.mark.usefixtures("permissions_count")
def test_a_place_that_may_not_be_written_is_said_before_training(tiny, root):
    (root / "outputs").mkdir()
    (root / "outputs").chmod(0o555)
    with pytest.raises(RunError, match=r"'outputs' cannot be written \(Permission denied\)"):
        fine_tune(tiny())
    (root / "outputs").chmod(0o755)


@pytest.mark.usefixtures("permissions_count")
def test_a_run_folder_that_turns_read_only_leaves_the_last_checkpoint(tiny, monkeypatch):
    whole = fine_tune(tiny("whole", train__epochs=3))
    save, config = record.save_checkpoint, tiny("closed", train__epochs=3)
    folder = config.folder / "checkpoints"

    def into_a_closed_folder(place, step, *rest):
        if len(list(place.glob("*.safetensors"))):
            place.chmod(0o555)
        save(place, step, *rest)

    monkeypatch.setattr(record, "save_checkpoint", into_a_closed_folder)
    with pytest.raises(PermissionError):
        fine_tune(config)
    assert load_checkpoint(folder)[1]["epoch"] == 1
    folder.chmod(0o755)
    monkeypatch.setattr(record, "save_checkpoint", save)
    run = fine_tune(config)
    torch.testing.assert_close(
        load_file(run.model_folder / "model.safetensors"),
        load_file(whole.model_folder / "model.safetensors"),
        rtol=0,
        atol=0,
    )


def test_a_killed_loader_process_is_one_clear_error(tiny, root, monkeypatch):
    whole = fine_tune(tiny("whole", train__epochs=3))
    config = tiny("killed", train__epochs=3, train__workers=1)
    items = VQADataset.__getitems__

    def deadly(self, indices):
        if torch.utils.data.get_worker_info() and self.split == "train" and (config.folder / "model").exists():
            os.kill(os.getpid(), signal.SIGKILL)  # after the first epoch
        return items(self, indices)

    monkeypatch.setattr(VQADataset, "__getitems__", deadly)
    with pytest.raises(RunError, match="a process that loads pictures was killed"):
        fine_tune(config)
    assert load_checkpoint(config.folder / "checkpoints")[1]["epoch"] == 1
    monkeypatch.setattr(VQADataset, "__getitems__", items)
    run = fine_tune(config)
    torch.testing.assert_close(
        load_file(run.model_folder / "model.safetensors"),
        load_file(whole.model_folder / "model.safetensors"),
        rtol=0,
        atol=0,
    )


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
    files = [run.folder / "report.html", *run.model_folder.iterdir(), *(root / "outputs" / "cache").rglob("*.shard")]
    assert {path.suffix for path in files} >= {".html", ".shard", ".safetensors", ".json"}
    for file in files:
        content = file.read_bytes()
        assert b"Jane" not in content
        assert str(root).encode() not in content, file.name


@pytest.mark.slow
def test_fifty_epochs_hold_no_more_than_ten(root, request, monkeypatch):
    """The demo's data, with a model small enough for fifty epochs in minutes."""
    process, seen = psutil.Process(), {}
    run = record.Record.checkpoint

    def watched(self, progress, steps):
        run(self, progress, steps)
        seen[progress.epoch] = process.memory_info().rss / 2**20, process.num_fds()

    monkeypatch.setattr(record.Record, "checkpoint", watched)
    small = {"hidden_size": 32, "layers": 1, "heads": 2, "patch_size": 16}
    fine_tune(
        load_config(
            request.config.rootpath / "configs" / "demo.yaml",
            {"train.epochs": 50, "train.evaluate_questions": 80, "train.log_every": 1000, "model.scratch": small},
            "fifty",
        )
    )
    print("MiB and file handles after 10 and 50 epochs:", seen[10], seen[50])
    assert seen[50][0] < seen[10][0] + 20
    assert seen[50][1] <= seen[10][1]
