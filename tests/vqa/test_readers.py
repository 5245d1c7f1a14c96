"""Two readers agree as far as Cohen's kappa says, and a sample by strata leads back to all answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from blipvqa import Run
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.vqa.readers import agreement, agreement_line, kappa, strata_of, stratified_sample
from blipvqa.vqa.report import _second_reader
from blipvqa.vqa.review import read_review, review_file, write_review
from blipvqa.vqa.tables import review_table

CATEGORIES = ("correct", "partly", "incorrect", "unclear")


def predictions(right):
    """Answers, right or wrong, two on each image; the first quarter is the least sure."""
    return [
        {
            "id": f"test/{i}",
            "image_id": f"image{i // 2}",
            "question": "what is it?",
            "answer": "lung",
            "prediction": "lung" if ok else "liver",
            "confidence": 0.1 + i / len(right),
        }
        for i, ok in enumerate(right)
    ]


def judge(path, verdict, keep=lambda number: True):
    """Fill in `verdict(row)`, keep some rows, and turn their order round."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for i, row in reversed(list(enumerate(rows))):
            if keep(i):
                writer.writerow(row | {"verdict": verdict(row)})


def sheets(folder, rows, first, second):
    paths = [write_review(rows, folder, reader=reader) for reader in (1, 2)]
    for path, verdict in zip(paths, (first, second), strict=True):
        judge(path, verdict)
    return paths


def test_kappa_by_hand():
    """Of 50 pairs 20 say yes twice, 15 no twice: observed 0.7, expected 0.5, kappa 0.4 (the usual textbook table)."""
    pairs = [("correct", "correct")] * 20 + [("correct", "incorrect")] * 5
    pairs += [("incorrect", "correct")] * 10 + [("incorrect", "incorrect")] * 15
    entry = kappa(pairs, CATEGORIES, np.arange(50))
    assert entry["value"] == pytest.approx(0.4)
    assert 0.1 < entry["low"] < 0.4 < entry["high"] < 0.7
    opposite = kappa([("correct", "incorrect"), ("incorrect", "correct")] * 20, CATEGORIES, np.arange(40))
    assert opposite["value"] == pytest.approx(-1) and opposite["low"] >= -1


def test_undefined_kappas_are_null(tmp_path):
    rows = predictions([1, 0, 1, 0])
    one, other = sheets(tmp_path, rows, lambda row: "correct", lambda row: "correct")
    result = agreement(one, other, rows)
    assert (result["kappa"]["value"], result["kappa"]["low"]) == (None, None)
    assert result["agreement"]["value"] == 1
    line = agreement_line(result)
    assert line.startswith("Two readers both judged 4 (") and line.endswith(
        "Cohen's kappa is undefined: both gave one verdict alone."
    )
    one, other = sheets(
        tmp_path / "b",
        rows,
        lambda row: "correct" if row["id"] < "test/2" else "",
        lambda row: "correct" if row["id"] >= "test/2" else "",
    )
    result = agreement(one, other, rows)
    assert (result["kappa"], result["only_first"], result["only_second"]) == (
        {"value": None, "n": 0, "groups": 0, "low": None, "high": None},
        2,
        2,
    )
    nothing = "Two readers both judged 0 answers. Cohen's kappa is undefined: no answer has a verdict of both."
    assert agreement_line(result) == nothing
    json.dumps(result, allow_nan=False)


def test_disagreements_are_listed_and_other_predictions_refused(tmp_path):
    rows = predictions([1, 0, 1, 0])
    one, other = sheets(
        tmp_path, rows, lambda row: "correct", lambda row: "partly" if row["id"] == "test/2" else "correct"
    )
    assert other == review_file(tmp_path, "test", 2)
    (told,) = agreement(one, other, rows)["disagreements"]
    assert (told["id"], told["first"], told["second"]) == ("test/2", "correct", "partly")
    with pytest.raises(InputError, match="is about 'lung', but the prediction is 'bone'"):
        agreement(one, other, [{**rows[0], "prediction": "bone"}, *rows[1:]])
    with pytest.raises(InputError, match="no prediction has the id"):
        agreement(one, other, rows[:3])


def test_the_report_says_how_far_two_sheets_agree(tmp_path):
    rows = predictions([i % 3 == 0 for i in range(40)])
    one, other = sheets(
        tmp_path,
        rows,
        lambda row: "correct" if row["prediction"] == "lung" else "incorrect",
        lambda row: "correct" if row["prediction"] == "lung" or row["id"] == "test/1" else "incorrect",
    )
    run = Run(tmp_path)
    paragraph, listed = _second_reader(run, "test", rows, Bootstrap(resamples=100))
    value = agreement(one, other, rows)["kappa"]["value"]
    assert f"kappa is {value:.3f} (" in paragraph and "40 (20) answers" in paragraph
    assert "1 disagreement<" in listed and "test/1" in listed
    other.write_text("nothing", encoding="utf-8")
    assert "cannot be read" in _second_reader(run, "test", rows, Bootstrap(resamples=10))[0]
    other.unlink()
    assert _second_reader(run, "test", rows, Bootstrap()) == []


def test_a_sample_takes_as_many_of_each_stratum_and_its_weights_lead_back(tmp_path):
    rows = predictions([i % 5 != 0 for i in range(200)])
    strata = strata_of(rows)
    sample = stratified_sample(rows, 30, seed=0)
    assert sample == stratified_sample(rows, 30, seed=0) != stratified_sample(rows, 30, seed=1)
    assert [sum(strata[i] == name for i in sample) for name in ("wrong", "right", "uncertain")] == [10, 10, 10]
    assert sum(sample.values()) == pytest.approx(200)
    assert len(stratified_sample(rows, 999, seed=0)) == 200
    path = write_review(rows, tmp_path, sample=30, stratified=True)
    assert path.read_text(encoding="utf-8-sig").splitlines()[0].endswith("verdict,weight,drawn")


def test_the_weighted_estimate_is_right_on_average_where_the_plain_mean_is_not(tmp_path):
    """Right answers are accepted, wrong ones are not: the truth is 0.8, of the sampled answers some 0.6."""
    rows = predictions([i % 5 != 0 for i in range(200)])
    values, plain = [], []
    for seed in range(40):
        path = write_review(rows, tmp_path / str(seed), sample=30, stratified=True, seed=seed)
        judge(path, lambda row: "correct" if row["prediction"] == row["answer"] else "incorrect")
        result = read_review(path, rows, Bootstrap(resamples=100))
        values.append(result["expert_accuracy"]["value"])
        plain.append(result["verdicts"]["correct"] / 30)
        assert result["expert_accuracy"]["low"] <= values[-1] <= result["expert_accuracy"]["high"]
    assert np.mean(values) == pytest.approx(0.8, abs=0.02)
    assert np.mean(plain) < 0.7


def test_a_weighted_estimate_is_over_images(tmp_path):
    rows = predictions([i % 5 != 0 for i in range(40)])  # two on each picture
    path = write_review(rows, tmp_path, stratified=True)
    judge(path, lambda row: "correct")
    entry = read_review(path, rows, Bootstrap(resamples=20))["expert_accuracy"]
    assert (entry["n"], entry["groups"]) == (40, 20)


def test_removed_rows_leave_the_rest_of_their_stratum_to_stand_for_it(tmp_path):
    rows = predictions([i % 5 != 0 for i in range(200)])
    path = write_review(rows, tmp_path, sample=30, stratified=True)
    strata = dict(zip((row["id"] for row in rows), strata_of(rows), strict=True))
    judge(path, lambda row: "correct" if strata[row["id"]] == "right" else "incorrect", keep=lambda i: i % 3)
    share = sum(stratum == "right" for stratum in strata.values()) / 200
    assert read_review(path, rows, Bootstrap(resamples=50))["expert_accuracy"]["value"] == pytest.approx(share)
    judge(path, lambda row: "" if strata[row["id"]] == "wrong" else "correct")
    review = read_review(path, rows)
    assert review["expert_accuracy"]["value"] is None  # nothing is known of the wrong ones
    assert "undefined: of a stratum of the sample no answer was judged" in review_table(review)
    assert "questions (groups)" in review_table(review | {"group": "group_id"})


def test_weights_of_strata_that_were_others_are_not_used(tmp_path):
    """Another calibration moved answers from one stratum to another, and its few judged ones stood for all of it."""
    rows = predictions([i % 5 != 0 for i in range(200)])
    paths = [write_review(rows, tmp_path, sample=30, stratified=True, reader=reader) for reader in (1, 2)]
    for path in paths:
        judge(path, lambda row: "correct" if row["prediction"] == row["answer"] else "incorrect")
    other = [row | {"confidence": 1 - row["confidence"]} for row in rows]
    before, after = (read_review(paths[0], each, Bootstrap(resamples=20)) for each in (rows, other))
    assert before["undefined"] is None and before["expert_accuracy"]["value"] == pytest.approx(0.8, abs=0.1)
    assert after["expert_accuracy"]["value"] is None and after["verdicts"] == before["verdicts"]
    assert "undefined: the sample was drawn when other answers were right, wrong or uncertain" in review_table(after)
    assert agreement(*paths, rows, Bootstrap(resamples=20))["undefined"] is None
    assert "drawn when other answers" in agreement_line(agreement(*paths, other, Bootstrap(resamples=20)))


def test_a_sheet_is_read_once(tmp_path, monkeypatch):
    rows = predictions([i % 5 != 0 for i in range(40)])
    paths = [write_review(rows, tmp_path, sample=30, stratified=True, reader=reader) for reader in (1, 2)]
    read, opened = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or read(path))
    read_review(paths[0], rows, Bootstrap(resamples=20))
    agreement(*paths, rows, Bootstrap(resamples=20))
    assert opened == [paths[0], *paths]


def test_two_readers_of_a_stratified_sample_are_weighted_as_one_is(tmp_path):
    """Both agree on what is right and never on what is wrong: of 200 answers 40 are wrong, of the sample a third."""
    rows = predictions([i % 5 > 0 for i in range(200)])
    paths = [write_review(rows, tmp_path, sample=30, stratified=True, reader=reader) for reader in (1, 2)]
    judge(paths[0], lambda row: "correct" if row["prediction"] == row["answer"] else "incorrect")
    judge(paths[1], lambda row: "correct" if row["prediction"] == row["answer"] else "partly")
    found = agreement(*paths, rows, Bootstrap(resamples=50))
    strata, weight = strata_of(rows), stratified_sample(rows, 30, 0)
    wrong = sum(of for i, of in weight.items() if rows[i]["prediction"] != "lung") / 200
    assert set(strata) == {"wrong", "right", "uncertain"} and wrong == pytest.approx(0.2, abs=0.05)
    assert found["agreement"]["value"] == pytest.approx(1 - wrong)
    expected = (1 - wrong) ** 2  # by chance: only "correct" is said by both
    assert found["kappa"]["value"] == pytest.approx((1 - wrong - expected) / (1 - expected))
    assert found["kappa"]["low"] < found["kappa"]["value"] < found["kappa"]["high"]
    judge(paths[0], lambda row: row["verdict"] if row["prediction"] == row["answer"] else "")
    found = agreement(*paths, rows, Bootstrap(resamples=50))
    assert found["kappa"]["value"] is None and found["agreement"]["value"] is None  # nothing leads back to the wrong
    assert "undefined: of a stratum of the sample no answer was judged" in agreement_line(found)
