"""Answer sets: what a run that ranks says of them, in files, answers and sheets, and when it says none."""

import csv
import json

import pytest

from blipvqa import answer_all, ask, evaluate, fine_tune, load_model, load_splits
from blipvqa.config.reading import with_overrides
from blipvqa.models.folders import ModelError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.run import Run
from blipvqa.runs.seals import write_sealed
from blipvqa.tasks import write_report
from blipvqa.vqa.conformal import answer_set, calibrate_sets, score_sets
from blipvqa.vqa.set_aside import rows_aside

IMAGES = {"data__synthetic": {"images": {"train": 24, "validation": 40, "test": 6}, "size": 48}}


@pytest.fixture
def ranked(tiny):
    config = tiny(generate__method="rank", train__epochs=2, **IMAGES)
    fine_tune(config)
    return config, evaluate(config, progress=False, resamples=20)


def test_half_of_validation_chooses_neither_epoch_nor_temperature_and_calibrates_the_sets(ranked):
    config, run = ranked
    splits, metrics = load_splits(config), run.metrics("test")
    aside = rows_aside(splits["validation"], run)
    images = {splits["validation"].rows[i]["image_id"] for i in aside}
    fitted = metrics["answer_sets"]["calibration"]
    assert (fitted["groups"], fitted["questions"]) == (len(images), len(aside)) == (20, len(aside))
    assert {row["set_aside"] for row in run.history if row["type"] == "epoch"} == {20}
    temperature = metrics["confidence"]["calibration"]
    assert sum(temperature[kind]["n"] for kind in ("yes_no", "sequence")) == len(splits["validation"]) - len(aside)
    for row in run.predictions("test"):
        assert "ranked" not in row and ("answer_set" in row) == (fitted["levels"]["0.9"]["threshold"] is not None)


def test_a_validation_split_too_small_for_both_chooses_the_epoch_whole(tiny):
    """Half of 30 images cannot give a 95 % set; an epoch chosen by the other half would be all that comes of it."""
    images = {"images": {"train": 24, "validation": 30, "test": 6}, "size": 48}
    config = tiny(generate__method="rank", train__epochs=1, data__synthetic=images)
    run = fine_tune(config)
    assert not any("set_aside" in row for row in run.history)
    metrics = evaluate(config, progress=False, resamples=20).metrics("test")
    assert metrics["answer_sets"]["levels"]["0.95"] is None
    page = write_report(run, load_splits(config)).read_text(encoding="utf-8")
    assert "0 groups were set aside, 19 are needed" in page


def test_of_a_run_that_chose_its_epoch_by_all_of_validation_nothing_is_left(tiny):
    config = tiny(train__epochs=1)
    fine_tune(config)
    ranking = with_overrides(config.as_dict(), {"generate.method": "rank"})
    run = evaluate(ranking, progress=False, resamples=20)
    assert rows_aside(load_splits(ranking)["validation"], Run(config.folder)) == []
    levels = run.metrics("test")["answer_sets"]["calibration"]["levels"]
    assert all(level["threshold"] is None and "0 groups were set aside" in level["reason"] for level in levels.values())
    model, processor = load_model(str(run.model_folder))
    assert ask(model, processor, load_splits(ranking)["test"].image(0), "is there fat?").answer_set is None


def test_ask_and_the_sheet_give_the_set_of_the_stored_threshold(ranked, tmp_path):
    config, run = ranked
    file = run.model_folder / "answer_sets.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    stored["levels"]["0.9"] = {"threshold": 0.98, "reason": ""}
    write_sealed(file, stored)
    data, (model, processor) = load_splits(config)["test"], load_model(str(run.model_folder))
    data.image(0).save(tmp_path / "0.png")
    answer = ask(model, processor, data.image(0), data.rows[0]["question"], config.generate)
    assert answer.answer == answer.answer_set[0] and len(answer.answer_set) > 1
    assert "90 % set: " in answer._repr_html_()
    sheet = answer_all(config, tmp_path, tmp_path / "a.csv", questions=[data.rows[0]["question"]], progress=False)
    (row,) = csv.DictReader(sheet.read_text(encoding="utf-8-sig").splitlines())
    assert row["answer_set"] == "; ".join(answer.answer_set)
    file.write_text('{"levels": {"0.9": {"threshold": "low"}}, "candidates": ["yes"]}')
    with pytest.raises(ModelError, match=r"answer_sets\.json"):
        ask(model, processor, data.image(0), "is there fat?")
    file.unlink()
    assert ask(model, processor, data.image(0), "is there fat?").answer_set is None


def predictions(count: int, answers: str) -> list[dict]:
    ranked = [["yes", 0.6], ["no", 0.3], ["Fat.", 0.06], ["fat", 0.04]]
    return [
        {
            "id": str(i),
            "image_id": f"i{i}",
            "question": "is it?",
            "answer": answer,
            "prediction": "yes",
            "ranked": ranked,
        }
        for i, answer in enumerate(answers.split() * count)
    ]


def test_a_right_answer_that_is_no_candidate_counts_as_not_covered():
    fitted = calibrate_sets(predictions(10, "yes yes no fat"), "image_id")
    assert fitted["levels"]["0.8"]["threshold"] == pytest.approx(0.94) and fitted["not_among"] == 0
    scores = score_sets(predictions(5, "yes bone"), fitted, Bootstrap(resamples=50))
    of_level = scores["levels"]["0.8"]
    assert (of_level["coverage"]["value"], of_level["size"]["value"]) == (0.5, pytest.approx(3))
    assert scores["not_among"]["value"] == 0.5 and of_level["by"]["is"]["coverage"]["value"] == 0.5
    missing = calibrate_sets(predictions(10, "yes bone"), "image_id")
    assert "of 20 right answers set aside 10 are no candidate" in missing["levels"]["0.9"]["reason"]


def test_any_of_several_right_answers_is_covered():
    """Before, only the reference counted: a candidate that is accepted everywhere else was none."""
    rows = [{**row, "answer": "tissue", "answers": ["tissue", "Yes", "no"]} for row in predictions(60, "yes")]
    fitted = calibrate_sets(rows, "image_id")
    assert fitted["not_among"] == 0 and fitted["levels"]["0.9"]["threshold"] == pytest.approx(0.4)
    scored = score_sets(rows, fitted, Bootstrap("image_id", 50))
    assert scored["levels"]["0.9"]["coverage"]["value"] == 1 and scored["not_among"]["value"] == 0


def test_a_set_holds_the_best_in_any_case_and_each_answer_once():
    ranked = [["yes", 0.6], ["no", 0.3], ["Fat.", 0.06], ["fat", 0.04]]
    assert answer_set(ranked, 0.1) == ["yes"]
    assert answer_set(ranked, 0.7) == ["yes", "no"]
    assert answer_set(ranked, 0.97) == ["yes", "no", "Fat."]
