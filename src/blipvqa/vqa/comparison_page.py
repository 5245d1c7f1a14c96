"""The page that compares two runs: what differs in their settings, one headline test, all else adjusted for how much is
looked at, and who was right alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blipvqa.config.reading import every_difference
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages.html import Html, drawing, join
from blipvqa.pages.page import Section, paragraph, remark, section, wide, write_page
from blipvqa.pages.tables import settings_differences_table, table
from blipvqa.pages.wording import interval, number
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run
from blipvqa.training.trained import evaluated_split
from blipvqa.vqa import figures, tables
from blipvqa.vqa.comparison import HEADLINE_TEST, compare_runs

MOST = 200  # questions listed for each run
ALWAYS_DIFFERENT = ("name", "fresh")


def write_comparison(a: Run, b: Run) -> Path:
    """Write `outputs/<b>/compare-<a>.html`: numbers side by side with paired intervals over images, and what one
    answers right and the other does not. Raises RunError or InputError where the runs answered other questions."""
    split = evaluated_split(a)
    before, after = a.predictions(split), b.predictions(split)
    breakdown = [axis for axis in a.metrics(split)["by"] if axis != "question_type" and any(axis in r for r in before)]
    compared = compare_runs(before, after, breakdown=breakdown, bootstrap=Bootstrap(a.config.data.group))
    names = (a.name, b.name)
    sections = [
        _settings(a, b),
        _headline(compared, names),
        _others(compared, names),
        _slices(compared, names),
        section("Questions", _right_in_one(compared, before, after, names)),
    ]
    page = write_page(
        f"{a.name} and {b.name}",
        [part for part in sections if part],
        heading=f"{a.name} and {b.name} on {split}",
        subtitle=f"The same {len(before):,} questions; differences with 95 % intervals, over images in pairs.",
    )
    path = b.folder / f"compare-{a.name}.html"
    write_text(path, page)
    return path


def _settings(a: Run, b: Run) -> Section:
    differences = every_difference(a.config.as_dict(), b.config.as_dict())
    differences = {key: values for key, values in differences.items() if key not in ALWAYS_DIFFERENT}
    if not differences:
        return section("Settings that differ", paragraph("None: what differs is chance, or data or code behind them."))
    return section("Settings that differ", wide(settings_differences_table(differences, (a.name, b.name))))


def _headline(compared: Mapping, names: tuple[str, str]) -> Section:
    note = (
        "This is the one test of the page that stands by itself. Its p is how often exchanging the two runs in whole "
        "images, at random, makes at least this difference."
    )
    return section("The headline: exact match", paragraph(headline_sentence(compared, names)), remark(note))


def headline_sentence(compared: Mapping, names: tuple[str, str]) -> str:
    """The headline test in words."""
    entry = compared["overall"][HEADLINE_TEST]
    if entry["difference"] is None:
        return "There is no question to compare."
    numbers = (
        f"{number(entry, 'a')} in {names[0]} and {number(entry, 'b')} in {names[1]}: "
        f"{number(entry, 'difference', sign=True)} ({interval(entry, sign=True)})"
    )
    if entry["p"] is None:
        return f"Exact match is {numbers}. There is no test: all questions are on one image."
    judged = "The difference is real" if entry["real"] else "The difference may be chance"
    sure = "p < 0.001" if entry["p"] < 0.001 else f"p = {number(entry, 'p')}"
    return f"{judged} ({sure}). Exact match is {numbers}."


def _others(compared: Mapping, names: tuple[str, str]) -> Section:
    count = sum(entry["p"] is not None for entry in compared["overall"].values()) - 1
    note = (
        f"Of {max(count, 0)} further measures one or another seems to differ by chance. The adjusted p allows for that "
        "(Holm 1979), and what is called real is so beside all others."
    )
    return section(
        "All measures",
        drawing(figures.plot_difference(compared, names), "differences between the runs"),
        remark(note),
        wide(tables.differences_table(compared, names)),
    )


def _slices(compared: Mapping, names: tuple[str, str]) -> Section | None:
    slices = [entry["exact_match"] for levels in compared["by"].values() for entry in levels.values()]
    tested = sum(entry["p"] is not None for entry in slices)
    if not tested:
        return None
    note = (
        f"Exact match in the slices with the smallest p, of {tested} that were looked at. The first of many always "
        "looks striking; p is adjusted for all of them."
    )
    return section("By slice", remark(note), wide(tables.slice_differences_table(compared, names)))


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
