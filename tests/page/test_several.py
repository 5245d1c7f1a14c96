"""The page and the widget asked about several pictures together."""

import base64
import io
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image
from test_conversation import client_of
from test_page import as_png

from blipvqa import Run, ask, load_model, load_splits
from blipvqa.config.kinds import MOST_PICTURES
from blipvqa.errors import InputError
from blipvqa.page import answers as page_answers
from blipvqa.page.answers import SIDE, Answers
from blipvqa.page.widget import AskWidget
from blipvqa.vqa.asking import Answer
from blipvqa.vqa.explanations import Explanation

QUESTION = "is there a gland?"


def test_pictures_are_cut_apart_by_the_bytes_that_the_page_says():
    handed = []
    page, send = client_of(lambda *asked: handed.append(asked[0]) or {}, talks=False)
    assert 'name="most" content="64"' in page and " multiple " in page
    assert send({"question": "which?", "sizes": [3, 4, 0]}, b"abcdefg").status_code == 200
    assert send({"question": "which?"}, b"a\nb").status_code == 200
    assert handed == [[b"abc", b"defg", b""], [b"a\nb"]]
    many = [1] * (MOST_PICTURES + 1)
    for sizes in ([3, 3], [8, -1], [3.0, 4.0], [True] * 7, "7", 7, [], None, [7, 0, None], many):
        content = b"a" * len(many) if sizes is many else b"abcdefg"
        assert send({"question": "which?", "sizes": sizes}, content).status_code == 400, sizes
    assert len(handed) == 2


@pytest.mark.parametrize("with_map", [True, False])
def test_several_are_asked_about_together_and_shown_on_one_sheet(done, with_map):
    model, processor = load_model(str(done.folder / "model"), done)
    data = load_splits(done)["test"]
    images = [data.image(0), data.image(len(data) - 1)]
    answers, pictures = Answers(model, processor, done.generate), [as_png(image) for image in images]
    shown = answers(pictures, QUESTION, with_map)
    together = ask(model, processor, images, QUESTION, done.generate, together=True)
    assert (shown["answer"], shown["confidence"]) == (together.answer, together.confidence)
    assert shown["confidence"] != answers(pictures[:1], QUESTION, with_map)["confidence"]
    sheet = Image.open(io.BytesIO(base64.b64decode(shown["picture"].partition(",")[2])))
    width = sum(min(SIDE, image.width) for image in images)
    assert sheet.width == pytest.approx((1 + (with_map and bool(together.answer))) * width, abs=10)
    with pytest.raises(InputError, match="1 to 64 pictures"):
        answers(pictures[:1] * (MOST_PICTURES + 1), QUESTION, with_map)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ["no map: the model said nothing"]),
        ("yes", ["no map: what moved the answer is no number"]),
        ("uncertain", []),  # that it was withheld is said
    ],
)
def test_without_a_map_the_page_says_why(done, monkeypatch, said, why):
    """Before, one was drawn of an answer that was none, and one that is no number was left out unsaid."""
    model, processor = load_model(str(done.folder / "model"), done)
    image = load_splits(done)["test"].image(0)
    answers, nothing = Answers(model, processor, done.generate), torch.full((4, 4), torch.nan)
    answered = Answer(said, 0.5, QUESTION, image, images=[image])
    monkeypatch.setattr(page_answers, "ask", lambda *arguments, **known: answered)
    monkeypatch.setattr(page_answers, "explain", lambda *arguments, **known: Explanation(nothing, QUESTION, said))
    shown = answers([as_png(image)], QUESTION, True)
    assert shown["map"] is False and [note for note in shown["notes"] if "map" in note] == why
    assert Image.open(io.BytesIO(base64.b64decode(shown["picture"].partition(",")[2]))).width == min(SIDE, image.width)


def test_the_widget_takes_several(done):
    data = load_splits(done)["test"]
    images = [data.image(0), data.image(len(data) - 1)]
    widget, files = AskWidget(Run("outputs/tiny")), []
    for number, image in enumerate(images):
        content = as_png(image)
        about = {"name": f"{number}.png", "type": "image/png", "size": len(content), "last_modified": datetime.now(UTC)}
        files.append(about | {"content": memoryview(content)})
    widget.picture.value = tuple(files)
    widget.question.value = QUESTION
    widget.send.click()
    model, processor = load_model(str(done.folder / "model"), done)
    together = ask(model, processor, images, QUESTION, done.generate, together=True)
    assert widget.status.value == "" and f"{together.confidence:.0%}" in widget.turns.children[-1].value
