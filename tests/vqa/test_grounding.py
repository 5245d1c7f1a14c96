"""What of a score needs the picture; and no number where there is no other picture to show."""

import json

import numpy as np
import pytest

from blipvqa import evaluate, fine_tune, load_splits
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.tasks import write_report
from blipvqa.vqa.exchange import as_exchanged, exchangeable, partners
from blipvqa.vqa.grounding import grounding, verdict_line

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
    card = (run.model_folder / "README.md").read_text("utf-8")
    assert "| another picture in its place | – | – | – | – | – |" in card
    cannot_tell = (
        "Whether the model looks at its pictures, these questions cannot tell: there is no other picture to show"
    )
    assert cannot_tell in card and run.metrics("test")["warnings"][0].startswith(cannot_tell)
    page = write_report(run, load_splits(config)).read_text("utf-8")
    assert page.count(cannot_tell) > 1 and cannot_tell in page.split("<h2")[0]  # at the top


def test_a_picture_with_another_answer_to_the_same_question_takes_the_place():
    asked = [("a", "is it CT?", "yes"), ("b", "Is it CT ?", "no"), ("c", "is it CT?", "yes"), ("c", "what?", "lung")]
    asked += [("d", "is it CT?", "yes"), ("d", "is it CT?", "no")]  # whatever is said of d is half right
    rows = [{"id": f"test/{i}", "image_id": m, "question": q, "answer": a} for i, (m, q, a) in enumerate(asked)]
    for seed in range(5):
        chosen = partners(rows, seed)
        assert chosen == partners(rows, seed)
        assert [chosen[0], chosen[2]] == [1, 1] and chosen[1] in (0, 2)
        assert all(rows[j]["image_id"] != row["image_id"] for row, j in zip(rows, chosen, strict=True))
    assert len({partners(rows, seed)[1] for seed in range(20)}) == 2
    marked = as_exchanged(rows, [{**row, "image_id": "other", "prediction": "x"} for row in rows], 0)
    assert [row["image_id"] for row in marked] == [row["image_id"] for row in rows]
    assert (marked[0]["shown_image_id"], marked[0]["shown_answer"], marked[3]["shown_answer"]) == ("b", "no", None)


def test_any_of_several_right_answers_follows_the_new_picture():
    right = [["heart", "cardiac"], ["lung", "pulmonary"]]
    rows = [
        {"id": f"test/{i}", "image_id": f"image{i}", "question": "what is it?", "answer": a[0], "answers": a}
        for i, a in enumerate(right * 6)
    ]
    chosen = partners(rows, 0)
    assert all((i + j) % 2 for i, j in enumerate(chosen))  # a picture of another answer, where there is one
    own = [{**row, "prediction": row["answers"][1]} for row in rows]
    seen = [{**row, "prediction": own[j]["prediction"]} for row, j in zip(rows, chosen, strict=True)]
    measured = grounding(own, own, as_exchanged(rows, seen, 0), FEW)
    assert (measured["followed"]["value"], measured["followed"]["n"], measured["stayed"]["value"]) == (1, 12, 0)
    # of several rows of one picture, too, and the answers of a picture that shares one are no contrast
    twice = [{**row, "id": f"{row['id']}/{k}", "answer": a} for row in rows for k, a in enumerate(row.pop("answers"))]
    shared = as_exchanged(twice, [{**row, "prediction": "x"} for row in twice], 0)
    assert all(set(row["shown_answers"]) in ({"heart", "cardiac"}, {"lung", "pulmonary"}) for row in shared)


def split_of(images=60):
    """Four questions on each picture; all answers occur to all four."""
    kinds = ["is it CT?", "is it MRI?", "where is it?", "what is it?"]
    answers = [["yes", "no"], ["no", "yes"], ["left", "right"], ["lung", "brain"]]
    return [
        {
            "id": f"test/{4 * i + k}",
            "image_id": f"image{i}",
            "question": kinds[k],
            "answer": answers[k][(i // (k + 1)) % 2],
        }
        for i in range(images)
        for k in range(4)
    ]


def judged(rows, answer, seed=0):
    """The grounding of a model that answers `answer(question, what is right of the picture it sees, row number)`, and
    nonsense to a blank picture, which no model ever saw."""
    own = [{**row, "prediction": answer(row["question"], row["answer"], i)} for i, row in enumerate(rows)]
    shown = [rows[j]["answer"] for j in partners(rows, seed)]
    seen = [
        {**row, "prediction": answer(row["question"], a, i)} for i, (row, a) in enumerate(zip(rows, shown, strict=True))
    ]
    blank = [{**row, "prediction": "no idea"} for row in rows]
    return grounding(own, blank, as_exchanged(rows, seen, seed), Bootstrap(resamples=200))


def test_a_model_that_looks_follows_the_new_picture():
    measured = judged(split_of(), lambda question, right, i: right if i % 7 else "no idea")
    assert measured["verdict"]["verdict"] == "looks"
    assert measured["followed"]["value"] == 1 and measured["stayed"]["value"] == 0
    assert measured["followed"]["n"] == sum(i % 7 > 0 for i in range(240))
    assert measured["gap"]["shuffled"]["low"] > 0.8 and measured["sensitivity"]["shuffled"]["low"] > 0.8


def test_a_model_that_never_changes_its_answer_does_not_look_however_often_it_is_right():
    """Half of its answers are right. A blank picture changes them all, and would have called it a model that sees."""
    always = {"is it CT?": "yes", "is it MRI?": "no", "where is it?": "left", "what is it?": "lung"}
    measured = judged(split_of(), lambda question, right, i: always[question])
    assert measured["verdict"]["verdict"] == "does not look" and measured["gap"]["blank"]["low"] > 0.3
    assert "and 0.0% of the answers change (0.0% to 6." in measured["verdict"]["why"]
    assert (measured["stayed"]["value"], measured["followed"]["value"]) == (1, 0)
    assert verdict_line({"grounding": measured}).startswith(
        "The model does not look at its pictures: with another picture"
    )


def test_a_model_whose_answers_change_without_getting_worse_does_not_look_at_what_counts():
    generator = np.random.default_rng(0)
    answers = {"is it CT?": ["yes", "no"], "is it MRI?": ["yes", "no"]}
    answers |= {"where is it?": ["left", "right"], "what is it?": ["lung", "brain"]}
    measured = judged(split_of(600), lambda question, right, i: str(generator.choice(answers[question])))
    assert measured["sensitivity"]["shuffled"]["value"] == pytest.approx(0.5, abs=0.05)
    assert measured["verdict"]["verdict"] == "does not look"


def test_a_handful_of_pictures_cannot_tell():
    always = judged(split_of(12), lambda question, right, i: "yes")
    assert (always["gap"]["shuffled"]["difference"], always["changed"]["shuffled"]) == (0, 0)
    assert always["verdict"]["verdict"] == "cannot tell"
    assert grounding([], [], None, FEW)["verdict"]["verdict"] == "cannot tell"
    assert verdict_line({}) == ""
