"""`reporting.md`: the items of two reporting checklists that a run can fill by itself, and blanks for its author.

CLAIM 2024: Tejani et al., "Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update", Radiology:
Artificial Intelligence 2024, doi 10.1148/ryai.240300 (44 items). TRIPOD+AI: Collins et al., BMJ 2024;385:e078378 (27
items). Numbers and names of items were compared with both in November 2026. Nothing stands here that was not measured
or set: what a run does not know is a blank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from blipvqa.config.kinds import names_of
from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.pages.cards import markdown_table, plain
from blipvqa.pages.wording import NOTHING, count, interval, last_part, number, share
from blipvqa.runs.files import write_text
from blipvqa.runs.run import Run
from blipvqa.runs.seeds import seeds_of

BLANK = "**[author: {}]**"
COMMONEST = 5  # references listed under prevalence
HEAD = """# Reporting sheet of {name}

What this run knows of itself, by the items of CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024,
doi 10.1148/ryai.240300) and TRIPOD+AI (Collins et al., BMJ 2024;385:e078378). What only its author knows is marked
**[author: …]**. Items that are not named here (title, abstract, background, registration, ethics) are the author's.

Intended use: research on methods only. This is no medical device."""


def write_reporting(run: Run, splits: Splits, scores: Mapping, titles: Mapping[str, str]) -> Path:
    """Write `reporting.md` of an evaluated run; `titles` name the measures that its table holds."""
    rows = [(_items(claim), _items(tripod), what, said) for claim, tripod, what, said in _entries(run, splits, scores)]
    parts = [
        HEAD.format(name=plain(run.name)),
        markdown_table(["CLAIM 2024", "TRIPOD+AI", "item", "this run"], rows),
        _flow(splits),
        _prevalence(splits[scores["split"]], scores["split"]),
        _performance(run, scores, titles),
        _warned(scores),
    ]
    path = run.folder / "reporting.md"
    write_text(path, "\n\n".join(filter(None, parts)) + "\n")
    return path


def blank(what: str) -> str:
    """A place for the author to fill."""
    return BLANK.format(what)


def _items(numbers: str) -> str:
    return numbers or NOTHING


def _entries(run: Run, splits: Splits, scores: Mapping) -> Iterator[tuple[str, str, str, str]]:
    """(CLAIM's number, TRIPOD+AI's, the item's name, what this run says), in CLAIM's order."""
    config, environment, state = run.config, run.environment, run.state
    data, model = config.data, config.model
    group = f"`{data.group_column}`, and by picture" if data.group_column else "image (picture's bytes)"
    patient = "" if data.group_column else f" Patient: {blank('are pictures of one patient in two partitions?')}"
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    best = state.get("best") or {}
    yield "7", "5a", "Data sources", f"{plain(last_part(data.source))}. {blank('origin, dates, centres, licence')}"
    kept = f"rows kept by {plain(data.where)}" if data.where else "no filter"
    limits = f", at most {plain(data.limit)} rows" if data.limit else ""
    yield "8", "6b", "Inclusion and exclusion criteria", f"{kept}{limits}. {blank('of patients and studies')}"
    yield (
        "9",
        "7",
        "Data pre-processing",
        f"pictures as RGB, {model.image_size} × {model.image_size} pixels; texts by the model's tokenizer",
    )
    yield "10", "", "Selection of data subsets", f"see the flow of rows below. {blank('selection before this source')}"
    yield "11", "", "De-identification methods", blank("how")
    broken = "a broken row stops the run" if data.on_error == "raise" else "broken rows are left out and counted"
    yield "12", "11", "How missing data were handled", f"{broken}; nothing is imputed"
    yield "13", "", "Image acquisition protocol", blank("devices, stains, protocols")
    yield "14, 16", "8a", "Reference standard: definition and source", blank("who answered, and how")
    yield "18", "", "Inter- and intra-rater variability", blank("of the reference; two review sheets give kappa")
    assigned = "as published" if data.split == "published" else "regrouped: train gave up what is held out"
    yield "19", "12a", "How data were assigned to partitions", f"{assigned}, seed {config.seed}; see the flow of rows"
    yield (
        "20",
        "",
        "Level at which partitions are disjoint",
        f"{group}: see the flow of rows for what two splits share.{patient}",
    )
    yield "21", "10", "Intended sample size", blank("how it was arrived at")
    yield (
        "22",
        "12c",
        "Detailed description of model",
        _model(config.task, environment),
    )
    yield (
        "23",
        "",
        "Software libraries, frameworks, packages",
        f"{versions or blank('versions')}; Python {environment.get('python') or blank('version')}",
    )
    starts = ", ".join(plain(last_part(name)) for name in names_of(model.name))
    start = f"{starts}, seed {config.seed}" if run.history else blank("how")
    yield "24", "", "Initialization of model parameters", start
    yield "25", "12c", "Details of training approach", _training(run) if run.history else blank("how")
    chosen = f"epoch {best['epoch']}: best {best['metric']} on validation" if best else blank("how")
    yield "26", "12c", "Method of selecting the final model", chosen
    yield "27", "", "Ensembling techniques", "none: one model" if run.history else blank("which")
    over = "images" if not data.group_column else f"groups (`{data.group_column}`)"
    yield "28, 29", "12e", "Metrics, statistical measures of uncertainty", f"below; 95 % intervals over {over}"
    stress = (run.folder / f"stress-{scores['split']}.json").exists()
    yield (
        "30",
        "",
        "Robustness or sensitivity analysis",
        "corrupted pictures: see the report" if stress else "not run (`make stress`)",
    )
    yield "32", "12a", "Evaluation on internal data", f"on {scores['split']}"
    yield "33", "12a", "Testing on external data", blank("none here; where else was it tested?")
    yield "35", "20a", "Numbers included and excluded", "the flow of rows below"
    yield "36", "20b", "Characteristics of cases in each partition", f"prevalence below. {blank('age, sex, findings')}"
    yield "37, 38", "23a", "Performance with its uncertainty", "below"
    yield (
        "39",
        "",
        "Failure analysis of incorrect results",
        "`report.html`: slices, mistakes, every wrong answer with its picture",
    )
    yield "40", "26", "Study limitations", f"what the evaluation warns of, below. {blank('further')}"
    yield "41", "3b, 27", "Intended use and clinical role", f"research on methods only. {blank('users, place in care')}"
    commit = environment.get("git_commit")
    code = plain(commit) if commit else blank("version")
    axes = ", ".join(map(plain, scores.get("by", {}))) or "none"
    yield (
        "42, 43",
        "18c, 18e, 18f",
        "Protocol; availability of code, model, data",
        f"code: {code}. {blank('protocol, data, model')}",
    )
    yield "44", "18a", "Funding", blank("sources and role")
    yield (
        "",
        "14",
        "Fairness",
        f"by the columns {axes}: `metrics-{scores['split']}.json`. {blank('what was done')}",
    )


def _training(run: Run) -> str:
    train, environment = run.config.train, run.environment
    return (
        f"{train.epochs} epochs at most, {train.batch_size} rows a step, learning rate {train.learning_rate:g} "
        f"({train.schedule}), weight decay {train.weight_decay:g}, label smoothing {train.label_smoothing:g}, "
        f"augmentation {train.augment}, {environment.get('device') or blank('device')}, "
        f"{environment.get('precision') or blank('precision')}"
    )


def _model(task: str, environment: Mapping) -> str:
    weights, trained = (_millions(environment.get(name)) for name in ("weights", "trained"))
    return f"BLIP ({task}), {weights} weights, {trained} trained"


def _millions(weights: int | None) -> str:
    return blank("number of") if weights is None else f"{weights / 1e6:.2f} M"


def _flow(splits: Splits) -> str:
    rows = []
    for name, data in splits.items():
        groups = {row.get("group_id", row["image_id"]) for row in data.rows}
        images = {row["image_id"] for row in data.rows}
        rows.append((name, f"{len(data):,}", f"{len(images):,}", f"{len(groups):,}"))
    notes = [f"- {plain(note)}" for note in splits.notes] or ["- nothing was noted"]
    table = markdown_table(["partition", "rows", "images", "groups"], rows)
    return "\n".join(
        [
            "## Flow of rows (CLAIM 35, TRIPOD+AI 20a, 21)",
            "",
            table,
            "",
            "Left out, cut or shared, with reasons:",
            "",
            *notes,
        ]
    )


def _prevalence(data: VQADataset, split: str) -> str:
    """The commonest references of the scored split, and the levels of its breakdown columns."""
    column = data.text_columns[-1]
    answers = Counter(str(row[column]).strip().lower() for row in data.rows)
    rows = [(column, plain(text), f"{n:,}", share(n / len(data), 1)) for text, n in answers.most_common(COMMONEST)]
    for axis in data.breakdown:
        levels = Counter(str(row[axis]) for row in data.rows)
        rows += [(plain(axis), plain(level), f"{n:,}", share(n / len(data), 1)) for level, n in levels.most_common()]
    table = markdown_table(["column", "value", "rows", "share"], rows)
    note = f"Of {len(answers):,} different values of {column}, the {min(COMMONEST, len(answers))} commonest."
    return "\n".join([f"## Prevalence in {split} (CLAIM 36, TRIPOD+AI 20b)", "", note, "", table])


def _performance(run: Run, scores: Mapping, titles: Mapping[str, str]) -> str:
    rows = [
        (title, number(entry), interval(entry), count(entry))
        for name, title in titles.items()
        if (entry := scores["overall"].get(name))
    ]
    seeds = seeds_of(run)
    known = (
        f"One of {len(seeds)} seeds of this recipe: `report.html` has the spread."
        if len(seeds) > 1
        else "One trained model: the intervals leave out what another seed would change, which is not known."
    )
    table = markdown_table(["measure", "value", "95 % interval", "rows (groups)"], rows)
    return "\n".join([f"## Performance on {scores['split']} (CLAIM 37, 38; TRIPOD+AI 23a)", "", table, "", known])


def _warned(scores: Mapping) -> str:
    if not scores["warnings"]:
        return ""
    return "\n".join(
        ["## What the evaluation warns of (CLAIM 40, TRIPOD+AI 26)", "", *(f"- {plain(w)}" for w in scores["warnings"])]
    )
