"""Answering only when sure: one rule, chosen on validation, and no score that counts silence as a mistake."""

import json
import math
import shutil

import numpy as np
import pytest
from conftest import text_of

from blipvqa import ask, evaluate, load_model, load_splits
from blipvqa.config.knobs import GenerateConfig
from blipvqa.config.reading import ConfigError, load_config, with_overrides
from blipvqa.errors import InputError
from blipvqa.models.folders import ANSWER_SETS
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.runs.files import read_lines
from blipvqa.vqa.answering import answer_all
from blipvqa.vqa.answers import answered_right
from blipvqa.vqa.asking import as_calibrated
from blipvqa.vqa.calibration import read_calibration
from blipvqa.vqa.confidence import abstain, fit_temperature
from blipvqa.vqa.sections import answering_lines, answering_section, answering_table
from blipvqa.vqa.selective import (
    ANSWERING,
    answering_warnings,
    calibration_in_force,
    choose,
    found_by,
    score_answering,
    threshold_in_force,
)

FEW = Bootstrap(resamples=60)


def answers(count, seed, split="test"):
    """Open answers, each as often right as it says."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        sure = generator.uniform(0.3, 0.99)
        right = generator.random() < sure
        rows.append(
            {
                "id": f"{split}/{i}",
                "image_id": f"image{i // 3}",
                "question": "what is it?",
                "answer": "cyst" if right else "lung",
                "prediction": "cyst",
                "score": math.log(sure),
            }
        )
    return rows


@pytest.fixture(scope="module")
def chosen():
    validation = answers(300, 1, "validation")
    calibration = fit_temperature(validation)
    return validation, calibration | {ANSWERING: choose(validation, calibration)}


def test_a_wish_is_chosen_on_validation_and_tested_on_the_scored_split(chosen):
    validation, calibration = chosen
    scores = score_answering(answers(600, 2), validation, calibration, GenerateConfig(wished_accuracy=0.8), FEW)
    (asked,) = [row for row in scores["rows"] if row["asked"]]
    assert asked["wish"] == 0.8 and scores["undefined"] is None
    assert asked["validation"]["accuracy"]["value"] >= 0.8
    accuracy, coverage = asked["scored"]["accuracy"], asked["scored"]["coverage"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"] and abs(accuracy["value"] - 0.8) < 0.08
    assert 0.3 < coverage["value"] < 1 and coverage["n"] == 600 and accuracy["n"] < 600
    spoiled = [row | {"answer": "x"} for row in answers(600, 2)]  # the scored split's references choose nothing
    again = score_answering(spoiled, validation, calibration, GenerateConfig(wished_accuracy=0.8), FEW)
    assert [row["threshold"] for row in again["rows"]] == [row["threshold"] for row in scores["rows"]]
    json.dumps(scores, allow_nan=False)


def test_a_wish_that_no_threshold_reaches_is_null_and_withholds_all(chosen):
    validation, calibration = chosen
    wrong = [row | {"answer": "lung"} for row in validation]
    hopeless = calibration | {ANSWERING: choose(wrong, calibration)}
    settings = GenerateConfig(wished_accuracy=0.9)
    assert threshold_in_force(settings, hopeless) is None
    assert {row["prediction"] for row in abstain(answers(5, 3), None, hopeless)} == {"uncertain"}
    scores = score_answering(answers(50, 2), wrong, hopeless, settings, FEW)
    assert all(row["threshold"] is None and row["scored"]["accuracy"]["value"] is None for row in scores["rows"])
    assert "no threshold reaches an accuracy of 90%" in answering_warnings(scores)[0]
    assert "none reaches it" in answering_table({"answering": scores})
    assert answering_lines({"answering": scores}) == []


@pytest.mark.parametrize("validation", [None, [], [{**answers(1, 0)[0], "score": None}]])
def test_without_validation_it_is_undefined_not_a_number(validation):
    settings = GenerateConfig(wished_accuracy=0.9)
    scores = score_answering(answers(50, 2), validation, None, settings, FEW)
    assert scores["undefined"].startswith("undefined")
    assert all(row["threshold"] is None and row["scored"]["coverage"]["value"] is None for row in scores["rows"])
    assert "undefined" in answering_warnings(scores)[0]
    assert text_of(answering_section({"answering": scores, "split": "test"})).count("undefined") == 3


def test_one_rule_says_what_is_withheld(chosen):
    _, calibration = chosen
    assert threshold_in_force(GenerateConfig(), None) == 0
    assert threshold_in_force(GenerateConfig(uncertain_below=0.4), None) == 0.4
    reached = threshold_in_force(GenerateConfig(wished_accuracy=0.8), calibration)
    assert [reached] == [t for t, accuracy in calibration[ANSWERING] if accuracy >= 0.8][:1]
    for none in (None, {}, {"yes_no": {}}):
        with pytest.raises(ValueError, match="Evaluate the run, or set"):
            threshold_in_force(GenerateConfig(wished_accuracy=0.8), none)


def test_a_threshold_of_answers_that_were_found_otherwise_is_refused(done):
    """`evaluate --set generate.method=rank` left thresholds of ranked answers, by which generated ones were withheld."""
    ranked = with_overrides(done.as_dict(), {"name": "looked", "generate.method": "rank"})
    shutil.copytree(done.folder, ranked.folder)
    run = evaluate(ranked, progress=False, resamples=10)
    calibration, wish = read_calibration(run.model_folder), GenerateConfig(wished_accuracy=0.01)
    with pytest.raises(InputError, match=r"last evaluated with generate\.method rank, and is asked with generate"):
        threshold_in_force(wish, calibration)
    asking = wish.model_copy(update={"method": "rank"})
    assert threshold_in_force(asking, calibration) == calibration[ANSWERING][0][0]
    (run.model_folder / ANSWER_SETS).unlink()  # as a pushed model has it: its answers are generated
    model, processor = load_model(str(run.model_folder))
    with pytest.raises(InputError, match="asked with generate"):
        ask(model, processor, load_splits(done)["test"].image(0), "is there a gland?", asking)


@pytest.mark.parametrize("knob", ["closed_yes_no", "shortlist", "candidates"])
def test_ranked_answers_of_other_candidates_are_not_called_calibrated(done, knob):
    """A share among two answers is no share among all: `generate.closed_yes_no` was not compared."""
    ranked = done.generate.model_copy(update={"method": "rank"})
    other = {"closed_yes_no": True, "shortlist": 2, "candidates": "mine.txt"}[knob]
    fitted = {ANSWERING: [[0.5, 1.0]], **found_by(ranked)}
    assert calibration_in_force(ranked, fitted) == fitted
    asked = ranked.model_copy(update={knob: other})
    assert calibration_in_force(asked, fitted) is None
    with pytest.raises(InputError, match=rf"generate\.{knob} .*, and is asked with {other}"):
        threshold_in_force(asked.model_copy(update={"wished_accuracy": 0.5}), fitted)
    older = {key: value for key, value in fitted.items() if key in (ANSWERING, "method")}
    assert calibration_in_force(asked, older) == older


def test_a_file_of_candidates_is_known_by_what_it_holds(root):
    """Another spelling of its name voided a calibration; other answers under the same name did not."""
    ranked = GenerateConfig(method="rank", candidates="mine.txt")
    (root / "mine.txt").write_text("lung\nliver\n")
    fitted = {ANSWERING: [[0.5, 1.0]], **found_by(ranked)}
    (root / "copy.txt").write_text("liver\n\nlung\n")
    for name in ("mine.txt", "./mine.txt", str(root / "mine.txt"), "copy.txt"):
        assert calibration_in_force(ranked.model_copy(update={"candidates": name}), fitted) == fitted
    older = {key: value for key, value in fitted.items() if key != "candidates_digest"}
    (root / "mine.txt").write_text("lung\nbone\n")
    assert calibration_in_force(ranked, older) == older and calibration_in_force(ranked, fitted) is None
    wish = ranked.model_copy(update={"wished_accuracy": 0.5})
    with pytest.raises(InputError, match=r"generate\.candidates of another content, and is asked with mine\.txt as it"):
        threshold_in_force(wish, fitted)
    settings, beside = as_calibrated(wish, {"closed_yes_no": False, "shortlist": 128}, fitted)
    assert threshold_in_force(settings, beside) == 0.5  # the model by itself ranks the candidates that it brings
    assert calibration_in_force(ranked.model_copy(update={"candidates": "train"}), fitted) is None
    (root / "mine.txt").unlink()
    assert calibration_in_force(ranked, fitted) == fitted  # a model that was copied without its file


def test_ask_ranks_and_is_as_sure_as_the_evaluation_that_calibrated(done):
    """Asked as a folder by itself, whose settings do not say between which answers it chose."""
    ranked = with_overrides(
        done.as_dict(), {"name": "closed", "generate.method": "rank", "generate.closed_yes_no": True}
    )
    shutil.copytree(done.folder, ranked.folder, dirs_exist_ok=True)
    run = evaluate(ranked, progress=False, resamples=10)
    model, processor = load_model(str(run.model_folder))
    data, row = load_splits(done)["test"], run.predictions("test")[0]
    settings = done.generate.model_copy(update={"method": "rank"})
    answer = ask(model, processor, data.image(data.index(row["id"])), row["question"], settings)
    assert answer.confidence == pytest.approx(row["confidence"], abs=1e-5)


@pytest.mark.parametrize(
    "changed", [{"generate.method": "rank"}, {"generate.num_beams": 5}, {"generate.max_new_tokens": 1}]
)
def test_a_calibration_of_answers_that_were_found_otherwise_is_not_used(done, tmp_path, capsys, changed):
    """`evaluate --set generate.method=rank` left a calibration of ranked answers, which said how sure generated ones
    are: of 3 % it made 12 %; with other beams, or another length, it did the same."""
    ranked = with_overrides(done.as_dict(), {"name": "other"} | changed)
    shutil.copytree(done.folder, ranked.folder, dirs_exist_ok=True)
    run = evaluate(ranked, progress=False, resamples=10)
    calibration = read_calibration(run.model_folder)
    assert calibration_in_force(done.generate, calibration) is None
    assert calibration_in_force(ranked.generate, calibration) == calibration
    model, processor = load_model(str(run.model_folder))
    asked = (model, processor, load_splits(done)["test"].image(0), "is there a gland?")
    own = ask(*asked, done.generate, calibration=None).confidence
    assert ask(*asked, done.generate).confidence == own
    data, table = load_splits(done)["test"], tmp_path / "own.csv"
    data.image(0).save(tmp_path / "a.png")
    table.write_text("image,question\na.png,is there a gland?\n")
    generating = with_overrides(done.as_dict(), {"name": "other"})
    wish = done.generate.model_copy(update={"wished_accuracy": 0.5})
    with pytest.raises(InputError, match="of whose answers no threshold was chosen"):
        threshold_in_force(wish, calibration)
    rows = read_lines(answer_all(generating, table, tmp_path / "out.jsonl", progress=False))
    assert rows[0]["confidence"] == pytest.approx(own)
    assert "confidence is the model's own" in capsys.readouterr().out


def test_a_fixed_confidence_and_a_wish_together_are_refused_by_name():
    with pytest.raises(ConfigError, match="wished_accuracy and uncertain_below both say what is withheld"):
        load_config(None, {"generate.wished_accuracy": 0.9, "generate.uncertain_below": 0.5})
    assert load_config(None, {"generate.uncertain_below": 0.5}).generate.uncertain_below == 0.5


def test_silence_is_no_mistake(chosen):
    """What is withheld keeps its answer: accuracy over all questions does not fall when the model may be silent."""
    from blipvqa.vqa.confidence import with_confidence

    rows = answers(60, 4)
    marked = with_confidence(rows, 0.7, chosen[1])
    assert any(row.get("withheld") for row in marked)
    assert [answered_right(row) for row in marked] == [answered_right(row) for row in rows]
