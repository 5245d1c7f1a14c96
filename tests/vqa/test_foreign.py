"""Pictures unlike those of training: who says so, and when nothing is said."""

import csv
import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from blipvqa import answer_all, ask, evaluate, fine_tune, load_model, load_splits
from blipvqa.models.folders import ModelError
from blipvqa.numbers.outliers import distances, fit_spread, most_by_chance, usual_rank
from blipvqa.page.answers import Answers
from blipvqa.tasks import write_report
from blipvqa.vqa.foreign import PASSES, fit_gate, foreign_warnings, store_gate, stored_gate
from blipvqa.vqa.tables import foreign_note as foreign_note_of_all

QUESTION = "is there a gland?"


@pytest.fixture
def foreign(tmp_path):
    """A picture that no drawn tissue looks like."""
    path = tmp_path / "own" / "radiograph.png"
    path.parent.mkdir()
    Image.effect_noise((60, 60), 120).point(lambda v: v // 3).save(path)
    return path


def test_ask_and_the_page_warn_of_a_foreign_picture_and_of_no_usual_one(done, foreign):
    model, processor = load_model(str(done.folder / "model"))
    usual = load_splits(done)["train"].image(0)
    answer = ask(model, processor, usual, QUESTION)
    assert 0 < answer.unlike <= 1.2 and (answer.notes == []) == (answer.unlike <= 1)
    answer = ask(model, processor, foreign, QUESTION)
    assert answer.unlike > 1 and "unlike those of training" in answer.notes[0]
    assert "unlike those of training" in answer._repr_html_()
    said = Answers(model, processor, done.generate)([foreign.read_bytes()], QUESTION, False)
    assert said["notes"] == answer.notes


def test_the_picture_that_is_the_threshold_is_usual_to_all_who_ask(done, tmp_path):
    """The gate that is kept has numbers of single precision: read from it, the same picture had been foreign."""
    model, _ = load_model(str(done.folder / "model"))
    model.folder = tmp_path
    for seed in range(20):
        train, validation = np.random.default_rng(seed).normal(size=(2, 60, 8))
        gate = fit_gate(train, validation)
        store_gate(tmp_path, gate, model)
        foreign = 60 - usual_rank(60, PASSES)
        assert [(one.unlike(validation) > 1).sum() for one in (gate, stored_gate(model))] == [foreign, foreign]


def test_metrics_predictions_sheets_and_report_tell_how_unlike_each_picture_is(done, foreign, tmp_path, capsys):
    metrics = json.loads((done.folder / "metrics-test.json").read_text(encoding="utf-8"))["foreign"]
    splits = load_splits(done)
    images = {row["image_id"] for row in splits["test"].rows}
    assert metrics["of"] == len(images) and metrics["share"]["n"] == len(splits["test"])
    rows = [json.loads(line) for line in (done.folder / "predictions-test.jsonl").read_text().splitlines()]
    assert sum(ratio > 1 for ratio in {row["image_id"]: row["unlike"] for row in rows}.values()) == metrics["images"]
    splits["train"].image(0).save(foreign.parent / "usual.png")
    sheet = answer_all(done, foreign.parent, tmp_path / "a.csv", questions=[QUESTION], progress=False)
    unlike = {
        row["image"]: float(row["unlike"]) for row in csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines())
    }
    assert unlike["radiograph.png"] > 1 and unlike["radiograph.png"] > unlike["usual.png"]
    assert "pictures unlike those of training" in capsys.readouterr().out


def test_a_gate_of_other_weights_is_ignored_with_a_warning_and_a_damaged_one_refused(tiny, foreign):
    config = tiny(train__epochs=1)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=10)
    assert "Pictures unlike those of training" in write_report(run, load_splits(config)).read_text(encoding="utf-8")
    folder, file = run.model_folder, run.model_folder / "foreign.safetensors"
    kept = run.folder / "kept.safetensors"
    shutil.copyfile(folder / "model.safetensors", kept)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.startswith("vision_model") and name.endswith("weight"))
    tensors[name][0] += 0.1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    model, processor = load_model(str(folder))
    with pytest.warns(UserWarning, match="other weights and is ignored"):
        assert ask(model, processor, foreign, QUESTION).unlike is None
    for content in (b"", b"nothing", file.read_bytes()[:300]):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"foreign\.safetensors"):
            stored_gate(model)
    file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask(model, processor, foreign, QUESTION).unlike is None
    shutil.copyfile(kept, folder / "model.safetensors")  # evaluating others is refused
    assert evaluate(config, progress=False, resamples=10).metrics("test")["foreign"]["of"] == 6
    model, _ = load_model(str(folder))
    gate, written = stored_gate(model), []
    for _ in range(8):  # safetensors writes further entries of its header in another order each time
        store_gate(folder, gate, model)
        written.append(file.read_bytes())
    assert len(set(written)) == 1 and stored_gate(model).threshold == gate.threshold


def test_distances_go_by_the_sample_s_own_spread_and_fewer_vectors_than_dimensions_have_one():
    draw = np.random.default_rng(0)
    wide = draw.normal(size=(4000, 2)) * [10, 1]
    along, across = distances(np.array([[20, 0], [0, 20]]), *fit_spread(wide))
    assert along == pytest.approx(2, rel=0.1) and across > 5 * along
    few = draw.normal(size=(5, 40))
    assert np.isfinite(distances(few, *fit_spread(few))).all()
    assert np.isfinite(distances(few, *fit_spread(np.zeros((3, 40))))).all()


def test_how_many_pictures_are_foreign_by_chance_is_that_of_thresholds_drawn_anew():
    """The rule alone, for any distances: with 80 of validation 17 of 140 may be foreign, with 500 only 13."""
    draw = np.random.default_rng(0)
    for count, most in ((80, 17), (500, 13), (6, 65)):
        beyond = []
        for _ in range(4000):
            threshold = np.sort(draw.random(count))[usual_rank(count, PASSES) - 1]
            beyond.append((draw.random(140) > threshold).sum())
        assert most_by_chance(140, count, PASSES) == most
        assert (np.array(beyond) <= most).mean() == pytest.approx(0.978, abs=0.012)
        assert np.mean(beyond) / 140 <= max(0.05, 1 / (count + 1)) + 0.003
    assert most_by_chance(0, 80, PASSES) == 0
    for count in range(19, 400):  # a further picture of the kind passes at least as often as it is said
        assert usual_rank(count, PASSES) / (count + 1) >= PASSES


def test_as_many_foreign_pictures_as_chance_leaves_to_be_expected_are_told_and_no_warning(done):
    metrics = json.loads((done.folder / "metrics-test.json").read_text(encoding="utf-8"))
    foreign = metrics["foreign"]
    assert foreign["checked_on"] == 6 and 0 < foreign["by_chance"] <= foreign["of"] == 6
    assert f"up to {foreign['by_chance']} are unlike by chance" in foreign_note_of_all(metrics)
    told = {"images": 40, "of": 140, "by_chance": 40}
    assert foreign_warnings(told, "test") == [] and foreign_warnings(told | {"by_chance": 39}, "test") != []


def test_of_few_validation_pictures_all_pass_and_the_page_says_no_less():
    """Six pictures have no 95 %: the threshold is the farthest one's distance, and the page said that 95 % pass."""
    draw = np.random.default_rng(0)
    train, few = draw.normal(size=(200, 3)), draw.normal(size=(6, 3))
    assert (fit_gate(train, few).unlike(few) <= 1 + 1e-9).all()
    nothing = {"value": None, "n": 0, "groups": 0, "low": None, "high": None}
    foreign = {
        "images": 0,
        "of": 6,
        "checked_on": 6,
        "by_chance": 3,
        "exact_match": dict.fromkeys(("usual", "foreign"), nothing),
    }
    assert "the one that 95 % or more of validation's pictures pass" in foreign_note_of_all({"foreign": foreign})
