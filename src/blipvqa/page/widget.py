"""The same in a notebook: `AskWidget(run)`, a picture or several, a question, and the answers below.

Notable:
- It runs where the notebook's kernel runs: no server, and no address that others could reach.
- What it shows has no colours of its own: it is legible in a light theme and in a dark one.
"""

from __future__ import annotations

import html

import ipywidgets as widgets

from blipvqa.data.dataset import load_splits
from blipvqa.errors import UserError
from blipvqa.models.devices import pick_device
from blipvqa.models.loading import load_model
from blipvqa.page.answers import Answers
from blipvqa.pages.html import Html, join
from blipvqa.pages.wording import share
from blipvqa.retrieval.index import make_index
from blipvqa.runs.run import Run
from blipvqa.training.trained import check_weights

SHOWN = Html(
    '<div style="margin:10px 0;line-height:1.4;color:var(--jp-ui-font-color1,inherit)">'
    '<img alt="the picture{}" src="{}" style="max-width:100%;display:block">'
    "<div>{}</div><b>{}</b><div>{}</div>{}{}</div>"
)
NOTE = Html("<div>{}</div>")
FOREIGN = Html('<div style="border-left:4px solid #d08c2f;padding-left:8px"><b>{}</b></div>')
NEAREST = Html(
    "<div>Training pictures that look most alike:</div>"
    '<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax(120px,1fr));gap:8px">{}</div>'
)
ALIKE = Html(
    '<div style="overflow-wrap:anywhere"><img alt="a training picture" src="{}"><div>cosine {:.2f}</div>{}</div>'
)


class AskWidget(widgets.VBox):
    """Ask the model of a trained run, about several pictures together, in the order in which they were chosen; with
    `nearest`, a run of task: retrieval, beside the training pictures that look most alike. Raises RunError where a run
    has no model."""

    def __init__(self, run: Run, nearest: Run | None = None):
        check_weights(run, "vqa")
        model, processor = load_model(str(run.model_folder), run.config)
        index = make_index(nearest, load_splits(run.config)["train"]) if nearest else None
        self.answers = Answers(model.to(pick_device()), processor, run.config.generate, index)
        self.history: list[tuple[str, str]] = []  # answered questions about the pictures, where the model is asked so
        self.picture = widgets.FileUpload(accept="image/*,application/dicom,.dcm", multiple=True, description="Picture")
        self.picture.observe(lambda _: self.history.clear(), names="value")
        self.question = widgets.Text(description="Question", continuous_update=False)
        self.send = widgets.Button(description="Ask")
        self.status = widgets.HTML()
        self.turns = widgets.VBox()
        self.send.on_click(self._ask)
        line = widgets.HBox([self.picture, self.question, self.send], layout={"flex_flow": "row wrap"})
        super().__init__([line, self.status, self.turns])

    def _ask(self, _=None) -> None:
        if not self.picture.value:
            self.status.value = "Choose a picture first."
            return
        self.send.disabled, self.status.value = True, "Asking …"
        try:
            pictures = [bytes(file["content"]) for file in self.picture.value]
            answered = self.answers(pictures, self.question.value, True, self.history)
        except UserError as error:
            self.status.value = html.escape(str(error))
        else:
            self.turns.children = [*self.turns.children, widgets.HTML(str(_shown(answered)))]
            self.status.value = ""
            if self.answers.talks and answered["answer"] and not answered["withheld"]:
                self.history.append((answered["question"], answered["answer"]))
        finally:
            self.send.disabled = False


def _shown(answered: dict) -> Html:
    confidence = answered["confidence"]
    sure = "no confidence" if confidence is None else f"confidence {share(confidence)}"
    if answered["withheld"]:
        sure += ", too little to answer"
    notes = join(
        (FOREIGN if answered["foreign"] and i == 0 else NOTE).format(note) for i, note in enumerate(answered["notes"])
    )
    alike = [
        ALIKE.format(Html(one["picture"]), one["cosine"], join(NOTE.format(said) for said in one["said"]))
        for one in answered["nearest"]
    ]
    answer = answered["answer"] + " …" * answered["unfinished"] or "(the model said nothing)"
    nearest = NEAREST.format(join(alike)) if alike else ""
    beside = ", and what moved the answer" if answered["map"] else ""
    return SHOWN.format(beside, Html(answered["picture"]), answered["question"], answer, sure, notes, nearest)
