"""Tables of a run's settings and numbers, as HTML; every number with its interval and its count."""

from __future__ import annotations

from collections.abc import Mapping

from blipvqa.pages.figures import HEADLINE
from blipvqa.pages.html import Html, escape, table
from blipvqa.vqa.card import last_part
from blipvqa.vqa.measures import MEASURES


def settings_table(config: Mapping, section: str | None = None) -> Html:
    """The resolved settings as dotted keys; paths are cut to their last part."""

    def flat(tree: Mapping, prefix: str = ""):
        for key, value in tree.items():
            if isinstance(value, Mapping) and value:
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield prefix + key, last_part(value) if isinstance(value, str) else "–" if value is None else value

    rows = [(key, value) for key, value in flat(config) if section is None or key.startswith(section + ".")]
    return table(["setting", "value"], rows, left=2)


def split_table(splits: Mapping) -> Html:
    """Questions, images and columns of each split."""
    rows = [
        (name, ", ".join(data.columns) or "–", f"{len(data):,}", f"{len({row['image_id'] for row in data.rows}):,}")
        for name, data in splits.items()
    ]
    return table(["split", "further columns", "questions", "images"], rows, left=2)


def metrics_table(scores: Mapping) -> Html:
    """The headline: each number with its 95 % interval and count, the ceiling, and what needs no picture."""
    blank = scores.get("grounding", {}).get("blank", {}).get("overall")
    others = {
        "generated": scores.get("generated"),
        "ceiling": scores["ceiling"],
        "majority answer": scores.get("baseline"),
        "picture blanked": blank,
        "before training": scores.get("start"),
    }
    others = {title: found for title, found in others.items() if found}
    rows = [
        (
            HEADLINE[name],
            Html(f"<b>{number(entry)}</b>"),
            interval(entry),
            f"{entry['n']:,}",
            *(number(found.get(name)) for found in others.values()),
        )
        for name, entry in scores["overall"].items()
        if name in HEADLINE
    ]
    return table(["", "value", "95 % interval", "questions", *others], rows)


def variants_table(scores: Mapping) -> Html:
    """Every further measure under its own name, with what it counts."""
    rows = [
        (
            name.replace("_", " "),
            Html(f"<span style='color:#555'>{escape(MEASURES[name].meaning)}</span>"),
            number(entry),
            interval(entry),
            f"{entry['n']:,}",
        )
        for name, entry in scores["overall"].items()
        if name not in HEADLINE and entry["value"] is not None
    ]
    return table(["measure", "what it is", "value", "95 % interval", "questions"], rows, left=2)


def by_table(scores: Mapping, axis: str = "question_type") -> Html:
    """Every level of an axis: exact match with interval and count, the blanked picture's, yes/no and open."""
    blank = scores.get("grounding", {}).get("blank", {}).get("by", {}).get(axis, {})
    rows = [
        (
            level,
            number(found["exact_match"]),
            interval(found["exact_match"]),
            f"{found['exact_match']['n']:,}",
            number(blank.get(level, {}).get("exact_match")),
            number(found.get("yes_no_accuracy")),
            number(found.get("open_exact_match")),
            number(found.get("open_token_f1")),
        )
        for level, found in scores["by"][axis].items()
    ]
    head = [axis, "exact match", "95 % interval", "questions", "blanked", "yes/no", "open exact", "open F1"]
    return table(head, rows)


def slice_table(rows: list[Mapping], title: str) -> Html:
    """A table of `metrics["slices"]`; levels without a question are left out."""
    shown = [(row["slice"], number(row, "exact_match"), interval(row), f"{row['n']:,}") for row in rows if row["n"]]
    return table([title, "exact match", "95 % interval", "questions"], shown)


def mistakes_table(rows: list[Mapping]) -> Html:
    """The commonest wrong answers."""
    shown = [(row["answer"], row["prediction"] or "(empty)", f"{row['n']:,} of {row['of']:,}") for row in rows]
    return table(["actual", "predicted", "times"], shown, left=2)


def confidence_table(found: Mapping) -> Html:
    """Calibration error before and after, and the accuracy of the most certain answers."""
    rows = [("expected calibration error", number(found["before"]["ece"]), interval(found["before"]["ece"]))]
    if found["after"]:
        rows.append(("… calibrated on validation", number(found["after"]["ece"]), interval(found["after"]["ece"])))
    rows += [
        (f"accuracy, the most certain {point['coverage']:.0%}", number(point), interval(point))
        for point in found["at_coverage"]
    ]
    return table(["", "value", "95 % interval"], rows)


def review_table(found: Mapping) -> Html:
    """What a pathologist's verdicts (`review.read_review`) say, beside exact match on the same answers."""
    titles = {
        "expert_accuracy": "accepted by the expert",
        "expert_accuracy_with_partly": "… or partly right",
        "exact_match": "exact match of the same answers",
    }
    rows = [
        (title, number(found[name]), interval(found[name]), f"{found[name]['n']:,}") for name, title in titles.items()
    ]
    rows.append(("without a verdict", "", "", f"{found['pending']:,}"))
    return table(["", "value", "95 % interval", "questions"], rows)


def more_tables(scores: Mapping) -> Html:
    """What is worth a look after the headline: variants, axes, slices, mistakes."""
    slices = scores["slices"]
    parts = [_titled("Further measures", variants_table(scores))]
    parts += [_titled(f"By {axis}", by_table(scores, axis)) for axis in scores["by"] if axis != "question_type"]
    parts += [
        _titled("Worst slices of ten questions and more", slice_table(slices["worst"], "slice")),
        _titled("Open answers by length", slice_table(slices["answer_length"], "reference has")),
        _titled("Open answers by how often train has them", slice_table(slices["answer_frequency"], "in train")),
        _titled("Commonest mistakes", mistakes_table(slices["mistakes"])),
    ]
    return Html("".join(parts))


def _titled(title: str, content: Html) -> Html:
    return Html(f"<h4 style='margin:14px 0 2px'>{escape(title)}</h4>{content}")


def number(entry: Mapping | None, key: str = "value") -> str:
    """Three digits, or a dash."""
    return "–" if not entry or entry[key] is None else f"{entry[key]:.3f}"


def interval(entry: Mapping) -> str:
    """ "0.812 to 0.874", or a dash."""
    return "–" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"


def model_table(model) -> Html:
    """Weights of each tower, in millions."""
    towers = {name: sum(p.numel() for p in tower.parameters()) for name, tower in model.named_children()}
    total = sum(p.numel() for p in model.parameters())
    return table(
        ["part", "million weights"],
        [
            *((name.replace("_", " "), f"{count / 1e6:.2f}") for name, count in towers.items()),
            ("together", f"{total / 1e6:.2f}"),
        ],
    )


def stress_table(found: Mapping) -> Html:
    """Exact match of every corruption and strength."""
    strengths = list(next(iter(found["scores"].values())))
    rows = [("as it is", number(found["clean"]), *[""] * (len(strengths) - 1))]
    rows += [(kind, *(f"{number(levels[s])}" for s in strengths)) for kind, levels in found["scores"].items()]
    return table(["corruption", *(f"strength {s}" for s in strengths)], rows)


def pointing_table(games: Mapping) -> Html:
    """The pointing game of each (model, method): how often the peak lies in the box, and how often by chance."""
    rows = [
        (
            name,
            method,
            f"{game['n']:,}",
            "–" if game["rate"] is None else f"{game['rate']:.3f}",
            "–" if game["chance"] is None else f"{game['chance']:.3f}",
        )
        for (name, method), game in games.items()
    ]
    return table(["model", "method", "questions", "peak in the box", "chance"], rows, left=2)
