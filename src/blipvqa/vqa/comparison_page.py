"""The page that compares two runs: the same questions, differences with paired intervals, who was right alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages.html import Html, drawing, join
from blipvqa.pages.page import paragraph, section, wide, write_page
from blipvqa.pages.tables import table
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run
from blipvqa.training.trained import evaluated_split
from blipvqa.vqa import figures, tables
from blipvqa.vqa.comparison import compare_runs

MOST = 200  # questions listed for each run


def write_comparison(a: Run, b: Run) -> Path:
    """Write `outputs/<b>/compare-<a>.html`: numbers side by side with paired intervals over images, and what one
    answers right and the other does not. Raises RunError or InputError where the runs answered other questions."""
    split = evaluated_split(a)
    before, after = a.predictions(split), b.predictions(split)
    compared = compare_runs(before, after, bootstrap=Bootstrap(a.config.data.group))
    names = (a.name, b.name)
    sections = [
        section(
            "Differences",
            drawing(figures.plot_difference(compared, names), "differences between the runs"),
            wide(tables.differences_table(compared, names)),
        ),
        section("Questions", _right_in_one(compared, before, after, names)),
    ]
    page = write_page(
        f"{a.name} and {b.name}",
        sections,
        heading=f"{a.name} and {b.name} on {split}",
        subtitle=f"The same {len(before):,} questions; differences with 95 % intervals, bootstrapped over images in "
        "pairs.",
    )
    path = b.folder / f"compare-{a.name}.html"
    write_text(path, page)
    return path


def _right_in_one(
    compared: Mapping, before: Sequence[Mapping], after: Sequence[Mapping], names: tuple[str, str]
) -> Html:
    first, second = {row["id"]: row for row in before}, {row["id"]: row for row in after}
    parts = [paragraph(f"Both right: {compared['both_right']:,}. Both wrong: {compared['both_wrong']:,}.")]
    for key, name in (("only_a", names[0]), ("only_b", names[1])):
        ids = compared[key]
        cut = f" (the first {MOST})" if len(ids) > MOST else ""
        rows = [
            (i, first[i]["question"], first[i]["answer"], first[i]["prediction"], second[i]["prediction"])
            for i in ids[:MOST]
        ]
        parts.append(Html("<h3>{}</h3>").format(f"Right in {name} only: {len(ids):,}{cut}"))
        parts.append(wide(table(["id", "question", "actual", *names], rows, left=5)))
    return join(parts)
