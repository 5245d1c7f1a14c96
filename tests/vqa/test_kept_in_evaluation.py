"""An evaluation encodes each picture once for all of its passes, and its numbers are those of encoding it every time."""

import shutil

import pytest
import torch

from blipvqa import Run, evaluate, fine_tune, load_splits
from blipvqa.models.pictures import SeesPictures
from blipvqa.runs.files import read_lines
from blipvqa.training.stored import ModelsOfRun


@pytest.fixture
def encoded(monkeypatch):
    """How many pictures each call of a vision tower encoded, and a digest of each tower that did."""
    calls, usual = [], SeesPictures.encode_pixels

    def counted(tower, pixels):
        calls.append((len(pixels), float(sum(weight.double().abs().sum() for weight in tower.parameters()))))
        return usual(tower, pixels)

    monkeypatch.setattr(SeesPictures, "encode_pixels", staticmethod(counted))
    return calls


def test_all_passes_of_an_evaluation_encode_a_picture_once(tiny, root, encoded, monkeypatch, capsys):
    config = tiny(train__epochs=1, model__freeze=["vision_model"])
    run = fine_tune(config)
    shutil.copytree(run.folder, root / "as trained")
    encoded.clear()
    evaluate(config, resamples=50, progress=False)
    splits = load_splits(config)
    pictures = {split: len({row["image_id"] for row in data.rows}) for split, data in splits.items()}
    # and the grey one; the weights training began with have the same tower
    assert [count for count, _ in encoded] == [1] * (sum(pictures.values()) + 1)
    assert f"states of {pictures['validation'] + pictures['test'] + 1:,} pictures are kept" in capsys.readouterr().out
    kept = {path.name: path.read_bytes() for path in (run.folder / "answers").glob("*.jsonl")}
    rows = read_lines(run.folder / "predictions-test.jsonl")
    metrics = run.metrics("test")

    shutil.rmtree(run.folder)
    shutil.move(root / "as trained", run.folder)
    encoded.clear()
    monkeypatch.setattr(SeesPictures, "keep_states", lambda *_: None)
    evaluate(config, resamples=50, progress=False)
    assert sum(count for count, _ in encoded) > 2 * sum(pictures.values())
    assert_near(read_lines(run.folder / "predictions-test.jsonl"), rows)
    assert set(kept) == {path.name for path in (run.folder / "answers").glob("*.jsonl")}
    assert_near(Run(config.folder).metrics("test")["overall"], metrics["overall"])


def assert_near(one, other):
    """Batches of other shapes: their states differ in the last bits, and printed numbers by at most 5e-6."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_near(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_near(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=5e-6)
    else:
        assert one == other


def test_the_same_states_give_the_same_numbers_bit_for_bit(tiny):
    config = tiny(train__epochs=1)
    run = fine_tune(config)
    models = ModelsOfRun(config, run, load_splits(config))
    model, _ = models.load()
    pixels = torch.stack([load_splits(config)["test"].pixels(i) for i in range(4)])
    with torch.no_grad():
        first, again = model.picture_states(pixels), model.picture_states(pixels[[2, 0]])
    assert torch.equal(first[[2, 0]], again)
    started, _ = models.load(start=True)
    with torch.no_grad():
        assert not torch.equal(started.picture_states(pixels), first)  # a tower that was trained since has its own
