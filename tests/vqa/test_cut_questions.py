"""Questions that are read in part and answers that stop at their limit are told wherever they are asked and scored."""

import csv

import pytest

from blipvqa import Run, answer_all, ask, evaluate, evaluate_elsewhere, fine_tune, load_model, load_splits
from blipvqa.config.reading import with_overrides
from blipvqa.pages.html import escape
from blipvqa.tasks import write_report
from blipvqa.vqa.predictions import predict

LONGER = "of column {} are longer than is read (data.max_{}_tokens): the rest is cut off"


def test_what_is_cut_is_warned_of_beside_the_numbers(tiny):
    """It stood in environment.json and the card alone: answers to beginnings of questions looked as any others."""
    short = {"data__max_question_tokens": 5, "data__max_answer_tokens": 3, "generate__max_new_tokens": 1}
    config = tiny("short", **short)
    run = fine_tune(config)
    for file in (run.model_folder / "README.md", write_report(evaluate(config, progress=False), load_splits(config))):
        told = file.read_text("utf-8")
        assert LONGER.format("question", "question") in told and LONGER.format("answer", "answer") in told
        assert "answers stop at generate.max_new_tokens, before the model ended them" in told
    cut = next(row["prediction"] for row in run.predictions("test") if row["unfinished"] and row["prediction"])
    assert told.count(f"{escape(cut)} …") >= 2  # on its card and in the table of every answer
    warnings = run.metrics("test")["warnings"]
    assert [line.split(":")[0] for line in warnings if LONGER.format("question", "question") in line] == [
        "train",
        "test",
    ]
    references = [line.split(":")[0] for line in warnings if LONGER.format("answer", "answer") in line]
    assert references == ["train"]  # what is scored against is whole
    elsewhere = evaluate_elsewhere(config, tiny("other", data__synthetic__seed=5), resamples=5, progress=False)
    told = [line for line in elsewhere["warnings"] if "longer than is read" in line]
    assert len(told) == 1 and told[0].startswith("test: ") and LONGER.format("question", "question") in told[0]


@pytest.mark.parametrize("beams", [1, 3])
def test_an_answer_that_stops_at_its_limit_says_so(done, beams):
    """A limit below what the model writes cut answers, which were wrong without a word."""
    model, processor = load_model(str(Run(done.folder).model_folder), done)
    data = load_splits(done)["test"]
    whole, short = (
        with_overrides(done.as_dict(), {"generate.max_new_tokens": most, "generate.num_beams": beams})
        for most in (20, 1)
    )
    ended = predict(model, processor, data, whole, progress=False)
    assert not any(row["unfinished"] for row in ended)
    cut = predict(model, processor, data, short, progress=False)
    assert all(row["unfinished"] or not row["prediction"] for row in cut)  # beams may end before the first word
    one = ended[[row["unfinished"] for row in cut].index(True)]
    image = data.image(data.index(one["id"]))
    said = ask(model, processor, image, one["question"], short.generate, calibration=None)
    assert said.unfinished and str(said).startswith(f"{said.answer} … (")
    assert f">{said.answer} …</b>" in said._repr_html_()
    assert any("stops at generate.max_new_tokens" in note for note in said.notes)
    said = ask(model, processor, image, one["question"], whole.generate, calibration=None)
    assert not said.unfinished and said.notes == [] and said.answer == one["prediction"]
    unsure = short.generate.model_copy(update={"uncertain_below": 1.0})
    assert ask(model, processor, image, one["question"], unsure).notes == []  # withheld


def test_a_table_of_questions_says_what_was_read_and_written_in_part(tiny, root, capsys):
    config = tiny("short", data__max_question_tokens=6, generate__max_new_tokens=1, train__epochs=0)
    fine_tune(config)
    load_splits(config)["test"].image(0).save(root / "a.png")
    (root / "own.csv").write_text("image,question\na.png,is it?\na.png,is there a gland beside the vessel?\n")
    answer_all(config, root / "own.csv", root / "out.csv", progress=False)
    said = capsys.readouterr().out
    assert "1 of 2 questions is longer than this model reads (data.max_question_tokens): the rest is cut off" in said
    assert "2 of 2 answers stop at generate.max_new_tokens, before the model ended them" in said
    told = [row["unfinished"] for row in csv.DictReader((root / "out.csv").read_text("utf-8-sig").splitlines())]
    unsure = with_overrides(config.as_dict(), {"generate.uncertain_below": 1.0})
    answer_all(unsure, root / "own.csv", root / "unsure.csv", progress=False)
    assert "stop at generate.max_new_tokens" not in capsys.readouterr().out
    rows = list(csv.DictReader((root / "unsure.csv").read_text("utf-8-sig").splitlines()))
    assert [(row["withheld"], row["unfinished"]) for row in rows] == [("true", "false")] * 2  # "uncertain" is whole
    assert told == ["true", "true"]  # who gets the sheet did not see what was said
