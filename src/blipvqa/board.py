"""`outputs/board.html`: every run on one page, the seeds of one recipe pooled to mean and spread.

Notable:
- Nothing is hidden: a run that is unfinished, not evaluated or of another task stands there as such, and a folder that
  cannot be read is named with the reason.
- Only runs on the same rows are pooled (`runs/seeds.py`); two runs of one seed count once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from blipvqa.config.data_knobs import DataConfig
from blipvqa.config.paths import project_path
from blipvqa.config.recipes import result_settings
from blipvqa.numbers.spread import spread
from blipvqa.pages.html import Html, bullets, join
from blipvqa.pages.page import Section, folded, remark, section, wide, write_page
from blipvqa.pages.seeds import spread_cell
from blipvqa.pages.tables import table
from blipvqa.pages.wording import NOTHING, count, interval, last_part, number
from blipvqa.plural import how_many
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run, RunError
from blipvqa.runs.seeds import UNREADABLE, Scored, one_a_seed, scored
from blipvqa.tasks import task_of

MOST_COLUMNS = 8  # settings with a column of their own; what differs beyond stands in one
CACHE = "CACHEDIR.TAG"
OF_SEVERAL = ("bootstrap.json", "continual.json")  # what CapFilt and a sequence leave, whose runs lie beside it


@dataclass(frozen=True)
class Row:
    """One run of the board."""

    run: Run
    task: str
    titles: Mapping[str, str]  # of the headline measures, by name
    most: Mapping[str, float]  # the largest value that each of them can have
    settings: Mapping[str, object]  # what weights and scores depend on
    status: str
    started: str
    scored: Scored | None  # None before it is evaluated


def write_board() -> Path:
    """Write `outputs/board.html` and return its path. Raises RunError where there is no run yet."""
    outputs = project_path("outputs")
    rows, broken = read_runs(outputs)
    if not rows and not broken:
        raise RunError("there is no run in outputs/ yet: make demo, or make run, makes one")
    path = outputs / "board.html"
    several = [folder.name for folder in sorted(outputs.glob("*/")) if _is_of_several(folder)]
    write_text(path, board(rows, broken, several))
    return path


def read_runs(outputs: Path) -> tuple[list[Row], dict[str, str]]:
    """The runs by name, and why each folder that is none cannot be read."""
    rows, broken, cache = [], {}, project_path(DataConfig().cache_dir)
    for folder in sorted(outputs.glob("*/")):
        if folder.name.startswith(".") or folder == cache or (folder / CACHE).exists() or _is_of_several(folder):
            continue
        try:
            if not (folder / "config.yaml").exists():
                broken[folder.name] = "it has no config.yaml, so it is no run, or what is left of one"
            else:
                rows.append(_row(Run(folder)))
        except UNREADABLE as error:
            broken[folder.name] = f"{type(error).__name__}: {error}"
    return rows, broken


def _is_of_several(folder: Path) -> bool:
    return any((folder / name).exists() for name in OF_SEVERAL)


def _row(run: Run) -> Row:
    config, evaluated = run.config, scored(run)
    task = task_of(config)
    shown = task.headline or tuple(task.measures)[:4]
    return Row(
        run,
        task.name,
        {name: task.measures[name] for name in shown},
        {name: task.comparing.measures[name].most for name in shown},
        result_settings(run.scored_config(evaluated.split) if evaluated else config),
        _status(run, evaluated),
        str(run.environment.get("started", "")),
        evaluated,
    )


def _status(run: Run, evaluated: Scored | None) -> str:
    if not run.started:
        return "not started"
    parts = ["finished" if run.finished else f"unfinished, epoch {run.state.get('epoch', 0)}"]
    if evaluated is None:
        parts.append("not evaluated")
    else:
        parts.append(f"scored on {evaluated.split}")
        parts += ["as new data"] * bool(evaluated.scores.get("data", {}).get("changes"))
    return ", ".join(parts)


def board(rows: Sequence[Row], broken: Mapping[str, str], several: Sequence[str] = ()) -> str:
    """The page of these runs, a part for each task; `several` are folders of what several of them made."""
    tasks = dict.fromkeys(row.task for row in rows)
    of_task = {task: [row for row in rows if row.task == task] for task in tasks}
    sections = [part for task, own in of_task.items() for part in _sections(task, own)]
    if several:
        links = [Html('<li><a href="{}/report.html">{}</a></li>').format(quote(name), name) for name in several]
        sections.append(section("CapFilt and sequences, each of several runs", Html("<ul>{}</ul>").format(join(links))))
    if broken:
        lines = [f"{name}: {why}" for name, why in broken.items()]
        sections.append(section("Folders that cannot be read", bullets(lines)))
    tasks_said = ", ".join(f"{len(own)} of {task}" for task, own in of_task.items())
    evaluated = sum(row.scored is not None for row in rows)
    tools = Html(
        '<div class="tools"><input id="filter" type="search" placeholder="search runs and settings" '
        'aria-label="search runs and settings"><span id="shown" role="status"></span>'
        "<span>A press on a head sorts its table.</span></div>"
    )
    return write_page(
        "Runs",
        [section("All runs", tools), *sections],
        heading="Every run of outputs/",
        subtitle=f"{how_many(len(rows), 'run')} ({tasks_said}), {evaluated} of them evaluated. No medical device: "
        "for research on methods only.",
        sortable=True,
    )


def _sections(task: str, rows: Sequence[Row]) -> list[Section]:
    varying = _varying(rows)
    parts = []
    pools = pools_of(rows)
    if pools:
        parts.append(section(f"{task}: seeds of one recipe", remark(POOLED), wide(_pooled_table(pools, varying))))
    parts.append(section(f"{task}: runs", remark(ONE_RUN), wide(_runs_table(rows, varying)), *_unpooled(rows)))
    return parts


POOLED = (
    "Mean over seeds with their standard deviation (n seeds), and from three seeds on the 95 % t-interval of the mean. "
    "Pooled is what has the same settings but for the seed, and the same rows."
)
ONE_RUN = "95 % intervals are of one trained model each: they leave out what another seed would change."


def pools_of(rows: Sequence[Row]) -> list[list[Row]]:
    """Runs that are seeds of one recipe on the same data, two seeds or more, each seed once."""
    by_pool: dict[tuple, list[Row]] = {}
    for row in rows:
        if row.scored is not None and row.scored.pool is not None:
            by_pool.setdefault(row.scored.pool, []).append(row)
    pools = []
    for own in by_pool.values():
        chosen = one_a_seed([row.scored for row in own])
        if len(chosen) > 1:
            pools.append([row for row in own if row.scored in chosen])
    return pools


def _varying(rows: Sequence[Row]) -> list[str]:
    """The settings that differ between these runs; those of most values first after the seed."""
    values = {key: {str(row.settings.get(key, NOTHING)) for row in rows} for key in rows[0].settings | _all(rows)}
    differing = [key for key, different in values.items() if len(different) > 1]
    return sorted(differing, key=lambda key: (key != "seed", -len(values[key]), key))


def _all(rows: Sequence[Row]) -> dict:
    return {key: None for row in rows for key in row.settings}


def _said(value: object) -> str:
    return NOTHING if value is None else last_part(value) if isinstance(value, str) else str(value)


def _settings_cells(row: Row, keys: Sequence[str]) -> list:
    """A cell a setting; what is beyond MOST_COLUMNS stands in the last, where there is any."""
    cells = [_said(row.settings.get(key)) for key in keys[:MOST_COLUMNS]]
    further = ", ".join(f"{key}={_said(row.settings.get(key))}" for key in keys[MOST_COLUMNS:])
    if not further:
        return cells
    return [*cells, folded(f"{len(keys) - MOST_COLUMNS} more", Html('<span class="further">{}</span>').format(further))]


def _heads(keys: Sequence[str]) -> list[Html | str]:
    """Names of settings, which a narrow column breaks after their dots: on paper "generate.meth od" reads badly."""
    breakable = [Html(".<wbr>").join(key.split(".")) for key in keys[:MOST_COLUMNS]]
    return [*breakable, *["further settings"] * bool(keys[MOST_COLUMNS:])]


def _runs_table(rows: Sequence[Row], varying: Sequence[str]) -> Html:
    titles = rows[0].titles
    body = []
    for row in rows:
        overall = row.scored.scores["overall"] if row.scored else {}
        entries = [overall.get(name) for name in titles]
        body.append(
            (
                _linked(row.run),
                row.status,
                *(_estimate(entry) for entry in entries),
                count(next(filter(None, entries), None)),
                _data_letters(rows)[row.scored.data] if row.scored and row.scored.data else NOTHING,
                *_settings_cells(row, varying),
                row.started or NOTHING,
            )
        )
    head = ["run", "status", *titles.values(), "rows (groups)", "data", *_heads(varying), "started"]
    return table(head, body, left=2, sortable=True)


def _data_letters(rows: Sequence[Row]) -> dict[str, str]:
    """A letter for each set of rows: runs of one letter were scored on the same."""
    digests = dict.fromkeys(row.scored.data for row in rows if row.scored and row.scored.data)
    return {digest: chr(ord("A") + i) if i < 26 else f"A{i}" for i, digest in enumerate(digests)}


def _named(run: Run) -> Html:
    return Html('<span class="whole">{}</span>').format(run.name)


def _linked(run: Run) -> Html:
    report = "report.html"
    if not (run.folder / report).exists():
        return _named(run)
    return Html('<a class="whole" href="{}">{}</a>').format(f"{quote(run.name)}/{report}", run.name)


def _estimate(entry: Mapping | None) -> Html:
    """A number, and its interval below it."""
    return Html("<b>{}</b> <small>{}</small>").format(number(entry), interval(entry))


def _pooled_table(pools: Sequence[Sequence[Row]], varying: Sequence[str]) -> Html:
    titles, keys = pools[0][0].titles, [key for key in varying if key not in ("seed", "data.source")]
    body = []
    for pool in pools:
        overall = [row.scored.scores["overall"] for row in pool]
        spreads = [spread([(of.get(name) or {}).get("value") for of in overall], pool[0].most[name]) for name in titles]
        seeds = ", ".join(str(row.run.config.seed) for row in pool)
        body.append(
            (
                Html(", ").join(_named(row.run) for row in pool),
                seeds,
                *map(spread_cell, spreads),
                pool[0].scored.split,
                *_settings_cells(pool[0], keys),
            )
        )
    head = ["runs", "seeds", *titles.values(), "split", *_heads(keys)]
    return table(head, body, left=2, sortable=True)


def _unpooled(rows: Sequence[Row]) -> list[Html]:
    """Why runs of one recipe are not pooled, where that is so."""
    notes = []
    same: dict[str, list[Row]] = {}
    for row in rows:
        if row.scored:
            same.setdefault(row.scored.recipe, []).append(row)
    for own in same.values():
        names = ", ".join(row.run.name for row in own)
        if len({row.scored.pool for row in own if row.scored.pool}) > 1:
            notes.append(f"{names}: one recipe, but scored on different rows, so not all are pooled")
        if any(row.scored.pool is None for row in own) and len(own) > 1:
            notes.append(f"{names}: one recipe, but an older version kept no rows of some, so these are not pooled")
        if len({(row.scored.pool, row.run.config.seed) for row in own}) < len(own):
            notes.append(f"{names}: some are of one seed and count once")
    return [folded("Not pooled, and why", bullets(notes))] if notes else []
