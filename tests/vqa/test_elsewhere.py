"""A run is asked about another source, and its own numbers stay as they are."""

import hashlib
import json
import shutil

import pytest
from conftest import TINY
from PIL import Image

from blipvqa import Run, evaluate_elsewhere, fine_tune, load_config
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.runs.run import RunError


@pytest.fixture
def run(finished, root):
    """A copy of the finished run in a root of its own."""
    shutil.copytree(finished[0] / "outputs" / "tiny", root / "outputs" / "tiny")
    return Run(root / "outputs" / "tiny")


def other(seed):
    drawn = {"images": {"train": 6, "validation": 4, "test": 5}, "size": 48, "seed": seed}
    return load_config(None, TINY | {"data.synthetic": drawn}, f"drawn-{seed}")


def of_its_own(run):
    files = [file for file in run.folder.iterdir() if file.is_file() and not file.name.startswith("elsewhere-")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_its_own_numbers_stay_and_the_other_set_is_answered_once(run, monkeypatch):
    before = of_its_own(run)
    scores = evaluate_elsewhere(run.config, other(7), resamples=20, progress=False)
    assert of_its_own(run) == before
    assert scores["overall"]["exact_match"]["n"] > 0 and scores["seen"] == 0
    assert scores["overall"] != run.metrics("test")["overall"]
    monkeypatch.setattr("blipvqa.vqa.elsewhere.predict", None)  # answered before: the model is not asked
    again = evaluate_elsewhere(run.config, other(7), resamples=20, progress=False)
    assert again["overall"] == scores["overall"]


def test_rows_of_its_training_are_counted_and_said(run):
    scores = evaluate_elsewhere(run.config, other(0), "train", resamples=20, progress=False)
    assert scores["seen"] == scores["overall"]["exact_match"]["n"]  # the same drawn pictures, though fewer
    assert "the run was trained on" in scores["warnings"][0]


def line(picture, question="what is it?", **further):
    return {"image": f"images/{picture}.png", "question": question, "answer": f"it is {picture}", **further}


def jsonl(path, lines):
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


def test_its_pictures_under_other_questions_and_further_columns_are_counted(folder, tiny):
    """Before, a set of the run's own pictures, and one of its rows with a column more, had a count of 0."""
    jsonl(folder / "train.jsonl", map(line, range(8)))
    jsonl(folder / "validation.jsonl", map(line, (10, 11)))
    config = tiny(data__source="mine", train__epochs=1)
    fine_tune(config)
    place = folder.parent / "theirs"
    shutil.copytree(folder / "images", place / "images")
    jsonl(place / "train.jsonl", map(line, (18, 19)))
    Image.open(place / "images" / "3.png").resize((80, 80)).save(place / "images" / "again.png")
    more = [line("again"), line(0, scanner="a"), line(2, "is it new?"), line(10), line(15)]
    jsonl(place / "test.jsonl", [*more, more[4]])
    theirs = tiny("theirs", data__source="theirs", data__columns={})
    scores = evaluate_elsewhere(config, theirs, resamples=20, progress=False)
    assert (scores["seen"], scores["seen_pictures"]) == (1, {"train": 2, "validation": 1})
    said = scores["warnings"][:4]
    assert "1 picture of test of 'theirs' looks like another of the run's train (at most 48 of 256 bits" in said[3]
    assert said[0] == "1 of 6 rows is one that the run was trained on"
    assert said[1].startswith("2 of 6 rows show pictures of the run's train: scores are flattered")
    assert any(note.startswith("test: 1 of 6 rows stands there before") for note in scores["warnings"])
    (folder / "train.jsonl").unlink()
    again = evaluate_elsewhere(config, theirs, resamples=20, progress=False)
    assert again["seen_pictures"] is None and "are not counted: its own data cannot be read" in again["warnings"][0]


def test_captions_are_refused_before_anything_is_read(run):
    with pytest.raises(ConfigError, match="task vqa only"):
        evaluate_elsewhere(run.config, load_config(None, {"task": "caption"}, "captions"))


def test_a_table_of_runs_and_sets(run, root, capsys):
    for seed in (7, 8):
        (root / f"drawn-{seed}.yaml").write_text(write_yaml(other(seed).as_dict()))
    assert main(["evaluate", "--name", "tiny", "--on", "drawn-7.yaml"]) == 0
    assert "tiny on drawn-7: exact match" in capsys.readouterr().out
    assert main(["transfer", "--runs", "tiny", "--on", "drawn-7.yaml", "drawn-8.yaml"]) == 0
    assert "| tiny |" in (root / "outputs" / "transfer.md").read_text()
    assert "drawn-8" in (root / "outputs" / "transfer.html").read_text()
    assert main(["transfer", "--runs", "tiny", "--on", "drawn-7.yaml", "drawn-7.yaml"]) == 2


def test_another_set_of_the_same_name_replaces_nothing(run):
    """Its numbers took the place of the first one's."""
    evaluate_elsewhere(run.config, other(7), resamples=20, progress=False)
    file = run.folder / "elsewhere-drawn-7-test.json"
    before = file.read_bytes()
    namesake = load_config(None, other(8).as_dict(), "drawn-7")
    with pytest.raises(RunError, match=r"'tiny/elsewhere-drawn-7-test\.json' holds numbers of other rows"):
        evaluate_elsewhere(run.config, namesake, resamples=20, progress=False)
    assert file.read_bytes() == before
