"""`bootstrap`: fine-tune a captioner and a filter, write and filter, pre-train anew; as many rounds as are asked for.

Notable:
- Started again after whatever stopped it, it goes on there: every stage and every part of a stage leaves what it made.
- A picture or patient that the clean pairs hold out is left out of what is pre-trained on, written and filtered: it
  would be in training and test. Pictures that only look like a held-out one are warned of: they stay.
- What is measured (`scores`) is computed from the stored texts of the last round.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from blipvqa.bootstrapping.candidates import Candidate, candidates
from blipvqa.bootstrapping.folder import card_of, write_folder
from blipvqa.bootstrapping.judging import Judges
from blipvqa.bootstrapping.members import Member
from blipvqa.bootstrapping.scores import score
from blipvqa.bootstrapping.stages import Round, clean_config, plan, run_stage
from blipvqa.bootstrapping.thresholds import check_wish, keeps_more, threshold_of
from blipvqa.bootstrapping.truth import knows_truth, mark_truth
from blipvqa.captions.terms import load_terms
from blipvqa.captions.validation import is_countable
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path
from blipvqa.data.checking import NO_TEST
from blipvqa.data.dataset import Splits, VQADataset, load_splits
from blipvqa.data.duplicates import look_alike_line, near_duplicates
from blipvqa.data.held_out import held_out_names, left_out_line, rows_apart
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.plural import how_many
from blipvqa.runs.files import damaged, read_lines, sweep, write_lines
from blipvqa.runs.run import Run, RunError
from blipvqa.runs.seals import EDITED, digest_of_file, read_sealed, write_sealed
from blipvqa.training.shares import is_first, join_processes, locked, of_first
from blipvqa.training.starts import learnt_before
from blipvqa.training.trained import epoch_notes, refuse_other_summary, rows_of

SUMMARY = "bootstrap.json"
SOURCE, CLEAN = "data.source", "bootstrap.clean"  # whose rows the summary knows

LOOKS_ALIKE = f"it is learnt, and scores on held-out pairs promise too much. Take it out of {SOURCE}"


@dataclass(frozen=True)
class Bootstrapped:
    """What `outputs/<name>` holds of a bootstrap: the last round's texts, and what was measured of every round."""

    config: Config
    data: Splits  # those in doubt, whose pictures the texts are of
    texts: list[Candidate]
    rounds: list[dict]  # of each round: threshold, scores, the run that was pre-trained anew

    @property
    def notes(self) -> list[str]:
        """What to know of the data in doubt; that it has no split test concerns nobody: nothing is scored on it."""
        return [note for note in self.data.notes if note != NO_TEST]

    @property
    def folder(self) -> Path:
        """The source folder of the last round's kept texts."""
        return project_path(self.rounds[-1]["folder"])

    @property
    def run(self) -> Run:
        """The run that was pre-trained on it."""
        return Run(project_path("outputs") / self.rounds[-1]["run"])


def bootstrap(config: Config, *, resamples: int = 1000, progress: bool = True) -> Bootstrapped:
    """Write and filter captions as `config.bootstrap` says, in `outputs/<name>`, and pre-train anew on what is kept.

    Raises ConfigError or RunError where the settings of a stage are impossible, or clean pairs too few, before anything
    slow; what `fine_tune` raises; and RunError where a stage's inputs changed and `config.fresh` is not set, or where
    the filter keeps nothing.
    """
    join_processes()
    planned = plan(config)
    data, clean = load_splits(config), load_splits(clean_config(config))
    _check_clean(config, planned[0], clean["validation"])
    noisy = _without_held_out(data["train"], clean)
    left_out = len(data["train"]) - len(noisy)
    if left_out:
        planned = plan(config, apart=True)
    with locked(config.folder):
        notes = [left_out_line(left_out, len(data["train"]), "text", CLEAN)] * bool(left_out)
        notes += of_first(lambda: _learnt_notes(planned[0], clean) + _look_alike_notes(noisy, clean))
        for note in notes if is_first() else ():
            print(note)
        of_first(lambda: sweep(config.folder))
        rounds, summary = [], {"config": config.as_dict(), "rows": rows_of({SOURCE: data, CLEAN: clean})}
        for one in planned:
            rounds.append(_round(one, config, noisy, clean, resamples, progress))
            rounds[-1]["scores"]["warnings"] += notes
            of_first(partial(write_sealed, config.folder / SUMMARY, summary | {"rounds": rounds}))
    return load_bootstrapped(config, data, clean)


def load_bootstrapped(config: Config, data: Splits | None = None, clean: Splits | None = None) -> Bootstrapped:
    """What a bootstrap left in `outputs/<name>`, to look at it; `data` is the config's and `clean` are the clean pairs,
    where they were read already.

    Raises RunError where there is nothing yet, or other data than there is now; ConfigError where the settings differ.
    """
    file = config.folder / SUMMARY
    if not file.exists():
        raise RunError(f"'{config.name}' has no bootstrapped captions yet: run notebook 08_bootstrap_captions")
    summary = read_sealed(file, ("config", "rounds"))
    data = data or load_splits(config)
    clean = clean or load_splits(clean_config(config))
    refuse_other_summary(config.name, summary, config, {SOURCE: data, CLEAN: clean})
    texts = _texts_file(config, len(summary["rounds"]))
    if summary["rounds"] and digest_of_file(texts) != summary["rounds"][-1].get("texts", digest_of_file(texts)):
        raise damaged(texts, EDITED)
    return Bootstrapped(config, data, read_lines(texts), summary["rounds"])


def _round(one: Round, config: Config, noisy: VQADataset, clean: Splits, resamples: int, progress: bool) -> dict:
    if one.pretrained:
        run_stage(one.pretrained)
    for stage in dict.fromkeys([*map(_name, one.captioners), *map(_name, one.filters)]):
        run_stage(next(c for c in (*one.captioners, *one.filters) if c.name == stage))
    captioners = [Member(writing, clean) for writing in one.writing]
    filters = [Member(judging, clean) for judging in one.filters]
    judges = Judges(filters, captioners if config.bootstrap.judge == "both" else ())
    answers = config.folder / "answers"
    texts = candidates(noisy, captioners, judges, answers, one.prefix, config.bootstrap.captions, progress)
    threshold = threshold_of(config, judges, clean["validation"], answers, one.prefix)
    for text in texts:
        text["kept"] = text["match"] >= threshold
    if knows_truth(config):
        mark_truth(texts, load_terms(config))
    if not any(text["kept"] for text in texts):
        surest = max(text["match"] for text in texts)
        raise RunError(
            f"'{config.name}': the filter keeps none of {len(texts):,} texts at a threshold of {threshold:.3g}, the "
            f"surest match is {surest:.3g}: {keeps_more(config)}, or train the filter longer."
        )

    def write() -> None:
        card, trained = card_of(config, texts, clean["train"], threshold), Run(one.anew.folder)
        write_folder(project_path(one.folder), texts, noisy, clean, config, card, trained)
        write_lines(_texts_file(config, one.number), texts)

    of_first(write)
    run_stage(one.anew)
    bootstrap = Bootstrap(config.data.group, resamples, config.seed)
    longer = judges.longer_than_read([text["caption"] for text in texts])
    scores = of_first(lambda: score(texts, load_terms(config), bootstrap, longer))
    stages = [*filter(None, [one.pretrained]), *one.captioners, *one.filters, one.anew]
    for run in {stage.name: Run(stage.folder) for stage in stages}.values():
        scores["warnings"] += [f"{run.name}: {line}" for line in epoch_notes(run)]
    written = digest_of_file(_texts_file(config, one.number))
    return {"threshold": threshold, "folder": one.folder, "run": one.anew.name, "scores": scores, "texts": written}


def _name(config: Config) -> str:
    return config.name


def _texts_file(config: Config, number: int) -> Path:
    return config.folder / f"texts-round{number}.jsonl"


def _check_clean(config: Config, first: Round, validation: VQADataset) -> None:
    """Raises ConfigError or RunError where the clean pairs held out for validation can choose no epoch of a captioner,
    or no threshold: hours later each stage would."""
    check_wish(config, validation)
    for captioner in first.captioners:
        if captioner.task == "caption" and not is_countable(captioner, validation):
            pictures = how_many(len({row["image_id"] for row in validation.rows}), "picture")
            raise ConfigError(
                f"bootstrap.captioner: '{captioner.train.metric}' (train.metric) counts none of the {pictures} that "
                f"{CLEAN} has for validation, so it cannot choose the captioner's best epoch: give more pictures "
                "with captions that differ, or set bootstrap.captioner: {train.metric: loss}"
            )


def _learnt_notes(first: Round, clean: Splits) -> list[str]:
    """A line for each run that `bootstrap.start` comes from, and that had learnt held-out pairs."""
    held_out = [split for split in clean if split != "train"]
    return [f"{CLEAN}, {line}" for split in held_out for line in learnt_before(first.filters[0], clean, split)]


def _look_alike_notes(noisy: VQADataset, clean: Splits) -> list[str]:
    """A line for each held-out split of the clean pairs with pictures that look like a noisy one: `_without_held_out`
    knows equal pixels alone."""
    held_out = {split: data for split, data in clean.items() if split != "train"}
    counts = near_duplicates({SOURCE: noisy, **held_out}).images
    return [
        f"{look_alike_line(count, f'the {split} pairs of {CLEAN}', SOURCE)}: {LOOKS_ALIKE}"
        for (source, split), count in counts.items()
        if source == SOURCE
    ]


def _without_held_out(noisy: VQADataset, clean: Splits) -> VQADataset:
    """Noisy rows of whose pictures and patients no held-out split of the clean pairs has any."""
    rows = rows_apart(noisy, held_out_names([clean]))
    if not rows:
        raise RunError("every picture of `data` is held out by bootstrap.clean: nothing is left to write and filter")
    return noisy.chosen(rows)
