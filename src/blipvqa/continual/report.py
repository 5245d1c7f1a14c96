"""`report.html` of a sequence: methods side by side, every matrix as a picture, and what was forgotten."""

from __future__ import annotations

from pathlib import Path

from blipvqa.continual import figures, pictures, tables
from blipvqa.continual.sequence import Learnt
from blipvqa.pages.html import Html, bullets, drawing, join
from blipvqa.pages.page import Section, folded, paragraph, remark, section, wide, write_page
from blipvqa.pages.tables import settings_table, table
from blipvqa.pages.wording import share
from blipvqa.runs.files import write_text

EXPLAINED = (
    "Exact match on each data set's held-out questions, with 95 % intervals over pictures. Final average: the last "
    "model on all data sets. Forgetting: how far each data set but the last lies below its best earlier score. "
    "Backward transfer: the same against the score right after its own stage, so forgetting is below 0. "
    "Forward transfer: the score before its stage, above that of the model before the first."
)
OWN = (
    "Shared answers hide forgetting: whoever says “yes” to all keeps many of them. Here only questions count whose "
    "right answers stand in no other stage's training rows."
)
QUESTIONS = (
    "Replay of questions alone keeps no picture and no right answer: earlier questions are asked about the new stage's "
    "pictures, and what the last model answers is learnt, right or wrong. Where stages ask the same questions of "
    "pictures that look otherwise, such answers contradict the new stage's own."
)


def write_report(learnt: Learnt) -> Path:
    """Write `outputs/<name>/report.html` from what the sequence left."""
    config, scores = learnt.config, learnt.scores
    methods = scores["methods"]
    names = [stage["name"] for stage in scores["stages"]]
    page = write_page(
        f"{config.name}: learnt one after the other",
        [
            section("Methods side by side", *_measures(scores), remark(EXPLAINED), *_honest(scores)),
            section("The first data set, stage by stage", drawing(figures.plot_first(scores), "scores after stages")),
            section("The matrices", join(_matrix(scores, method) for method in methods)),
            section("Answers of one stage alone", *_own(scores)),
            section("What was forgotten", wide(tables.forgotten_table(scores)), join(_forgotten(learnt))),
            section("The data sets", wide(tables.stages_table(scores)), paragraph(_disjoint(scores))),
            *_mixes(scores),
            section("Settings", folded("every setting", wide(settings_table(config.as_dict())))),
        ],
        heading=config.name,
        subtitle=f"{' → '.join(names)} · seed {config.seed} · one trained model of each: another seed gives another. "
        "No medical device: for research on methods only.",
        warnings=scores["warnings"],
    )
    path = config.folder / "report.html"
    write_text(path, page)
    return path


def _measures(scores: dict, own: bool = False) -> list[Html]:
    why = tables.reasons(scores, own)
    return [wide(tables.measures_table(scores, own)), *([bullets(why)] if why else [])]


def _honest(scores: dict) -> list[Html]:
    return [paragraph(QUESTIONS)] if "questions" in scores["methods"] else []


def _matrix(scores: dict, method: str) -> Html:
    title = tables.TITLES[method]
    figure = drawing(figures.plot_matrix(scores, method), f"scores of each model on each data set, {title}")
    return join([figure, folded("as a table", wide(tables.matrix_table(scores, method)))])


def _own(scores: dict) -> list[Html]:
    parts = [remark(OWN), *_measures(scores, own=True)]
    if any(stage["own"] for stage in scores["stages"]):
        shown = [method for method in scores["methods"] if method in ("plain", "replay")] or list(scores["methods"])[:1]
        parts += [drawing(figures.plot_matrix(scores, m, own=True), "scores on answers of one stage") for m in shown]
    return parts


def _disjoint(scores: dict) -> str:
    if len(scores["stages"]) == 1:
        return "One data set: it shares answers with no other."
    if scores["disjoint"]:
        return "No two of these data sets have an answer in common: nothing hides what is forgotten."
    pairs = [
        f"{stage['name']} and {other} {shared}"
        for i, stage in enumerate(scores["stages"])
        for other, shared in stage["shared"].items()
        if other in [later["name"] for later in scores["stages"][i + 1 :]]
    ]
    return f"Answers in common: {', '.join(pairs)}. This sequence is not one with disjoint answers."


def _forgotten(learnt: Learnt) -> list[Html]:
    return [
        join(
            [
                Html("<h3>{}</h3>").format(tables.TITLES[method]),
                pictures.forgotten(rows, learnt.data, seed=learnt.config.seed),
            ]
        )
        for method, rows in learnt.forgotten.items()
    ]


def _mixes(scores: dict) -> list[Section]:
    if not scores["mixes"]:
        return []
    rows = [
        (
            label,
            share(mix["mix"]),
            ", ".join(f"{share(float(p))}: {v:.3f}" for p, v in mix["tried"].items()) or "by key",
        )
        for label, mix in scores["mixes"].items()
    ]
    head = ["after", "part of new weights", "tried on validation of all stages so far"]
    return [section("Weights between stages", wide(table(head, rows, left=1)))]
