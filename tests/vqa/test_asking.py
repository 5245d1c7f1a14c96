"""`ask` states the confidence that an evaluation checked, without being told of it."""

import io
import json
from functools import partial
from html import escape

import numpy as np
import pytest
from PIL import Image

from blipvqa import ask, evaluate, fine_tune, load_model, load_splits
from blipvqa.config.knobs import GenerateConfig
from blipvqa.data.one_colour import SHOWS_NOTHING
from blipvqa.errors import InputError
from blipvqa.models.folders import ModelError
from blipvqa.retrieval.search import Hit
from blipvqa.vqa import asking
from blipvqa.vqa.asking import Answer
from blipvqa.vqa.predictions import Answerer


def test_the_stored_calibration_is_used_unless_told_otherwise(done):
    model, processor = load_model(str(done.folder / "model"))
    metrics = json.loads((done.folder / "metrics-test.json").read_text(encoding="utf-8"))
    calibration = metrics["confidence"]["calibration"]
    data = load_splits(done)["test"]
    question = (data.image(0), data.rows[0]["question"])
    stated = ask(model, processor, *question).confidence
    assert stated == ask(model, processor, *question, calibration=calibration).confidence
    assert stated != ask(model, processor, *question, calibration=None).confidence
    predicted = json.loads((done.folder / "predictions-test.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert stated == pytest.approx(predicted["confidence"], abs=1e-4)


def test_it_goes_by_the_run_s_own_settings_unless_told_otherwise(tiny, monkeypatch):
    """README says that a wish makes `ask` withhold what is not sure enough: only who gave the settings saw that."""
    config = tiny("wishing", generate__wished_accuracy=1.0, generate__max_new_tokens=3)
    run = fine_tune(config)
    evaluate(config, progress=False, resamples=10)
    model, processor = load_model(str(run.model_folder))
    picture = load_splits(config)["test"].image(0)
    asked = []
    monkeypatch.setattr(asking, "Answerer", lambda *args: asked.append(args[2]) or Answerer(*args))
    assert ask(model, processor, picture, "is there a gland?").answer == "uncertain"  # nothing is always right here
    assert ask(model, processor, picture, "is there a gland?", settings=GenerateConfig()).answer != "uncertain"
    assert ask(model, processor, picture, "is there a gland?", calibration=None).answer != "uncertain"
    assert [settings.max_new_tokens for settings in asked] == [3, 40, 3]


def test_a_damaged_calibration_is_named_and_a_missing_one_leaves_the_models_own_probability(done, tmp_path):
    model, processor = load_model(str(done.folder / "model"))
    picture = load_splits(done)["test"].image(0)
    own = ask(model, processor, picture, "is there a gland?", calibration=None).confidence
    model.folder = tmp_path
    assert ask(model, processor, picture, "is there a gland?").confidence == own
    for content in ('{"yes_no": {}}', '{"yes_no": {"temperature": 0, "offset": 0}}', "[]", "{"):
        (tmp_path / "calibration.json").write_text(content)
        with pytest.raises(ModelError, match=r"calibration\.json"):
            ask(model, processor, picture, "is there a gland?")


def test_an_answer_shows_itself_with_its_picture_and_without_markup_from_the_question(done):
    picture = load_splits(done)["test"].image(0)
    shown = Answer("yes", 0.97, "is <b> there?", picture)._repr_html_()
    assert "97% sure" in shown and "data:image/jpeg;base64," in shown and "&lt;b&gt;" in shown
    assert "sure" not in Answer("yes", None, "what?", picture)._repr_html_()
    grey = Answer("yes", None, "what?", Image.new("RGB", (9, 9), "grey"), unlike=2.0).notes
    assert grey[0].startswith("This picture is unlike")  # the first one is what the page warns of in colour
    assert grey[1] == SHOWS_NOTHING


def test_lists_of_pictures_in_every_form_and_of_questions_are_answered_all_of_all(done, tmp_path):
    model, processor = load_model(str(done.folder / "model"))
    data = load_splits(done)["test"]
    pictures = [data.image(row) for row in range(0, len(data), len(data) // 4)][:4]
    pictures[0].save(tmp_path / "path.png")
    buffer = io.BytesIO()
    pictures[1].save(buffer, "PNG")
    forms = [tmp_path / "path.png", buffer.getvalue(), np.asarray(pictures[2]), pictures[3]]
    questions = ["is there a gland?", "what is the stain?", "where is the pigment?"]
    one_by_one = [ask(model, processor, picture, question) for picture in pictures for question in questions]
    for batch_size in (5, 64):
        settings = done.generate.model_copy(update={"batch_size": batch_size})
        together = ask(model, processor, forms, tuple(questions), settings)
        for alone, among in zip(one_by_one, together, strict=True):
            assert (alone.answer, alone.question) == (among.answer, among.question)
            assert among.confidence == pytest.approx(alone.confidence, abs=1e-4)
            assert among.unlike == pytest.approx(alone.unlike, rel=1e-4)
            assert among.image.tobytes() == alone.image.tobytes()
    assert [answer.answer for answer in ask(model, processor, forms, questions[0])] == [
        answer.answer for answer in one_by_one[::3]
    ]
    assert [str(a) for a in ask(model, processor, str(forms[0]), questions)] == [str(a) for a in one_by_one[:3]]
    assert ask(model, processor, [], questions) == ask(model, processor, forms, []) == []
    with pytest.raises(InputError, match="the question is empty: ' '"):
        ask(model, processor, forms, ["what?", " "])
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        ask(model, processor, [forms[0], "none.png"], questions)


def test_training_pictures_that_look_alike_stand_beside_an_answer(done):
    """As `search` finds them in an index of train; the most alike first, each with what was asked of it."""
    model, processor = load_model(str(done.folder / "model"))
    train, picture = load_splits(done)["train"], load_splits(done)["test"].image(0)
    hits = [Hit(str(i), 0.9 - i / 10, None, (train.rows[i],), partial(train.image, i)) for i in range(2)]
    asked = []
    answer = ask(model, processor, picture, "is there a gland?", alike=lambda one: asked.append(one) or hits)
    assert answer.alike == hits and asked == [answer.image]
    for several in ask(model, processor, [picture], ["what?", "where?"], alike=lambda _: hits):
        assert several.alike == hits
    shown = answer._repr_html_()
    assert shown.count("<img") == 3 and "look most alike" in shown and "cosine 0.90" in shown
    assert all(escape(f"{row['question']} {row['answer']}") in shown for row in train.rows[:2])
    alone = ask(model, processor, picture, "is there a gland?")
    assert not alone.alike and alone._repr_html_().count("<img") == 1


def test_a_picture_that_shows_nothing_is_said_beside_the_answer(done):
    model, processor = load_model(str(done.folder / "model"))
    grey, seen = Image.new("L", (20, 20), 90), load_splits(done)["test"].image(0)
    assert SHOWS_NOTHING in ask(model, processor, grey, "what is this?").notes
    assert SHOWS_NOTHING not in ask(model, processor, seen, "what is this?").notes


def test_half_a_character_in_a_question_is_a_lost_letter(done):
    model, processor = load_model(str(done.folder / "model"))
    assert ask(model, processor, load_splits(done)["test"].image(0), "is it \ud800?").answer
