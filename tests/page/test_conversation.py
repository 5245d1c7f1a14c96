"""The page and the widget of a model that is asked with the conversation so far; the server keeps none of it."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from starlette.testclient import TestClient

from blipvqa import Run, ask, fine_tune, load_config, load_model
from blipvqa.errors import InputError
from blipvqa.page.answers import Answers
from blipvqa.page.application import LARGEST_QUESTION, make_application
from blipvqa.page.widget import AskWidget

TURNS = [["is there a gland?", "yes"], ["where is it?", "upper left"]]


@pytest.fixture
def picture():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(root, config) of a tiny run that was trained with conversations."""
    root = tmp_path_factory.mktemp("talked")
    drawn = {"images": {"train": 6, "validation": 2, "test": 2}, "size": 48, "dialogues": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        settings = {"data.synthetic": drawn, "data.max_question_tokens": 60, "train.epochs": 1}
        config = load_config(None, TINY | settings, "talk")
        fine_tune(config)
    return root, config


@pytest.fixture
def talked(trained, monkeypatch):
    """Its config, with its folder as the project's root."""
    monkeypatch.setenv("BLIPVQA_ROOT", str(trained[0]))
    return trained[1]


def client_of(answer, talks):
    application = make_application(answer, "talk", talks=talks)
    client = TestClient(application, base_url="http://127.0.0.1")
    page = client.get("/").text
    token = page.partition('name="token" content="')[2].partition('"')[0]

    def send(head: dict, content: bytes = b"a picture"):
        sent = {"Content-Type": "application/octet-stream", "X-Token": token}
        return client.post("/ask", content=json.dumps(head).encode() + b"\n" + content, headers=sent)

    return page, send


def test_the_page_sends_the_conversation_and_the_server_hands_it_on_and_forgets_it():
    handed = []
    page, send = client_of(lambda *asked: handed.append(asked) or {}, talks=True)
    assert 'name="talks" content="yes"' in page and "goes with the answered ones before it" in page
    assert send({"question": "what colour is it?", "map": True, "history": TURNS}).status_code == 200
    assert send({"question": "is there fat?"}).status_code == 200
    first = [b"a picture"]
    assert handed == [(first, "what colour is it?", True, TURNS), (first, "is there fat?", False, [])]
    assert send({"question": "what?", "history": "is there a gland? yes"}).status_code == 400
    assert send({"question": "what?", "history": [["a", "b" * LARGEST_QUESTION]]}).status_code == 400
    page, _ = client_of(lambda *asked: {}, talks=False)
    assert 'name="talks" content="no"' in page and "answered by itself" in page


def test_a_question_on_the_page_is_answered_after_its_turns(talked, picture):
    model, processor = load_model(str(talked.folder / "model"), talked)
    answers = Answers(model, processor, talked.generate)
    assert answers.talks
    shown = answers([picture], "what colour is it?", True, TURNS)
    after = ask(model, processor, picture, "what colour is it?", talked.generate, history=TURNS)
    alone = ask(model, processor, picture, "what colour is it?", talked.generate)
    assert shown["confidence"] == after.confidence != alone.confidence
    assert answers([picture], "what colour is it?", False)["confidence"] == alone.confidence
    many = answers([picture], "what colour is it?", False, TURNS * 20)
    assert any("oldest" in note for note in many["notes"])
    with pytest.raises(InputError, match="history: turn 1"):
        answers([picture], "what colour is it?", False, [["a?"]])


def test_the_widget_asks_with_its_conversation_and_begins_anew_with_another_picture(talked, picture):
    widget = AskWidget(Run(talked.folder))
    asked = []
    answer = widget.answers
    widget.answers = lambda *call: asked.append([list(turn) for turn in call[3]]) or answer(*call[:2], False, call[3])
    widget.answers.talks = True
    file = {"name": "a.png", "type": "image/png", "size": len(picture), "last_modified": datetime.now(UTC)}
    widget.picture.set_trait("value", ({**file, "content": memoryview(picture)},))
    for question in ("is there a gland?", "where is it?"):
        widget.question.value = question
        widget.send.click()
        assert widget.status.value == ""
    assert [turn[0] for turn in asked[1]] in (["is there a gland?"], [])  # an empty answer is no turn
    widget.history = [("a?", "b")]
    widget.picture.set_trait("value", ({**file, "content": memoryview(picture + b" ")},))
    assert widget.history == []


def test_a_model_that_was_trained_without_conversations_refuses_them(done, picture):
    model, processor = load_model(str(done.folder / "model"), done)
    answers = Answers(model, processor, done.generate)
    assert not answers.talks
    with pytest.raises(InputError, match="trained without conversations"):
        answers([picture], "where is it?", False, TURNS)
