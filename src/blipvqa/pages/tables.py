"""Tables as HTML, from columns and titles; every number with its interval and its count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from blipvqa.pages.html import Html, join
from blipvqa.pages.wording import NOTHING, count, interval, last_part, number, p_value

# a report that is dark sets the variables; elsewhere a table is dark on white
TABLE = "border-collapse:collapse;font-size:13px;margin:6px 0;background:var(--paper,#fff);color:var(--ink,#222)"
# a notebook's dark theme colours every second row itself: each cell brings its own ground
CELL = "background:var(--paper,#fff);padding:3px 10px;border-bottom:1px solid var(--line,#e3e6e8);vertical-align:top;"
TEXT, NUMBER = "text-align:left;min-width:7.5em;overflow-wrap:break-word", "text-align:right;white-space:nowrap"


def table(head: Sequence[str], rows: Iterable[Sequence], left: int = 1, sortable: bool = False) -> Html:
    """A table; the first `left` columns are text, the rest numbers. Cells that are Html stay as they are.

    `sortable`: a press on a head sorts it, by the number that a cell begins with or by its text, on a page that is too.
    Without a row it says so: a head alone looks like a page that broke off.
    """
    if sortable:
        head = [Html('<button type="button">{}</button>').format(title) for title in head]

    def row(cells: Sequence, tags: Sequence[str]) -> Html:
        styles = (CELL + (TEXT if i < left else NUMBER) for i in range(len(cells)))
        return join(
            Html(f'<{tag} style="{style}">{{}}</{tag}>').format(cell)
            for cell, style, tag in zip(cells, styles, tags, strict=True)
        )

    head_tags = ["th" if title else "td" for title in head]  # a head without text is read out as one that is missing
    body = join(Html("<tr>{}</tr>").format(row(cells, ["td"] * len(cells))) for cells in rows)
    body = body or Html('<tr><td style="{}" colspan="{}">nothing to show</td></tr>').format(
        Html(CELL + TEXT), len(head)
    )
    kind = Html(' class="sortable"') if sortable else ""
    page = Html('<table{} style="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>')
    return page.format(kind, Html(TABLE), row(head, head_tags), body)


def split_table(splits: Mapping, unit: str) -> Html:
    """How many rows (in `unit`) and images each split holds, and its further columns."""
    rows = [
        (name, ", ".join(data.columns) or NOTHING, f"{len(data):,}", f"{len({row['image_id'] for row in data.rows}):,}")
        for name, data in splits.items()
    ]
    return table(["split", "further columns", unit, "images"], rows, left=2)


def measures_table(
    entries: Mapping[str, Mapping | None],
    others: Mapping[str, Mapping[str, Mapping | None]] | None = None,
    *,
    unit: str,
    first: str = "",
) -> Html:
    """Each entry with its 95 % interval and its count; `others` are columns beside it, by the same titles.

    A measure that no row counts for, here or beside, is left out: BLEU-4 where no answer has four words.
    """
    others = {title: column for title, column in (others or {}).items() if column}
    columns = (entries, *others.values())
    rows = [
        (
            title,
            Html("<b>{}</b>").format(number(entry)),
            interval(entry),
            count(entry),
            *(number(column.get(title)) for column in others.values()),
        )
        for title, entry in entries.items()
        if any(number(column.get(title)) != NOTHING for column in columns)
    ]
    return table([first, "value", "95 % interval", unit, *others], rows)


def differences_table(differences: Mapping[str, Mapping], names: tuple[str, str], unit: str) -> Html:
    """What two runs have of each measure, and whether their difference is more than chance, beside all other tests."""
    rows = [
        (
            title,
            number(entry, "a"),
            number(entry, "b"),
            number(entry, "difference", sign=True),
            interval(entry, sign=True),
            count(entry),
            p_value(entry),
            p_value(entry, "p_holm"),
            "yes" if entry["real"] else "may be chance",
        )
        for title, entry in differences.items()
    ]
    return table(["", *names, "difference", "95 % interval", unit, "p", "p, adjusted", "real?"], rows)


def settings_differences_table(differences: Mapping[str, tuple], names: tuple[str, str]) -> Html:
    """The settings in which two runs differ (`config.reading.every_difference`)."""
    rows = [(_name(key), *map(_setting, values)) for key, values in differences.items()]
    return table(["setting", *names], rows, left=3)


def _setting(value: object) -> object:
    return last_part(value) if isinstance(value, str) else NOTHING if value is None else value


def settings_table(settings: Mapping, section: str | None = None) -> Html:
    """The resolved settings as dotted keys; paths are cut to their last part."""
    rows = [(_name(key), value) for key, value in _dotted(settings) if section is None or key.startswith(section + ".")]
    return table(["setting", "value"], rows, left=2)


def _name(key: str) -> Html:
    """A dotted key that may break: in one piece it pushes the values off a telephone's screen."""
    return Html('<span style="overflow-wrap:anywhere">{}</span>').format(key)


def _dotted(tree: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _setting(value)


def model_table(model) -> Html:
    """Weights of each tower, in millions."""
    towers = {name: sum(p.numel() for p in tower.parameters()) for name, tower in model.named_children()}
    total = sum(p.numel() for p in model.parameters())
    rows = [(name.replace("_", " "), f"{weights / 1e6:.2f}") for name, weights in towers.items()]
    return table(["part", "million weights"], [*rows, ("together", f"{total / 1e6:.2f}")])


def confidence_table(scores: Mapping) -> Html:
    """Calibration errors before and after, and how well confidence orders the answers (`metrics["confidence"]`).

    The last column is what noise alone would show, or what a confidence that says nothing would have.
    """
    rows = []
    for title, errors in (("", scores["before"]), (", calibrated on validation", scores["after"])):
        if errors:
            rows.append((f"expected calibration error{title}", errors["ece"], number(errors["ece"], "floor")))
            rows.append((f"Brier score{title}", errors["brier"], ""))
    rows.append(("AUROC: a right answer is surer than a wrong one", scores.get("auroc"), "0.500"))
    at_all = scores["at_coverage"][-1:] or [{"value": None}]
    without = None if at_all[0]["value"] is None else 1 - at_all[0]["value"]
    rows.append(("AURC: risk, averaged over coverages", scores["aurc"], number({"value": without})))
    rows += [(f"accuracy, the most certain {point['coverage']:.0%}", point, "") for point in scores["at_coverage"]]
    head = ["", "value", "95 % interval", "with no skill, or by noise alone"]
    return table(head, [(title, number(entry), interval(entry), floor) for title, entry, floor in rows])


def titled(title: str, content: Html) -> Html:
    """A small heading above a table."""
    return Html("<h3 style='margin:14px 0 2px;font-size:1em'>{}</h3>{}").format(title, content)
