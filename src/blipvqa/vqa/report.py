"""`report.html`: one self-contained page of a run, and the page that compares two.

Notable:
- The page loads nothing: its policy forbids every request, its one script is known by its digest, and all text from
  data is escaped.
- Wrong answers first, then right ones, at most some 300 pictures; the search looks through all that is shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.models.loading import load_model
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages import figures, tables
from blipvqa.pages.html import Html, bullets, drawing, escape
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run, RunError
from blipvqa.text import answered_right
from blipvqa.vqa.card import last_part
from blipvqa.vqa.comparison import compare_runs
from blipvqa.vqa.pictures import explanations, prediction_card, sample_progress, telling
from blipvqa.vqa.review import read_review

PICTURES = 300
QUESTIONS_A_CARD = 8

CSS = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1160px;margin:0 auto;padding:24px 20px 80px;
color:#222;background:#fff}
h1{margin:0 0 4px;font-size:26px}h2{margin:36px 0 8px;padding-top:8px;border-top:1px solid #ddd;font-size:19px}
.sub{color:#666;margin:0 0 16px}.figure{max-width:100%;display:block;margin:8px 0}.wide{overflow-x:auto}
.warn{background:#fdf3e1;border-left:4px solid #d08c2f;padding:4px 14px;margin:12px 0}
details{margin:10px 0}summary{cursor:pointer;color:#2f6690}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:12px;align-items:start}
.tools{position:sticky;top:0;background:#fff;padding:10px 0;display:flex;gap:10px;
flex-wrap:wrap;align-items:center;z-index:1}
.tools input{flex:1;min-width:200px;font:inherit;padding:6px 10px}
.tools button{font:inherit;padding:5px 12px;cursor:pointer}
.tools button[aria-pressed=true]{background:#2f6690;color:#fff}
@media print{.tools{display:none}}
"""

SCRIPT = """
const cards=[...document.querySelectorAll('[data-right]')],box=document.getElementById('search'),
count=document.getElementById('count');let only='';
function show(){const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);let n=0;
for(const card of cards){const text=card.textContent.toLowerCase();
const here=words.every(w=>text.includes(w))&&(only===''||card.dataset[only]==='1');
card.hidden=!here;n+=here}count.textContent=n+' of '+cards.length+' pictures'}
box.addEventListener('input',show);
for(const button of document.querySelectorAll('.tools button'))button.addEventListener('click',()=>{only=button.value;
for(const b of document.querySelectorAll('.tools button'))b.setAttribute('aria-pressed',b===button);show()});show();
"""


def write_report(run: Run, splits: Splits) -> Path:
    """Write `outputs/<name>/report.html` from what the run folder holds.

    Raises RunError where the run was not trained or not evaluated yet.
    """
    if not run.exists:
        raise RunError(f"run '{run.name}' does not exist: run notebook 02_finetune first")
    split = evaluated_split(run)
    scores, predictions = run.metrics(split), run.predictions(split)
    parts = [
        _head(run, scores),
        _warnings(scores),
        _numbers(scores),
        _curves(run, splits),
        _grounding(scores),
        _confidence(scores),
        _slices(scores, predictions),
        _explained(run, splits[split], predictions),
        _stress(run, split),
        _review(run, split, predictions),
        _data(scores),
        _gallery(splits[split], predictions),
        _settings(run),
    ]
    path = run.folder / "report.html"
    write_text(path, _page(f"{run.name}: predicted against actual", parts))
    return path


def evaluated_split(run: Run) -> str:
    """The split that notebook 03 scored: test, or validation. Raises RunError, naming what to run."""
    for split in ("test", "validation"):
        if run.has_predictions(split) and (run.folder / f"metrics-{split}.json").exists():
            return split
    raise RunError(f"run '{run.name}' has no predictions yet: run notebook 03_evaluate first")


def write_comparison(a: Run, b: Run) -> Path:
    """Write `outputs/<b>/compare-<a>.html`: numbers side by side with paired intervals over images, and what one
    answers right and the other does not. Raises RunError or ValueError where the runs answered other questions."""
    split = evaluated_split(a)
    before, after = a.predictions(split), b.predictions(split)
    compared = compare_runs(before, after, bootstrap=Bootstrap(a.config.data.group))
    names = (a.name, b.name)
    parts = [
        Html(
            f"<h1>{escape(names[0])} and {escape(names[1])} on {escape(split)}</h1><p class='sub'>The same "
            f"{len(before):,} questions; differences with 95 % intervals, bootstrapped over images in pairs.</p>"
        ),
        _section(
            "Differences",
            drawing(figures.plot_difference(compared, names), "differences between the runs"),
            _difference_table(compared, names),
        ),
        _section("Questions", _only_one(compared, before, after, names)),
    ]
    path = b.folder / f"compare-{a.name}.html"
    write_text(path, _page(f"{names[0]} and {names[1]}", parts, script=False))
    return path


def _difference_table(compared: Mapping, names: tuple[str, str]) -> Html:
    rows = [
        (
            name.replace("_", " "),
            tables.number(found, "a"),
            tables.number(found, "b"),
            f"{found['difference']:+.3f}",
            "–" if found["low"] is None else f"{found['low']:+.3f} to {found['high']:+.3f}",
            f"{found['n']:,}",
            "yes" if found["real"] else "may be chance",
        )
        for name, found in compared["overall"].items()
        if found["difference"] is not None
    ]
    head = ["", *names, "difference", "95 % interval", "questions", "real?"]
    return tables.table(head, rows)


def _only_one(compared: Mapping, before: Sequence[Mapping], after: Sequence[Mapping], names: tuple[str, str]) -> Html:
    answers = {row["id"]: row for row in before}, {row["id"]: row for row in after}
    parts = [f"<p>Both right: {compared['both_right']:,}. Both wrong: {compared['both_wrong']:,}.</p>"]
    for key, name in (("only_a", names[0]), ("only_b", names[1])):
        ids = compared[key]
        rows = [
            (
                i,
                answers[0][i]["question"],
                answers[0][i]["answer"],
                answers[0][i]["prediction"],
                answers[1][i]["prediction"],
            )
            for i in ids[:200]
        ]
        parts.append(
            f"<h3>Right in {escape(name)} only: {len(ids):,}{' (the first 200)' if len(ids) > 200 else ''}</h3>"
        )
        parts.append(tables.table(["id", "question", "actual", *names], rows, left=5))
    return Html("".join(parts))


def _section(title: str, *content: str) -> Html:
    return Html(f"<h2>{escape(title)}</h2>{''.join(content)}")


def _head(run: Run, scores: Mapping) -> Html:
    environment, config = run.environment, run.config
    known = [
        last_part(config.data.source),
        f"{config.model.image_size} px",
        f"{environment.get('weights', 0) / 1e6:.1f} M weights",
        str(environment.get("device", "")),
        str(environment.get("precision", "")),
        f"best epoch {run.state['best']['epoch']}" if run.state.get("best") else "",
        str(environment.get("started", "")),
    ]
    return Html(
        f"<h1>{escape(run.name)}</h1><p class='sub'>{escape(' · '.join(k for k in known if k))}. No medical "
        "device: for research on methods only.</p>"
    )


def _warnings(scores: Mapping) -> Html:
    return Html(f"<div class='warn'>{bullets(scores['warnings'])}</div>" if scores["warnings"] else "")


def _numbers(scores: Mapping) -> Html:
    return _section(
        f"Numbers on {scores['split']}",
        "<div class='wide'>",
        tables.metrics_table(scores),
        "</div>",
        drawing(figures.plot_metrics(scores), "the headline numbers with intervals"),
        drawing(figures.plot_by(scores), "exact match by question type"),
        "<div class='wide'>",
        tables.by_table(scores),
        "</div>",
        "<details><summary>More: variants, slices, mistakes</summary><div class='wide'>",
        tables.more_tables(scores),
        "</div></details>",
    )


def _curves(run: Run, splits: Splits) -> Html:
    samples = sample_progress(run, splits["validation"]) if "validation" in splits else ""
    return _section(
        "Training",
        drawing(figures.plot_history(run, run.config.reference_curve), "loss, scores, speed"),
        "<details><summary>The same dozen validation questions, before training and after epochs</summary>"
        "<div class='wide'>",
        samples,
        "</div></details>",
    )


def _grounding(scores: Mapping) -> Html:
    if "grounding" not in scores:
        return Html("")
    found = scores["grounding"]
    changed = " ".join(
        f"With the picture {words}, {found['changed'][name]:.0%} of the answers change."
        for name, words in (("blank", "blanked"), ("shuffled", "exchanged for another"))
        if found["changed"][name] is not None
    )
    return _section(
        "Does it look at the picture?",
        f"<p>{changed}</p>",
        drawing(figures.plot_grounding(scores), "exact match with and without the picture"),
    )


def _confidence(scores: Mapping) -> Html:
    found = scores["confidence"]
    return _section(
        "How sure, and how rightly",
        drawing(figures.plot_reliability(found), "reliability"),
        drawing(figures.plot_coverage(found), "accuracy by coverage"),
        tables.confidence_table(found),
    )


def _slices(scores: Mapping, predictions: Sequence[Mapping]) -> Html:
    return _section(
        "Answers",
        drawing(figures.plot_answer_frequencies(predictions), "answers, actual and predicted"),
        drawing(figures.plot_confusion(scores["slices"]["confusion"]), "confusion of common answers"),
    )


def _explained(run: Run, dataset: VQADataset, predictions: Sequence[Mapping]) -> Html:
    model, processor = load_model(str(run.model_folder))
    shown = explanations(dataset, predictions, model, processor, telling(predictions))
    note = (
        "<p class='sub'>Gradient-weighted attention of the question to the picture, warm where it spoke for the answer "
        "given. It shows what the model used, not that it was right to.</p>"
    )
    return _section("What moved the answer", note, shown)


def _review(run: Run, split: str, predictions: Sequence[Mapping]) -> Html:
    file = run.folder / f"review-{split}.csv"
    bootstrap = Bootstrap(run.config.data.group)
    found = read_review(file, predictions, bootstrap) if file.exists() else None
    if not found or not any(found["verdicts"].values()):
        return Html("")
    return _section("An expert's verdict", tables.review_table(found))


def _data(scores: Mapping) -> Html:
    return _section("Known of the data", bullets([note for kind in scores["data"].values() for note in kind]))


def _stress(run: Run, split: str) -> Html:
    file = run.folder / f"stress-{split}.json"
    if not file.exists():
        return Html("")
    figure = figures.plot_stress(json.loads(file.read_text(encoding="utf-8")))
    return _section("Corrupted pictures", drawing(figure, "score against corruption"))


def _gallery(dataset: VQADataset, predictions: Sequence[Mapping]) -> Html:
    """Cards of up to eight questions of one image; those with a wrong answer first."""
    by_image: dict[str, list[Mapping]] = {}
    for row in predictions:
        by_image.setdefault(row["image_id"], []).append(row)
    chosen = list(by_image.values())
    random.Random(0).shuffle(chosen)
    chosen = chosen[:PICTURES]
    chosen.sort(key=lambda rows: all(map(answered_right, rows[:QUESTIONS_A_CARD])))
    cards = []
    for rows in chosen:
        rows = rows[:QUESTIONS_A_CARD]
        right = sum(map(answered_right, rows))
        cards.append(
            f"<div data-right='{int(right == len(rows))}' data-wrong='{int(right < len(rows))}'>"
            f"{prediction_card(dataset, rows)}</div>"
        )
    tools = (
        "<div class='tools'><input id='search' type='search' placeholder='search questions and answers' "
        "aria-label='search'><button value='' aria-pressed='true'>all</button><button value='wrong' "
        "aria-pressed='false'>with a wrong answer</button><button value='right' aria-pressed='false'>all right"
        "</button><span id='count'></span></div>"
    )
    drawn = "" if len(chosen) == len(by_image) else ", drawn at random"
    note = (
        f"<p class='sub'>{len(chosen)} of {len(by_image)} images{drawn}, those with a wrong answer first; at most "
        f"{QUESTIONS_A_CARD} questions each.</p>"
    )
    return _section("Predicted against actual", note, tools, "<div class='gallery'>", *cards, "</div>")


def _settings(run: Run) -> Html:
    environment = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    return _section(
        "Settings",
        f"<p class='sub'>{escape(versions)}; commit {escape(environment.get('git_commit'))}</p>",
        "<details><summary>every setting</summary>",
        tables.settings_table(run.config.as_dict()),
        "</details>",
    )


def _page(title: str, parts: Sequence[str], script: bool = True) -> str:
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<style>{CSS}</style></head><body>{''.join(parts)}"
        f"{f'<script>{SCRIPT}</script>' if script else ''}</body></html>\n"
    )
