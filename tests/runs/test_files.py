"""Files are whole, on the disk, readable for those whom the umask lets in, and only our own leftovers are removed."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from blipvqa.models.int8 import save_int8
from blipvqa.retrieval.feature_files import features_of
from blipvqa.runs import files


@pytest.fixture(params=[0o077, 0o022])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


def test_every_file_has_the_mode_that_the_umask_asks_for(tmp_path, umask):
    files.write_json(tmp_path / "state.json", {})
    with files.replacing(tmp_path / "step.safetensors") as beside:
        save_file({"a": torch.zeros(2)}, beside)
    with files.replacing_folder(tmp_path / "model") as beside:
        save_file({"a": torch.zeros(2)}, beside / "model.safetensors")
        (beside / "config.json").write_text("{}")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4
    assert {mode(path) for path in written} == {0o666 & ~umask}
    assert mode(tmp_path / "model") == 0o777 & ~umask


def exit_before(number):
    """A hook that ends the process before its `number`th operation, as a kill does: no `finally` runs."""
    count = 0

    def hook(_operation, _path):
        nonlocal count
        count += 1
        if count >= number:
            os._exit(9)

    return hook


def test_a_kill_at_any_operation_leaves_a_whole_folder(tmp_path, monkeypatch):
    points = 0
    for number in range(1, 100):
        place = tmp_path / str(number)
        monkeypatch.setattr(files, "before_operation", None)
        with files.replacing_folder(place / "model") as beside:
            (beside / "a").write_text("old")
            (beside / "b").write_text("old")
        process = os.fork()
        if not process:
            files.before_operation = exit_before(number)
            with files.replacing_folder(place / "model") as beside:
                (beside / "a").write_text("new")
                (beside / "b").write_text("new")
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        files.sweep(place)
        contents = {(place / "model" / name).read_text() for name in "ab"}
        assert len(contents) == 1, number
        assert [path.name for path in place.iterdir()] == ["model"], number
        if not ended:
            break
        points += 1
    assert points >= 8
    assert contents == {"new"}


def test_everything_is_flushed_before_it_is_in_its_place(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(files, "before_operation", lambda operation, path: events.append((operation, path.name)))
    with files.replacing_folder(tmp_path / "model") as beside:
        (beside / "inner").mkdir()
        (beside / "inner" / "tokenizer.json").write_text("{}")
    operations = [operation for operation, _ in events]
    placed = events.index(("rename", "model"))
    assert ("flush", "tokenizer.json") in events[:placed]
    assert ("flush folder", "inner") in events[:placed]
    assert operations[placed + 1] == "flush folder"
    events.clear()
    files.write_json(tmp_path / "state.json", {})
    assert [operation for operation, _ in events] == ["flush", "rename", "flush folder"]


def test_only_our_own_leftovers_are_swept(tmp_path):
    (tmp_path / ".notes").write_text("mine")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".state.json.blipvqa-0123abcd.writing").write_text("half")
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", ".notes"]


def test_what_killed_writers_of_version_0_1_left_is_swept_too(tmp_path):
    """It named temporary files as `tempfile` does, after the file that they were to become."""
    for name in (".state.json.ab_1z9xq", "answers/.test-blank.jsonl.abcdefgh", "model/.README.md.abcdefgh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("half")
    (tmp_path / ".model.abcdefgh").mkdir()
    (tmp_path / ".notes.txt.abcdefgh").write_text("a person's")
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".notes.txt.abcdefgh", "answers", "model"]


def test_an_export_of_version_0_1_whose_moves_were_cut_apart_comes_back(tmp_path):
    for name in (".model.abcdefgh", ".model.abcdefgh.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "config.json").read_text() == ".model.abcdefgh.old"


def test_a_number_that_is_none_is_refused_before_the_file_is_touched(tmp_path):
    """NaN is no JSON: other readers of metrics would fail at it."""
    files.write_json(tmp_path / "metrics.json", {"value": None})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "metrics.json", {"value": float("nan")})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"value": None}


def test_files_of_tensors_are_the_same_bytes_each_time(tmp_path):
    """safetensors draws the order of a header's entries anew: with two, the files of two processes differ by a coin."""
    features, weights = torch.ones(2, 3), {"layer.weight": torch.eye(4), "layer.bias": torch.zeros(4)}
    for i in range(8):
        features_of(tmp_path / str(i), "texts", ["a", "b"], lambda rows: features[rows], 3)
        save_int8(weights, {"layer.weight"}, tmp_path / str(i) / "int8.safetensors", "a digest")
    for name in ("texts-000000.safetensors", "int8.safetensors"):
        assert len({(tmp_path / str(i) / name).read_bytes() for i in range(8)}) == 1, name
