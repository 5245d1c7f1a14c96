"""What an interval of one run leaves out: how much another seed would change, where other seeds were run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from blipvqa.numbers.measures import Measures
from blipvqa.numbers.spread import Spread, by_seed_alone, shift, spread
from blipvqa.pages.html import Html
from blipvqa.pages.page import Section, paragraph, section, wide
from blipvqa.pages.tables import table
from blipvqa.pages.wording import interval, number
from blipvqa.runs.run import Run
from blipvqa.runs.seeds import seeds_of

LEFT_OUT = "The intervals of this page are of one trained model: they leave out that another seed gives another model. "
LEFT_OUT_OF_BOTH = (
    "The test and the intervals of this page are of two trained models. They leave out that another seed of either "
    "gives another model."
)
NOT_KNOWN = "No other seed of this recipe lies in outputs/, so how much that is is not known; make sweep runs some."


def seeds_section(run: Run, titles: Mapping[str, str], measures: Measures) -> Section:
    """The spread over the seeds of a run's recipe, by the `titles` of measures; or that it is not known."""
    seeds = seeds_of(run)
    if len(seeds) < 2:
        return section("Another seed", paragraph(LEFT_OUT + NOT_KNOWN))
    overall = [each.scores["overall"] for each in seeds]
    rows = []
    for name, title in titles.items():
        most = measures[name].most if name in measures else math.inf
        over = spread([(of.get(name) or {}).get("value") for of in overall], most)
        own = overall[0].get(name)
        if over["n"]:
            rows.append((title, number(own), number(over), number(over, "sd"), interval(over), over["n"]))
    names = ", ".join(f"{each.run.name} (seed {each.run.config.seed})" for each in seeds)
    text = f"{LEFT_OUT}Over {len(seeds)} seeds of this recipe on the same rows, {names}:"
    head = ["", "this run", "mean over seeds", "standard deviation", "95 % interval of the mean", "seeds"]
    return section("Another seed", paragraph(text), wide(table(head, rows)))


def seeds_of_two(a: Run, b: Run, name: str, title: str, most: float) -> Section:
    """What the interval and the test of two compared runs leave out: how far seeds of each lie apart in a measure."""
    pools = [seeds_of(run) for run in (a, b)]
    values = [[(each.scores["overall"].get(name) or {}).get("value") for each in pool] for pool in pools]
    parts = [paragraph(LEFT_OUT_OF_BOTH)]
    same = b.name in [each.run.name for each in pools[0]]
    if same:
        parts.append(paragraph("These two are seeds of one recipe: what is real between them is the luck of the seed."))
    rows, said = [], []
    for run, of_run in list(zip((a, b), values, strict=True))[: 1 if same else 2]:
        over, apart = spread(of_run, most), by_seed_alone(of_run, most)
        rows.append((run.name, number(over), number(over, "sd"), interval(over), over["n"]))
        if apart is not None:
            said.append(
                f"95 of 100 pairs of runs of the recipe of {run.name} lie up to {apart:.3f} apart by their seeds alone"
            )
    between = shift(*values)
    if between and not same:
        said.append(
            f"over seeds {b.name} minus {a.name} is {number(between, sign=True)} ({interval(between, sign=True)}, "
            "Welch)"
        )
    unknown = [run.name for run, of_run in zip((a, b), values, strict=True) if len(of_run) < 2]
    if unknown:
        said.append(f"of {' and '.join(unknown)} no other seed lies in outputs/, so its spread is not known")
    if len(unknown) < 2:
        head = [title, "mean over seeds", "standard deviation", "95 % interval of the mean", "seeds"]
        parts.append(wide(table(head, rows)))
    if said:
        parts.append(paragraph(f"{'; '.join(said)[:1].upper()}{'; '.join(said)[1:]}."))
    return section("Another seed", *parts)


def spread_cell(over: Spread) -> Html:
    """ "0.612 ± 0.013 (n 3)", and the interval of the mean below it."""
    sd = f" ± {number(over, 'sd')}" if over["sd"] is not None else ""
    return Html("<b>{}</b>{} (n&nbsp;{}) <small>{}</small>").format(number(over), sd, over["n"], interval(over))
