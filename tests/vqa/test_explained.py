"""Explanations are made by `evaluate` and read by pages: no page runs a model."""

import dataclasses
import shutil
import subprocess
import sys

import torch

from blipvqa import Run, evaluate, load_config, load_model, load_splits
from blipvqa.tasks import write_report
from blipvqa.vqa import explained, pictures
from blipvqa.vqa.answers import answered_right


def test_evaluation_stores_what_the_report_shows(done):
    run = Run(done.folder)
    predictions, splits = run.predictions("test"), load_splits(done)
    stored = explained.stored_explanations(run, "test")
    rows = {row["id"]: row for row in predictions}
    assert 1 < len(stored) <= 6
    assert all(explanation.explains(rows[explanation.id]) for explanation in stored)
    assert not stored[0].explains(rows[stored[0].id] | {"prediction": "another"})
    indices = explained.worth_explaining(predictions)
    assert [predictions[i]["id"] for i in indices] == [explanation.id for explanation in stored]
    assert len({predictions[i]["image_id"] for i in indices}) == len(indices)
    again = explained.explain_predictions(
        *load_model(str(run.model_folder), done), splits["test"], predictions, indices
    )
    for one, other in zip(stored, again, strict=True):
        torch.testing.assert_close(one.map, other.map, rtol=0, atol=1e-3)
    page = pictures.explanations(splits["test"], predictions, stored)
    assert page.count("<img") == len(stored)
    assert pictures.explanations(splits["test"], predictions[:0], stored).count("<img") == 0


def test_a_wrong_answer_is_among_what_is_explained(done):
    predictions = Run(done.folder).predictions("test")
    wrong = [i for i, row in enumerate(predictions) if not answered_right(row)]
    assert not wrong or set(explained.worth_explaining(predictions)) & set(wrong)
    assert explained.worth_explaining([]) == []


def test_no_map_is_drawn_of_an_answer_that_says_nothing(done):
    run, splits = Run(done.folder), load_splits(done)
    rows, stored = run.predictions("test"), explained.stored_explanations(run, "test")
    silent = [{**row, "prediction": ""} for row in rows]
    assert explained.worth_explaining(silent) == []
    for maps in ([dataclasses.replace(one, answer="") for one in stored], []):
        shown = pictures.explanations(splits["test"], silent, maps)
        assert "the model said nothing" in shown and "<img" not in shown
    one = [{**row, "prediction": ""} if row["id"] == stored[0].id else row for row in rows]
    maps = [dataclasses.replace(stored[0], answer=""), *stored[1:]]
    assert pictures.explanations(splits["test"], one, maps).count("<img") == len(stored) - 1


def test_a_report_needs_no_model(done, tmp_path):
    run = Run(shutil.copytree(done.folder, tmp_path / "copy"))
    (run.model_folder / "model.safetensors").unlink()
    shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
    page = write_report(run, load_splits(done)).read_text(encoding="utf-8")
    assert "What moved the answer" in page
    assert "run notebook 03_evaluate again" not in page
    (run.folder / "explanations-test.json").unlink()  # as an older version left it
    assert "run notebook 03_evaluate again" in write_report(run, load_splits(done)).read_text(encoding="utf-8")


def test_an_evaluation_of_the_same_explains_nothing_anew(done, monkeypatch):
    file = Run(done.folder).folder / "explanations-test.json"
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(explained, "explain_predictions", None)  # would be called
    evaluate(load_config(None, done.as_dict() | {"name": done.name}, done.name), progress=False)
    assert file.stat().st_mtime_ns == before


def test_looking_at_pictures_brings_in_no_model_and_no_evaluator():
    code = """
import sys
import blipvqa.vqa.explained, blipvqa.vqa.figures, blipvqa.vqa.pictures, blipvqa.vqa.tables
names = ("blipvqa.models", "blipvqa.training", "blipvqa.vqa.evaluation", "blipvqa.vqa.predictions", "transformers")
print([name for name in names if name in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
