"""Sections of the report, and their tables, on whether and for whom the answers can be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blipvqa.data.dataset import VQADataset
from blipvqa.pages.gallery import grid
from blipvqa.pages.html import Html, join
from blipvqa.pages.page import Section, paragraph, remark, section, wide
from blipvqa.pages.tables import table, titled
from blipvqa.pages.wording import count, counted, interval, number, p_value, share, unit
from blipvqa.plural import how_many
from blipvqa.vqa.operating import operating_line
from blipvqa.vqa.pictures import prediction_card
from blipvqa.vqa.tables import pointing_table, with_interval
from blipvqa.vqa.titles import spoken

MOST_GAPS = 20


def ensemble_section(scores: Mapping) -> Section | None:
    """Runs that answered together, beside the best single one."""
    if "ensemble" not in scores:
        return None
    together = scores["ensemble"]
    compared, best = together["exact_match"], together["best_single"]
    rows = [
        (f"exact match of {best}, the best run on validation", number(compared, "a"), ""),
        ("exact match together", number(compared, "b"), ""),
        ("… more than that one", number(compared, "difference", sign=True), interval(compared, sign=True)),
        (
            "right told from wrong by how many runs agree (AUROC)",
            number(together["agreement_auroc"]),
            interval(together["agreement_auroc"]),
        ),
        (
            "… by confidence",
            number(together["confidence_auroc"]),
            interval(together["confidence_auroc"]),
        ),
    ]
    chance = "" if compared["real"] else " The difference may be chance."
    note = f"{len(together['runs'])} runs: {', '.join(together['runs'])}. p {p_value(compared)}.{chance}"
    return section("Together", wide(table(["", "", "95 % interval"], rows)), remark(note))


def answering_section(scores: Mapping) -> Section | None:
    """When it answers, and how rightly then."""
    if "answering" not in scores:
        return None
    note = (
        "Answering only above a threshold on confidence, chosen on validation and tested here. All other tables are of "
        "all questions."
    )
    return section("Answering only when sure", remark(note), wide(answering_table(scores)))


def answering_table(scores: Mapping) -> Html:
    """Accuracy when answering and coverage side by side (`selective.score_answering`); the config's wish in bold."""
    answering = scores["answering"]
    rows = []
    for row in answering["rows"]:
        title = "fixed confidence" if row["wish"] is None else f"accuracy of {row['wish']:.0%}"
        validation, scored = row["validation"], row["scored"]
        rows.append(
            (
                Html("<b>{}</b>").format(title) if row["asked"] else title,
                _threshold(row, answering["undefined"]),
                with_interval(validation["accuracy"]),
                with_interval(validation["coverage"]),
                with_interval(scored["accuracy"]),
                count(scored["accuracy"]),
                with_interval(scored["coverage"]),
            )
        )
    split = scores.get("split", "test")
    head = ["wished", "threshold", "accuracy, validation", "coverage, validation", f"accuracy when answering, {split}"]
    return table([*head, counted(scores), f"coverage, {split}"], rows)


def _threshold(row: Mapping, undefined: str | None) -> str:
    if row["threshold"] is not None:
        return number(row, "threshold")
    return "undefined" if undefined else "none reaches it"


def operating_section(scores: Mapping) -> Section | None:
    """Yes/no questions as a diagnostic test."""
    if "operating_point" not in scores:
        return None
    return section(
        "Yes/no questions as a diagnostic test",
        paragraph(operating_line(scores["operating_point"])),
        wide(operating_table(scores)),
    )


def operating_table(scores: Mapping) -> Html:
    """AUROC, prevalence, and what each threshold on the probability of "yes" does (`operating`)."""
    operating = scores["operating_point"]
    auroc, prevalence = operating["auroc"], operating["prevalence"]
    first = table(
        ["", "value", "95 % interval", counted(scores)],
        [
            ("AUROC: a yes has a higher probability than a no", number(auroc), interval(auroc), count(auroc)),
            ("prevalence of yes", number(prevalence), interval(prevalence), count(prevalence)),
        ],
    )
    titles = {"chosen": f"sensitivity of {operating['wish']:.0%} on validation", "as_answered": "likelier than no"}
    measures = {"sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV", "npv": "NPV"}
    rows = [
        (
            titles[row["name"]],
            number(row, "threshold") if row["threshold"] is not None else "undefined",
            *(with_interval(row["scored"][name]) for name in measures),
        )
        for row in operating["rows"]
    ]
    return first + table(["yes from", "probability", *measures.values()], rows)


def subgroups_section(scores: Mapping) -> Section | None:
    """Gaps between subgroups; None where the data has no breakdown column."""
    subgroups = scores.get("subgroups")
    if not subgroups or not subgroups["columns"]:
        return None
    note = (
        f"Exact match between every two levels with {subgroups['fewest']} {unit(scores)} each. The p-values are "
        f"adjusted for all {subgroups['tests']:,} gaps that were looked at (Holm 1979)."
    )
    return section("Subgroups", remark(note), wide(subgroups_table(scores)))


def subgroups_table(scores: Mapping) -> Html:
    """The gaps of each breakdown column, the surest first, and the levels that are too few (`subgroups`)."""
    parts = []
    for column, entries in scores["subgroups"]["columns"].items():
        rows = [
            (
                f"{gap['levels'][0]} minus {gap['levels'][1]}",
                *(f"{value:.3f}" for value in gap["values"]),
                number(gap, "difference", sign=True),
                interval(gap, sign=True),
                " / ".join(f"{n:,} ({groups:,})" for n, groups in zip(gap["n"], gap["groups"], strict=True)),
                p_value(gap, "p_holm"),
                "yes" if gap["real"] else "may be chance",
            )
            for gap in entries["gaps"][:MOST_GAPS]
        ]
        counts = counted(scores)
        head = [spoken(column), "first", "second", "gap", "95 % interval", counts, "p, adjusted", "real?"]
        lines = [table(head, rows)] if rows else [paragraph("No two levels are large enough to be compared.")]
        if len(entries["gaps"]) > MOST_GAPS:
            lines.append(remark(f"The surest {MOST_GAPS} of {len(entries['gaps'])}; all stand in the metrics."))
        if entries["too_few"]:
            few = ", ".join(f"{level['level']} ({level['n']} on {level['groups']})" for level in entries["too_few"])
            fewest = scores["subgroups"]["fewest"]
            lines.append(remark(f"Too few, with less than {fewest} {unit(scores)}: {few}."))
        if entries.get("unknown"):
            lines.append(remark(f"No value, and so in no level: {how_many(entries['unknown'], 'question')}."))
        parts.append(titled(f"By {spoken(column)}", join(lines)))
    return join(parts)


def pointing_section(scores: Mapping) -> Section | None:
    """Whether maps point at what was asked about; None where the data tells no boxes."""
    game = scores.get("pointing")
    if not game or not game["n"]:
        return None
    note = (
        "How often a map's peak lies in the box of what was asked about. Beside it, for the same boxes: their share of "
        "the picture, the peak of another row's map, of the same picture under another question, and of this model "
        "with a random decoder (Adebayo et al. 2018). A map that explains is well above all four."
    )
    return section(
        "Do the maps point at it?", remark(note), wide(pointing_table({("trained", "gradient"): game}, counted(scores)))
    )


PAIRS = {
    "near_identical": "one picture, nearly the same question, opposite answers",
    "present": "one picture, something present and something not",
    "two_pictures": "one question, two pictures with opposite answers (set accuracy)",
}


def consistency_section(
    scores: Mapping, dataset: VQADataset | None = None, predictions: Sequence[Mapping] = ()
) -> Section | None:
    """Opposite questions, and with the split's pictures the worst pairs of them."""
    if "consistency" not in scores:
        return None
    note = (
        "Pairs of questions with opposite answers, from the data's own questions. Accuracy: both are right (a coin: "
        "0.25). Confusion: both get the same answer. Questions alone: what an answerer gets that sees no picture."
    )
    unheard = scores["consistency"].get("unheard", {})
    if unheard.get("questions"):
        said = ", ".join(f"“{word}”" for word in unheard["words"])
        note += (
            f" Of {unheard['of']:,} questions that were negated to be asked once more, {unheard['questions']:,} say it "
            f"with a word that stands in no question of train ({said}): contradictions there show what the model was "
            "never taught, and nothing of how it looks at pictures."
        )
    worst = [titled("The worst pairs", worst_pairs(scores, dataset, predictions))] if dataset is not None else []
    return section("Opposite questions", remark(note), wide(consistency_table(scores)), *worst)


def consistency_table(scores: Mapping) -> Html:
    """Pair accuracy, confusion, contradictions and self-consistency (`consistency.score_consistency`)."""
    consistency, rows = scores["consistency"], []
    for kind, title in PAIRS.items():
        rates = consistency["pairs"][kind]
        rows.append((f"{title}: both right", rates["accuracy"], rates["text_only"]["accuracy"]))
        rows.append(("… the same answer to both", rates["confusion"], rates["text_only"]["confusion"]))
    again = {
        "contradiction": "contradictions: the same answer to a question and to its opposite",
        "self_consistency": "self-consistency: an open answer, confirmed when asked for",
    }
    rows += [(title, consistency[name]["rate"], consistency[name]["text_only"]) for name, title in again.items()]
    unit_of_count = counted(scores, "pairs")
    return table(
        ["", "value", "95 % interval", unit_of_count, "questions alone", "95 % interval"],
        [(title, number(own), interval(own), count(own), number(alone), interval(alone)) for title, own, alone in rows],
    )


def worst_pairs(scores: Mapping, dataset: VQADataset, predictions: Sequence[Mapping]) -> Html:
    """The pairs that went most surely wrong, with their pictures."""
    row_of = {row["id"]: row for row in predictions}
    parts = []
    for kind, title in PAIRS.items():
        pairs = [[row_of[i] for i in pair["ids"]] for pair in scores["consistency"]["worst"] if pair["kind"] == kind]
        cards = [
            prediction_card(dataset, rows)
            for pair in pairs
            for rows in ([pair] if pair[0]["image_id"] == pair[1]["image_id"] else [[row] for row in pair])
        ]
        if cards:
            parts += [remark(title), grid(cards, 4)]
    return join(parts) if parts else paragraph("No pair is wrong.")


def answering_lines(scores: Mapping) -> list[str]:
    """For the card: what is gained by silence, for the wishes that a threshold reaches."""
    lines = []
    for row in scores.get("answering", {}).get("rows", []):
        accuracy, coverage = row["scored"]["accuracy"], row["scored"]["coverage"]
        if accuracy["value"] is not None:
            wish = "a fixed confidence" if row["wish"] is None else f"{row['wish']:.0%} on validation"
            lines.append(
                f"- Answering only above the threshold for {wish}: {number(accuracy)} ({interval(accuracy)}) right, "
                f"{share(coverage['value'])} answered."
            )
    return lines
