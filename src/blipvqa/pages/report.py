"""What every run's report has: its title and facts, the curves of training, the settings at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from blipvqa.numbers.measures import Measures
from blipvqa.pages.html import Html, drawing
from blipvqa.pages.page import Section, folded, remark, section, wide, write_page
from blipvqa.pages.seeds import seeds_section
from blipvqa.pages.tables import settings_table
from blipvqa.pages.wording import last_part
from blipvqa.runs.run import Run


def report_page(
    run: Run,
    title: str,
    scores: Mapping,
    headline: Mapping[str, str],
    measures: Measures,
    sections: Sequence[Section | None],
    verdict: str = "",
) -> str:
    """The page of a run: facts and `verdict` below its name, the warnings, then `sections` (None: left out).

    The first section holds the numbers; below it stands what another seed would make of the `headline`, titles by name
    (`measures` know how large each can be).
    """
    numbers, *others = sections
    parts = [numbers, seeds_section(run, headline, measures), *others, _settings(run, scores["split"])]
    subtitle = f"{_facts(run)}. No medical device: for research on methods only. {verdict}"
    return write_page(
        f"{run.name}: {title}",
        [part for part in parts if part],
        heading=run.name,
        subtitle=subtitle.rstrip(),
        warnings=scores["warnings"],
    )


def training_section(history: Figure, samples: Html | None, title: str) -> Section:
    """Curves, and below `title` the same rows before training and after epochs; None without a validation split."""
    return section(
        "Training", drawing(history, "loss, scores, speed"), folded(title, *([wide(samples)] * bool(samples)))
    )


def _facts(run: Run) -> str:
    """What a reader asks first: data, size, device, when."""
    environment, config = run.environment, run.config
    facts = [
        last_part(config.data.source),
        f"{config.model.image_size} px",
        f"{environment.get('weights', 0) / 1e6:.1f} M weights",
        str(environment.get("device", "")),
        str(environment.get("precision", "")),
        f"best epoch {run.state['best']['epoch']}" if run.state.get("best") else "",
        str(environment.get("started", "")),
    ]
    return " · ".join(filter(None, facts))


def _settings(run: Run, split: str) -> Section:
    environment = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    return section(
        "Settings",
        remark(f"{versions}; commit {environment.get('git_commit')}"),
        folded("every setting", wide(settings_table(run.scored_config(split).as_dict()))),
    )
