"""`report.html` of a run on captions: one self-contained page, from what its folder holds; no model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.captions import figures, tables
from blipvqa.captions.pictures import mistakes, prediction_card, sample_progress, worst_first
from blipvqa.captions.terms import Finder, load_terms
from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.pages.html import bullets, drawing
from blipvqa.pages.page import Section, folded, paragraph, remark, search_gallery, section, wide, write_page
from blipvqa.pages.tables import settings_table
from blipvqa.pages.wording import interval, last_part, number
from blipvqa.runs.files import sweep, write_text
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run
from blipvqa.training.trained import evaluated_split, refuse_other_pictures

PICTURES = 300


def write_report(run: Run, splits: Splits) -> Path:
    """Write `outputs/<name>/report.html`. Raises RunError where the run was not evaluated yet."""
    with lock(run.folder):
        sweep(run.folder)
        split = evaluated_split(run)
        scores, predictions = run.metrics(split), run.predictions(split)
        refuse_other_pictures(run, scores, splits)
        sections = [
            _numbers(scores),
            _training(run, splits),
            _looking(scores),
            section("Known of the data", bullets([*scores["data"]["leaks"], *scores["data"]["changes"]])),
            _gallery(run, splits[split], predictions),
            _settings(run),
        ]
        page = write_page(
            f"{run.name}: captions, predicted beside references",
            sections,
            heading=run.name,
            subtitle=f"{_facts(run)}. No medical device: for research on methods only.",
            warnings=scores["warnings"],
            searchable=True,
        )
        path = run.folder / "report.html"
        write_text(path, page)
        return path


def _facts(run: Run) -> str:
    environment, config = run.environment, run.config
    facts = [
        "captions",
        last_part(config.data.source),
        f"{config.model.image_size} px",
        f"{environment.get('weights', 0) / 1e6:.1f} M weights",
        str(environment.get("device", "")),
        f"best epoch {run.state['best']['epoch']}" if run.state.get("best") else "",
        str(environment.get("started", "")),
    ]
    return " · ".join(filter(None, facts))


def _numbers(scores: Mapping) -> Section:
    return section(
        f"Numbers on {scores['split']}",
        wide(tables.metrics_table(scores)),
        drawing(figures.plot_metrics(scores), "the measures with intervals"),
        folded("More: every measure, and by column", wide(tables.more_tables(scores))),
    )


def _training(run: Run, splits: Splits) -> Section:
    samples = [wide(sample_progress(run, splits["validation"]))] if "validation" in splits else []
    return section(
        "Training",
        drawing(figures.plot_history(run, run.config.reference_curve), "loss, scores, speed"),
        folded("The same dozen validation pictures, before training and after epochs", *samples),
    )


def _looking(scores: Mapping) -> Section:
    needs = scores.get("needs_picture")
    if not needs or needs["difference"] is None:
        return section("Does it look at the picture?", paragraph("There is no other picture to exchange each one for."))
    text = (
        f"Under the references of another picture the captions have CIDEr-D {number(needs, 'a')} instead of "
        f"{number(needs, 'b')}: {number(needs, 'difference', sign=True)} ({interval(needs, sign=True)}) needs the "
        f"picture. The commonest caption of train, which sees none, is “{scores['baseline_caption']}”."
    )
    return section("Does it look at the picture?", paragraph(text))


def _gallery(run: Run, dataset: VQADataset, predictions: Sequence[Mapping]) -> Section:
    finder = Finder(load_terms(run.config))
    shown = worst_first(predictions, finder)[:PICTURES]
    cards = ((prediction_card(dataset, row, finder), not any(mistakes(row, finder))) for row in shown)
    note = f"{len(shown)} of {len(predictions)} pictures, things named wrongly or left out first."
    buttons = ("something wrong or left out", "nothing wrong")
    gallery = search_gallery(cards, "search captions and references", buttons)
    return section("Predicted beside references", remark(note), gallery)


def _settings(run: Run) -> Section:
    environment = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    return section(
        "Settings",
        remark(f"{versions}; commit {environment.get('git_commit')}"),
        folded("every setting", wide(settings_table(run.config.as_dict()))),
    )
