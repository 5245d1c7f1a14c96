"""The page that compares two runs of any task: what differs in their settings, one headline test, all else adjusted for
how much is looked at, what other seeds would change, both trainings, and pictures on which the two disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from blipvqa.config.reading import every_difference
from blipvqa.data.dataset import VQADataset, load_splits
from blipvqa.data.groups import group_ids
from blipvqa.errors import UserError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.measures import Measures
from blipvqa.pages import plots
from blipvqa.pages.gallery import PLAIN, RIGHT, WRONG, card, grid, line
from blipvqa.pages.html import Html, drawing, escape, join
from blipvqa.pages.page import Section, folded, paragraph, remark, section, wide, write_page
from blipvqa.pages.seeds import seeds_of_two
from blipvqa.pages.tables import differences_table, settings_differences_table, table
from blipvqa.pages.wording import interval, number
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run, RunError
from blipvqa.tasks import task_of
from blipvqa.training.comparison import Comparing, compare_predictions
from blipvqa.training.task import Views
from blipvqa.training.trained import refuse_other_pictures

MOST, PICTURES, SLICES = 200, 12, 20  # rows listed for each run, and shown with their pictures; slices
ALWAYS_DIFFERENT = ("name", "fresh")


def write_comparison(a: Run, b: Run) -> Path:
    """Write `outputs/<b>/compare-<a>.html`. Raises RunError or InputError where the runs are of different tasks, or
    were scored on other rows."""
    task = task_of(a.config)
    how = task.comparing
    if task_of(b.config).comparing is not how:
        raise RunError(
            f"'{a.name}' is a run of task {a.config.task} and '{b.name}' of task {b.config.task}, which have no "
            "measure in common: name two runs of one task"
        )
    split = a.evaluated_split
    before, after = a.predictions(split), b.predictions(split)
    columns = [column for column in a.metrics(split)["by"] if any(column in row for row in before)]
    grouped = any(run.config.data.group_column for run in (a, b))
    compared = compare_predictions(
        how,
        _with_groups_of_both(before, after) if grouped else before,
        after,
        config=a.config,
        breakdown=columns,
        bootstrap=Bootstrap("group_id" if grouped else "image_id"),
    )
    names, over = (a.name, b.name), "groups" if grouped else "images"
    rows = {row["id"]: row for row in before}, {row["id"]: row for row in after}
    sections = [
        _settings(a, b, split),
        _headline(compared, how, names, over),
        seeds_of_two(a, b, how.headline, _title(how.measures, how.headline), how.measures[how.headline].most),
        _others(compared, how, names, over),
        _slices(compared, how, names, over),
        _trainings(a, b, how),
        _disagreements(compared, how, names, rows, task.views(), _pictures(a, b, split)),
    ]
    page = write_page(
        f"{a.name} and {b.name}",
        [part for part in sections if part],
        heading=f"{a.name} and {b.name} on {split}",
        subtitle=f"The same {len(before):,} {how.unit}; differences with 95 % intervals, over {over} in pairs.",
        warnings=_nothing_to_compare(a, b, rows),
    )
    path = b.folder / f"compare-{a.name}.html"
    write_text(path, page)
    return path


def _with_groups_of_both(before: Iterable[Mapping], after: Iterable[Mapping]) -> list[dict]:
    """Run a's rows in the groups that either run's data knows of: patients are no fewer where the other run comes
    first."""
    before, groups_of_b = list(before), {row["id"]: row.get("group_id") for row in after}
    of_b = [groups_of_b.get(row["id"]) or row["image_id"] for row in before]
    ids = group_ids((row.get("group_id"), (row["image_id"], other)) for row, other in zip(before, of_b, strict=True))
    return [{**row, "group_id": group} for row, group in zip(before, ids, strict=True)]


def _nothing_to_compare(a: Run, b: Run, rows: tuple[Mapping, Mapping]) -> list[str]:
    """A line where the two said the same of every row: then no difference could have been found."""
    if a.folder.resolve() == b.folder.resolve():
        return [f"This is run '{a.name}' beside itself, so every difference is 0: name two runs."]
    before, after = ({key: row.get("prediction") for key, row in of_run.items()} for of_run in rows)
    if before == after and any(before.values()):
        return [f"Both runs said the same of all {len(before):,} rows: is one of them a copy of the other?"]
    return []


def _title(measures: Measures, name: str) -> str:
    title = measures.title(name)
    return title[:1].upper() + title[1:]


def _settings(a: Run, b: Run, split: str) -> Section:
    differences = every_difference(a.scored_config(split).as_dict(), b.scored_config(split).as_dict())
    differences = {key: values for key, values in differences.items() if key not in ALWAYS_DIFFERENT}
    if not differences:
        return section("Settings that differ", paragraph("None: what differs is chance, or data or code behind them."))
    return section("Settings that differ", wide(settings_differences_table(differences, (a.name, b.name))))


def _headline(compared: Mapping, how: Comparing, names: tuple[str, str], over: str) -> Section:
    note = (
        "This is the one test of the page that stands by itself. Its p is how often exchanging the two runs in whole "
        f"{over}, at random, makes at least this difference."
    )
    title = f"The headline: {how.measures.title(how.headline)}"
    return section(title, paragraph(headline_sentence(compared, how, names, over)), remark(note))


def headline_sentence(compared: Mapping, how: Comparing, names: tuple[str, str], over: str = "images") -> str:
    """The headline test in words."""
    entry, title = compared["overall"][how.headline], _title(how.measures, how.headline)
    if entry["difference"] is None:
        return f"There are no {how.unit} to compare."
    numbers = (
        f"{number(entry, 'a')} in {names[0]} and {number(entry, 'b')} in {names[1]}: "
        f"{number(entry, 'difference', sign=True)} ({interval(entry, sign=True)})"
    )
    if entry["p"] is None:
        return f"{title} is {numbers}. There is no test: all {how.unit} are of one of the {over}."
    judged = "The difference is real" if entry["real"] else "The difference may be chance"
    sure = "p < 0.001" if entry["p"] < 0.001 else f"p = {number(entry, 'p')}"
    return f"{judged} ({sure}). {title} is {numbers}."


def _others(compared: Mapping, how: Comparing, names: tuple[str, str], over: str) -> Section:
    entries = {how.measures.title(name): entry for name, entry in compared["overall"].items()}
    entries = {title: entry for title, entry in entries.items() if entry["difference"] is not None}
    tested = sum(entry["p"] is not None for entry in compared["overall"].values()) - 1
    note = (
        f"Of {max(tested, 0)} further measures one or another seems to differ by chance. The adjusted p allows for "
        "that (Holm 1979), and what is called real is so beside all others."
    )
    bounded = [how.measures.title(name) for name in compared["overall"] if how.measures[name].most == 1]
    shown = {title: entry for title, entry in entries.items() if title in bounded}
    left_out = [title for title in entries if title not in shown]
    scale = f" Not in the figure, since not from 0 to 1: {', '.join(left_out)}." if left_out else ""
    return section(
        "All measures",
        drawing(plots.plot_difference(shown, names), "differences between the runs"),
        remark(note + scale),
        wide(differences_table(entries, names, unit=f"{how.unit} ({over})")),
    )


def _slices(compared: Mapping, how: Comparing, names: tuple[str, str], over: str) -> Section | None:
    slices = {
        f"{column.replace('_', ' ')}: {level}": entry[how.headline]
        for column, levels in compared["by"].items()
        for level, entry in levels.items()
        if entry[how.headline]["p"] is not None
    }
    if not slices:
        return None
    surest = sorted(slices, key=lambda name: (slices[name]["p"], -abs(slices[name]["difference"])))[:SLICES]
    note = (
        f"{_title(how.measures, how.headline)} in the slices with the smallest p, of {len(slices)} that were looked "
        "at. The first of many always looks striking; p is adjusted for all of them."
    )
    shown = differences_table({name: slices[name] for name in surest}, names, unit=f"{how.unit} ({over})")
    return section("By slice", remark(note), wide(shown))


def _trainings(a: Run, b: Run, how: Comparing) -> Section:
    histories = {run.name: run.history for run in (a, b) if run.history}
    parts = []
    if histories:
        names = dict.fromkeys([how.headline, a.config.train.metric, b.config.train.metric])
        figure = plots.plot_histories(histories, {name: how.measures.title(name) for name in names})
        parts.append(drawing(figure, "loss and validation score of both runs"))
    elsewhere = [run.name for run in (a, b) if not run.history]
    if elsewhere:
        parts.append(paragraph(f"{' and '.join(elsewhere)}: made elsewhere, so nothing is known of the training."))
    note = "Losses compare only where the same loss is counted: see the settings that differ."
    return section("Both trainings", *parts, remark(note))


def _pictures(a: Run, b: Run, split: str) -> VQADataset | str:
    """The split that both runs were scored on, or why its pictures cannot be shown."""
    try:
        splits = load_splits(a.config)
        for run in (a, b):
            refuse_other_pictures(run, run.metrics(split), splits)
    except UserError as error:
        return str(error)
    return splits[split]


def _disagreements(
    compared: Mapping,
    how: Comparing,
    names: tuple[str, str],
    rows: tuple[Mapping, Mapping],
    views: Views,
    pictures: VQADataset | str,
) -> Section:
    measure = how.measures.title(how.by_row)
    equal = f"{compared['equal']:,} {how.unit} are equally well done by both"
    value = compared["equal_value"]
    parts = [paragraph(f"By {measure}, {equal}{'' if value is None else f', at {value:.3f} on average'}.")]
    if isinstance(pictures, str):
        parts.append(remark(f"Their pictures are not shown: {pictures}"))
    for key, better in (("better_a", 0), ("better_b", 1)):
        ids = compared[key]
        parts.append(Html("<h3>{}</h3>").format(f"Better in {names[better]}: {len(ids):,}"))
        if not isinstance(pictures, str):
            cards = [_card(pictures, [of[i] for of in rows], names, better, views) for i in ids[:PICTURES]]
            parts.append(grid(cards, 4))
        cut = f", the first {MOST}" if len(ids) > MOST else ""
        listed = [(i, " · ".join(views.asked(rows[0][i])), *(views.said(of[i]) for of in rows)) for i in ids[:MOST]]
        if ids:
            parts.append(folded(f"as a table{cut}", wide(table(["id", "asked and actual", *names], listed, left=4))))
    return section("Where they disagree", join(parts))


def _card(dataset: VQADataset, pair: list[Mapping], names: tuple[str, str], better: int, views: Views) -> Html:
    """One picture with what was asked and what each run said, the better one marked."""
    lines = [line(escape(text, 200), PLAIN) for text in views.asked(pair[0])]
    for place, (name, row) in enumerate(zip(names, pair, strict=True)):
        sign, colour = ("✓", RIGHT) if place == better else ("✗", WRONG)
        lines.append(line(Html("{} {}: <b>{}</b>").format(sign, name, escape(views.said(row), 200)), colour))
    return card(dataset.image(dataset.index(pair[0]["id"])), lines)
