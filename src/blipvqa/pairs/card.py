"""The model card of a run on pairs, `model/README.md`: written from the run folder, again whenever that knows more."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages import cards
from blipvqa.pages.cards import Kind, limits_part, markdown_table, not_evaluated, settings_part, warnings_of
from blipvqa.pages.wording import count, counted, interval, number, unit
from blipvqa.pairs.titles import CHANGED, HEADLINE
from blipvqa.runs.run import Run

LIMITS = (
    "The order of the two pictures counts: give them as it was trained.",
    "True and false are what people wrote of such pictures, and a probability is the model's, not a patient's.",
    "On pictures from elsewhere expect less.",
)
KIND = Kind(
    task="visual-question-answering",  # the Hub has no name for statements about two pictures
    tag="nlvr2",
    purpose="judge statements about two pictures",
    danger="It calls false statements true and true ones false, and must not be used for diagnosis, for treatment, or "
    "on anyone's behalf.",
    titles=HEADLINE,
)


def write_card(run: Run) -> None:
    """Write the card of `run`'s export."""
    settings = run.config.pairs
    own = {"statements": f"at most {settings.max_words} words and {settings.max_tokens} tokens"}
    cards.write_card(
        run,
        KIND,
        lambda scores: [
            settings_part(run, "statements", own),
            _numbers(scores) if scores else not_evaluated(run),
            USE,
            limits_part(LIMITS, warnings_of(run, scores)),
        ],
    )


def _numbers(scores: Mapping) -> str:
    blind = scores.get("baseline", {})
    rows = [
        (title, number(entry), interval(entry), count(entry), number(blind.get(name)))
        for name, title in HEADLINE.items()
        if (entry := scores["overall"].get(name)) and entry["value"] is not None
    ]
    head = ["", "value", "95 % interval", counted(scores, "statements", "pairs"), "no picture"]
    intervals = f"95 % intervals are bootstrapped over {unit(scores, 'pairs')}. {NO_PICTURE}"
    parts = [f"## Numbers on {scores['split']}", intervals, markdown_table(head, rows)]
    if "changed" in scores:
        changed = [
            (title, number(scores["changed"][name]), interval(scores["changed"][name]))
            for name, title in CHANGED.items()
            if name in scores["changed"]
        ]
        parts += [scores["looks"], markdown_table(["accuracy with", "value", "95 % interval"], changed)]
    return "\n\n".join(parts)


NO_PICTURE = (
    "The last column sees no picture: the stronger of two that know the statements of train, the commonest label of "
    "the same statement and a linear model of its words."
)
USE = """## Use

transformers has no class for two pictures and a statement; the tensors have the names of the authors' code.

```python
from blipvqa import judge, load_model

model, processor = load_model("this-folder")
print(judge(model, processor, ["first.png", "second.png"], "both pictures show a gland"))
```"""
