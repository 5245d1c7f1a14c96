"""The widget of a notebook answers as `ask` does."""

import base64
import io
from datetime import UTC, datetime

from PIL import Image

from blipvqa import Run, ask, load_model, load_splits
from blipvqa.page.widget import AskWidget


def test_a_question_and_a_follow_up_each_get_their_answer(done):
    data = load_splits(done)["test"]
    buffer = io.BytesIO()
    data.image(0).save(buffer, "PNG")
    widget = AskWidget(Run("outputs/tiny"))  # from the project's root, wherever the kernel works
    widget.send.click()
    assert widget.status.value == "Choose a picture first."
    content = buffer.getvalue()
    file = {"name": "a.png", "type": "image/png", "size": len(content), "content": memoryview(content)}
    widget.picture.value = ({**file, "last_modified": datetime.now(UTC)},)
    model, processor = load_model(str(done.folder / "model"), done)
    for question in (data.rows[0]["question"], "is there <b>pigment</b>?"):
        widget.question.value = question
        widget.send.click()
        expected = ask(model, processor, buffer.getvalue(), question, done.generate)
        shown = widget.turns.children[-1].value
        said = expected.answer or "(the model said nothing)"
        assert f"<b>{said}</b>" in shown and f"{expected.confidence:.0%}" in shown
        assert "<b>pigment" not in shown
        picture = base64.b64decode(shown.partition("data:image/jpeg;base64,")[2].partition('"')[0])
        wide = (1 + bool(expected.answer)) * data.image(0).width  # without an answer there is no map beside it
        assert Image.open(io.BytesIO(picture)).convert("RGB").width == wide  # whole: it decodes
    assert len(widget.turns.children) == 2
    widget.question.value = " "
    widget.send.click()
    assert "empty" in widget.status.value
    widget.answers.settings = done.generate.model_copy(update={"max_new_tokens": 1})
    widget.question.value = "is there a gland?"
    widget.send.click()
    assert " …</b>" in widget.turns.children[-1].value  # it stops there: as if it were whole, the page showed it
