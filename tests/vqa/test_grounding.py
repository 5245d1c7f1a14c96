"""What of a score needs the picture; and no number where there is no other picture to show."""

import json

import pytest

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.vqa.grounding import exchangeable, grounding
from blipvqa.vqa.report import write_report

FEW = Bootstrap(resamples=50)


def rows_of(*predictions, images=8):
    return [
        {"id": f"test/{i}", "image_id": f"image{i % images}", "question": q, "answer": "lung", "prediction": p}
        for i, (q, p) in enumerate(predictions)
    ]


def test_what_is_lost_without_the_picture_and_how_often_answers_change():
    own = rows_of(*[("what is it?", "lung")] * 8, *[("where is it?", "lung")] * 4)
    blank = rows_of(*[("what is it?", "bone")] * 8, *[("where is it?", "Lung.")] * 4)
    measured = grounding(own, blank, own, FEW)
    assert measured["blank"]["overall"]["exact_match"]["value"] == pytest.approx(4 / 12)
    assert measured["gap"]["blank"]["difference"] == pytest.approx(8 / 12)
    assert measured["gap"]["blank"]["real"]
    assert measured["changed"] == {"blank": pytest.approx(8 / 12), "shuffled": 0}
    assert measured["changed_by"]["blank"] == {"what": 1, "where": 0}


def test_one_picture_cannot_be_exchanged_and_gives_no_number():
    own = rows_of(("what is it?", "lung"), ("where is it?", "bone"), images=1)
    assert not exchangeable(own) and exchangeable(rows_of(("what?", "a"), ("what?", "b")))
    measured = grounding(own, own, None, FEW)
    assert measured["changed"] == {"blank": 0, "shuffled": None}  # not 0: nothing was exchanged
    assert measured["gap"]["shuffled"]["difference"] is None and measured["gap"]["shuffled"]["n"] == 0
    assert measured["shuffled"]["overall"]["exact_match"]["value"] is None
    assert measured["changed_by"]["shuffled"] == {}
    json.dumps(measured, allow_nan=False)
    assert grounding([], [], None, FEW)["changed"] == {"blank": None, "shuffled": None}


def test_a_test_split_of_one_picture_is_evaluated_and_reported_with_dashes(tiny):
    config = tiny(data__synthetic={"images": {"train": 24, "validation": 6, "test": 1}, "size": 48}, train__epochs=1)
    fine_tune(config)
    run = evaluate(config, progress=False, start=False, resamples=20)
    assert run.metrics("test")["grounding"]["changed"]["shuffled"] is None
    assert "| another picture in its place | – | – | – | – |" in (run.model_folder / "README.md").read_text("utf-8")
    page = write_report(run, load_splits(config)).read_text("utf-8")
    assert "exchanged for another" not in page and "With the picture blanked" in page
