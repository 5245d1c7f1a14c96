"""`outputs/transfer.html` and `.md`: every run asked about every set, one row a run and one column a set.

What was asked before, of the same weights and rows, is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path
from blipvqa.pages.cards import markdown_table
from blipvqa.pages.html import Html
from blipvqa.pages.page import remark, section, wide, write_page
from blipvqa.pages.tables import table
from blipvqa.pages.wording import NOTHING, count, interval, number
from blipvqa.plural import how_many
from blipvqa.runs.files import write_text
from blipvqa.vqa.elsewhere import check_pair, evaluate_elsewhere
from blipvqa.vqa.measures import MEASURES

MEASURE = "exact_match"


def write_transfer(
    runs: Sequence[Config], sets: Sequence[Config], *, resamples: int = 1000, progress: bool = True
) -> Path:
    """Ask every run about every set and write the table as a page and as Markdown; returns the page's path.

    Raises ConfigError where there is no run or no set, where two have one name, and what `evaluate_elsewhere` raises.
    """
    for what, configs in (("runs", runs), ("sets", sets)):
        if not configs:
            raise ConfigError(f"the table has no {what}: name one or more, by --runs and --on in a shell")
        names = [config.name for config in configs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two {what} of the table are called '{twice[0]}': give one another name")
    for run in runs:
        for other in sets:
            check_pair(run, other)  # all of them before the first is asked
    scores = {
        (run.name, other.name): evaluate_elsewhere(run, other, resamples=resamples, progress=progress)
        for other in sets
        for run in runs
    }
    head = ["run", *(other.name for other in sets)]
    title = MEASURES.title(MEASURE)
    outputs = project_path("outputs")
    lines = [(run.name, *(_plain(scores[run.name, other.name]) for other in sets)) for run in runs]
    write_text(outputs / "transfer.md", f"# Transfer: {title}\n\n{markdown_table(head, lines)}\n")
    rows = [(run.name, *(_cell(scores[run.name, other.name]) for other in sets)) for run in runs]
    sizes = [(other.name, *_of_set(scores[runs[0].name, other.name])) for other in sets] if runs else []
    note = (
        "Each run answers each set as its own model reads and answers; only the data is the set's. The best answerer "
        "without a picture learnt from that set's own training rows. Below some numbers stands how many of the rows "
        "the run was trained on: those say nothing of another source."
    )
    page = write_page(
        "Transfer",
        [
            section(f"{title[:1].upper()}{title[1:]}", remark(note), wide(table(head, rows))),
            section("The sets", wide(table(["set", "questions (pictures)", "without a picture"], sizes))),
        ],
        subtitle=f"{how_many(len(runs), 'run')} on {how_many(len(sets), 'set')}, with 95 % intervals over pictures "
        "or groups.",
    )
    path = outputs / "transfer.html"
    write_text(path, page)
    return path


def _plain(scores: Mapping) -> str:
    entry = scores["overall"][MEASURE]
    seen = f", {how_many(scores['seen'], 'row')} seen in training" if scores["seen"] else ""
    return f"{number(entry)} ({interval(entry)}){seen}"


def _cell(scores: Mapping) -> Html:
    entry = scores["overall"][MEASURE]
    seen = Html("<br>{} seen in training").format(f"{scores['seen']:,}") if scores["seen"] else Html("")
    return Html("<b>{}</b><br>{}{}").format(number(entry), interval(entry), seen)


def _of_set(scores: Mapping) -> tuple[str, str]:
    blind = scores.get("baseline", {}).get(MEASURE)
    return count(scores["overall"][MEASURE]), number(blind) if blind else NOTHING
