"""The same in a notebook: `AskWidget(run)`, a picture, a question, and the answers below.

Notable:
- It runs where the notebook's kernel runs: no server, and no address that others could reach.
"""

from __future__ import annotations

import html

import ipywidgets as widgets

from blipvqa.errors import UserError
from blipvqa.models.loading import load_model
from blipvqa.page.answers import Answers
from blipvqa.pages.html import Html
from blipvqa.runs.run import Run

SHOWN = Html(
    '<div style="margin:10px 0"><img alt="{}" src="{}" style="max-width:100%"><div>{}</div><b>{}</b><div>{}</div>'
    "<div>{}</div></div>"
)


class AskWidget(widgets.VBox):
    """Ask the model of a trained run. Raises RunError where it has none."""

    def __init__(self, run: Run):
        run.check_model("vqa")
        model, processor = load_model(str(run.model_folder), run.config)
        self.answers = Answers(model, processor, run.config.generate)
        self.picture = widgets.FileUpload(accept="image/*", multiple=False, description="Picture")
        self.question = widgets.Text(description="Question", continuous_update=False)
        self.send = widgets.Button(description="Ask")
        self.status = widgets.HTML()
        self.turns = widgets.VBox()
        self.send.on_click(self._ask)
        super().__init__([widgets.HBox([self.picture, self.question, self.send]), self.status, self.turns])

    def _ask(self, _=None) -> None:
        if not self.picture.value:
            self.status.value = "Choose a picture first."
            return
        self.send.disabled, self.status.value = True, "Asking …"
        try:
            answered = self.answers(bytes(self.picture.value[0]["content"]), self.question.value, True)
        except UserError as error:
            self.status.value = html.escape(str(error))
        else:
            sure = "no confidence" if answered["confidence"] is None else f"confidence {answered['confidence']:.0%}"
            words = (answered["question"], answered["answer"], sure, " ".join(answered["notes"]))
            shown = SHOWN.format("the picture, and what moved the answer", answered["picture"], *words)
            self.turns.children = [*self.turns.children, widgets.HTML(str(shown))]
            self.status.value = ""
        finally:
            self.send.disabled = False
