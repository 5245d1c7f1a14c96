"""`report.html` of a bootstrap: what was kept, dropped and written, with pictures, and how well the filter filters."""

from __future__ import annotations

from pathlib import Path

from blipvqa.bootstrapping import figures, tables
from blipvqa.bootstrapping.candidates import SYNTHETIC
from blipvqa.bootstrapping.pictures import MARK, pictures_of
from blipvqa.bootstrapping.rounds import Bootstrapped
from blipvqa.pages.html import bullets, drawing
from blipvqa.pages.page import folded, paragraph, remark, search_gallery, section, wide, write_page
from blipvqa.pages.tables import settings_table
from blipvqa.pages.wording import last_part
from blipvqa.plural import how_many
from blipvqa.runs.files import write_text

PICTURES = 200
NO_TRUTH = (
    "Nobody knows which of these texts are right, so the filter is not measured here: judge a sheet of drawn pairs "
    "(notebook 08)."
)


def write_report(result: Bootstrapped) -> Path:
    """Write `outputs/<name>/report.html` from what the bootstrap left."""
    config, last = result.config, result.rounds[-1]
    scores, cards = last["scores"], pictures_of(result.data["train"], result.texts)
    sections = [
        section(
            "What was kept",
            wide(tables.kept_table(scores)),
            drawing(figures.plot_matches(result.texts, last["threshold"]), "how well texts fit"),
        ),
        section(
            "How well the filter filters",
            *(
                [
                    wide(tables.filter_table(scores)),
                    *([wide(tables.judge_table(scores))] if "judges" in scores else []),
                    wide(tables.fault_table(scores)),
                ]
                if "filter" in scores
                else [paragraph(NO_TRUTH)]
            ),
        ),
        section("What the texts say", wide(tables.said_table(scores))),
        section(
            "Pictures with their texts",
            remark(f"{min(len(cards), PICTURES)} of {len(cards)} pictures: first those that lost a text and got one."),
            search_gallery(cards[:PICTURES], "search texts", ("something dropped", "all kept")),
        ),
        *_earlier(result),
        section("Settings", folded("every setting", wide(settings_table(config.as_dict())))),
    ]
    written = sum(text["origin"] == SYNTHETIC for text in result.texts)
    page = write_page(
        f"{config.name}: bootstrapped captions",
        sections,
        heading=config.name,
        subtitle=f"{last_part(config.data.source)} · {how_many(len(result.texts), 'text')} of "
        f"{how_many(len(cards), 'picture')} · kept from a match of {last['threshold']:.3g} on. No medical "
        "device: for research on methods only.",
        warnings=[
            f"{how_many(written, 'text on this page was', 'texts on this page were')} written by a model, no "
            f"person; each is marked “{MARK}”.",
            *result.notes,
            *scores.get("warnings", ()),  # an older version kept none
            *_unfinished(result),
        ],
    )
    path = config.folder / "report.html"
    write_text(path, page)
    return path


def _unfinished(result: Bootstrapped) -> list[str]:
    """A line where rounds are still to come."""
    done, planned = len(result.rounds), result.config.bootstrap.rounds
    return [f"Round {done} of {planned}: the others are not done yet."] if done < planned else []


def _earlier(result: Bootstrapped) -> list:
    """The rounds before the last one."""
    return [
        section(
            f"Round {number}",
            bullets(one["scores"].get("warnings", ()), nothing="Nothing to warn of."),
            wide(tables.kept_table(one["scores"])),
            wide(tables.filter_table(one["scores"])),
        )
        for number, one in enumerate(result.rounds[:-1], 1)
    ]
