"""Runs as one: `ensemble` asks all of them each question, `soup` makes one model of the mean of their weights.

Notable:
- Both are of runs on the same rows, with one vocabulary: else one of them was trained on what another is judged by.
- The best single run, with which an ensemble is compared and a greedy soup begins, is chosen on all of validation, not
  on the `train.evaluate_questions` of it that chose an epoch.
- A soup (Wortsman et al. 2022) costs what one model costs. It is worth something where the runs began with the same
  weights: the mean of two networks that were drawn anew is neither of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.plain_yaml import write_yaml
from blipvqa.config.reading import with_overrides
from blipvqa.data.dataset import Splits
from blipvqa.data.images import DECODER
from blipvqa.models.ensemble import AnsweringTogether
from blipvqa.models.loading import load_model, load_processor, save_model
from blipvqa.models.weights import weights_digest
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.comparison import compare_counts
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.runs.files import replacing_folder, write_json
from blipvqa.runs.identity import read_rows, write_rows
from blipvqa.runs.lock import lock
from blipvqa.runs.run import Run, RunError, named_run, run_config
from blipvqa.runs.seals import write_sealed, write_sealed_text
from blipvqa.tasks import task_of
from blipvqa.text import normalize
from blipvqa.training.accelerator import make_accelerator
from blipvqa.training.settings import check_choice
from blipvqa.training.starts import learnt_before
from blipvqa.training.stored import content_digest, stored
from blipvqa.training.trained import Trained, trained_run
from blipvqa.vqa.answers import answered_right
from blipvqa.vqa.confidence import fit_temperature, score_confidence, with_confidence
from blipvqa.vqa.measures import MEASURES, counts
from blipvqa.vqa.predictions import candidate_texts, load_candidates, predict
from blipvqa.vqa.scoring_others import made_by, refuse_other_predictions, write_predictions_of
from blipvqa.vqa.stored_answers import StoredAnswers

# ------------------------------------------------------------------------------------------------ answering together


def ensemble(
    names: Sequence[str], name: str, split: str | None = None, *, resamples: int = 1000, progress: bool = True
) -> Run:
    """The runs `names` of questions answer `split` together, as the run `name`, with scores and page.

    `ensemble` in its metrics compares them with the best single run, in pairs, and says how well their disagreement
    tells right from wrong. Raises ConfigError or RunError for runs that cannot answer together.
    """
    with _members(names, split, "vqa") as members:
        splits, split = members[0].splits, members[0].split
        config = with_overrides(members[0].run.config.as_dict(), {"name": name, "fresh": False})
        runs = ", ".join(member.run.name for member in members)
        maker = f"the runs {runs}"
        config = made_by(config, maker)
        refuse_other_predictions(config)
        own = [_answers_of(member, split, progress) for member in members]
        validation = (
            [_answers_of(member, "validation", progress) for member in members] if split != "validation" else own
        )
        best = max(range(len(members)), key=lambda i: sum(map(answered_right, validation[i])))
        together = _together(config, members, split, progress)
        calibration = None
        if split != "validation":
            calibration = fit_temperature(_together(config, members, "validation", progress))
        predictions = with_confidence(together, 0.0, calibration)

        def further(bootstrap: Bootstrap) -> dict:
            confidence = score_confidence(together, calibration=calibration, bootstrap=bootstrap)
            return {"confidence": confidence, "ensemble": _compared(members, own, best, predictions, bootstrap)}

        said = (
            f"These are answers of {len(members)} runs together ({runs}): {len(members)} times the time and memory of "
            "one. They were trained on this data."
        )
        learnt = [line for member in members for line in learnt_before(member.run.config, splits, split)]
        learnt = list(dict.fromkeys(learnt))
        return write_predictions_of(config, splits, split, predictions, said, resamples, further, learnt)


def _answers_of(member: Trained, split: str, progress: bool) -> list[dict]:
    return StoredAnswers(member.run.config, member.run, member.splits, progress).answers(split)


def _together(config: Config, members: Sequence[Trained], split: str, progress: bool) -> list[dict]:
    """What the members answer together, kept in the folder of `config`."""
    splits = members[0].splits
    made_of = {
        "weights": [weights_digest(member.run.model_folder) for member in members],
        "generate": config.generate.model_dump(mode="json"),
        "candidates": content_digest(candidate_texts(config, splits)),
        "pictures": DECODER,
        "rows": content_digest(list(splits[split].rows)),
    }

    def ask() -> list[dict]:
        loaded = [load_model(str(member.run.model_folder), member.run.config) for member in members]
        models, processor = AnsweringTogether([model for model, _ in loaded]), loaded[0][1]
        return predict(models, processor, splits[split], config, load_candidates(config, splits, processor), progress)

    return stored(config.folder / "answers", split, made_of, ask)


def _compared(
    members: Sequence[Trained], own: Sequence[list[dict]], best: int, together: list[dict], bootstrap: Bootstrap
) -> dict:
    """The answers together beside the best single run's, and what disagreement says of right and wrong."""
    groups = bootstrap.groups_of(together)
    (compared,) = compare_counts(
        counts(own[best]),
        counts(together),
        groups,
        [np.arange(len(together))],
        MEASURES,
        ["exact_match"],
        bootstrap,
    )
    others = list(zip(*own, strict=True))  # [row][member]
    agree = [
        sum(normalize(other["prediction"]) == normalize(row["prediction"]) for other in of_row) / len(members)
        for row, of_row in zip(together, others, strict=True)
    ]
    right = [answered_right(row) for row in together]
    certain = [row["confidence"] for row in together]
    return {
        "runs": [member.run.name for member in members],
        "best_single": members[best].run.name,  # on validation
        "exact_match": compared["exact_match"],
        "agreement_auroc": estimate_auroc(agree, right, groups, bootstrap),
        "confidence_auroc": None if None in certain else estimate_auroc(certain, right, groups, bootstrap),
    }


# ------------------------------------------------------------------------------------------------ soup


def soup(names: Sequence[str], name: str, *, greedy: bool = False) -> Run:
    """A run `name` whose model is the mean of the weights of the runs `names`; evaluate it like any other.

    `greedy` begins with the best run on validation and adds each next one, from best to worst, only where that makes
    the mean no worse there (by train.metric). Works for every task. Raises as `ensemble`.
    """
    run, asked = named_run(name), {"runs": sorted(names), "greedy": greedy}
    with _members(names, None) as members:
        # What one member's seed left out of validation chose another's epoch: of a soup nothing is set aside.
        config = with_overrides(members[0].run.config.as_dict(), {"train.evaluate_questions": None})
        splits = members[0].splits
        if run.exists and run.state.get("asked") != asked:
            raise RunError(f"'{name}' is another run, or a soup of other runs: give the soup another name")
        models = [load_model(str(member.run.model_folder), member.run.config) for member in members]
        weights = [model.state_dict() for model, _ in models]
        _check_shapes(names, [_shape(model) for model, _ in models])
        model, processor = load_model(str(members[0].run.model_folder), config)
        chosen, tried = list(range(len(members))), []
        if greedy:
            chosen, tried = _greedy(config, splits, model, processor, weights)
        model.load_state_dict(_mean([weights[i] for i in chosen]))
        _write_soup(run, config, [members[i].run for i in chosen], model, processor, {"asked": asked, "tried": tried})
    return run


def _check_shapes(names: Sequence[str], shapes: Sequence[Mapping[str, object]]) -> None:
    """A smaller model's weights with some of a larger one's would be a model of neither."""
    for name, own in zip(names, shapes, strict=True):
        if other := sorted(key for key in own.keys() | shapes[0].keys() if own.get(key) != shapes[0].get(key)):
            raise ConfigError(
                f"runs '{names[0]}' and '{name}' are models of other sizes, as {other[0]} shows: their weights have "
                "no mean. Ask them together instead: ensemble"
            )


def _shape(model: nn.Module) -> dict[str, object]:
    """The shape of each weight, and what tells how weights of one shape are used."""
    shape: dict[str, object] = {key: tuple(weight.shape) for key, weight in model.state_dict().items()}
    for tower in ("vision_config", "text_config"):
        section = getattr(model.config, tower)
        shape |= {f"{tower}.{key}": getattr(section, key) for key in ("num_attention_heads", "hidden_act")}
    return shape


def _greedy(
    config: Config, splits: Splits, model: nn.Module, processor, weights: Sequence[dict[str, Tensor]]
) -> tuple[list[int], list[dict]]:
    """Which weights are in the mean, and what was tried: members and their value on validation."""
    check_choice(config, task_of(config))
    validate = task_of(config).validate(config, splits, processor, make_accelerator(config))
    metric = config.train.metric
    sign = -1 if metric == "loss" else 1
    tried: list[dict] = []

    def value(members: list[int]) -> float:
        model.load_state_dict(_mean([weights[i] for i in members]))
        found = validate(model)[0].get(metric)
        if found is None:
            raise ConfigError(f"train.metric: '{metric}' counts no row of validation, so it can choose no member")
        tried.append({"members": members, metric: found})
        return sign * found

    alone = {i: value([i]) for i in range(len(weights))}
    first, *rest = sorted(alone, key=lambda i: -alone[i])
    chosen, best = [first], alone[first]
    for i in rest:
        if (now := value([*chosen, i])) >= best:
            chosen, best = [*chosen, i], now
    return chosen, tried


def _mean(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each weight; what counts (whole numbers) is that of the first."""
    return {
        key: torch.stack([each[key] for each in weights]).mean(0) if first.is_floating_point() else first
        for key, first in weights[0].items()
    }


def _write_soup(run: Run, config: Config, members: Sequence[Run], model: nn.Module, processor, how: dict) -> None:
    """A run folder that `evaluate` and all that follows take: its "weights before training" are its first member's."""
    own = {"name": run.name, "fresh": False, "model.name": f"outputs/{members[0].name}/model"}
    names = [member.name for member in members]
    with lock(run.folder):
        write_sealed_text(run.folder / "config.yaml", write_yaml(with_overrides(config.as_dict(), own).as_dict()))
        write_rows(run.folder, read_rows(members[0].folder))
        said = f"The mean of the weights of {', '.join(names)}."
        write_json(run.folder / "environment.json", members[0].environment | {"notes": [said]})
        with replacing_folder(run.model_folder) as beside:
            save_model(model, processor, beside)
        digest = weights_digest(run.model_folder)
        state = {"finished": True, "why": "soup", "epoch": 0, "step": 0, "steps": 0, "best": None, "weights": digest}
        write_sealed(run.folder / "state.json", state | {"soup": names} | how)
        task_of(config).write_card(run)


# ------------------------------------------------------------------------------------------------ which runs fit


@contextmanager
def _members(names: Sequence[str], split: str | None, task: str | None = None) -> Iterator[list[Trained]]:
    """The runs, held by their locks, of one task, one vocabulary, one picture size and the same rows."""
    names = list(names)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"runs: two different ones or more are needed, found {', '.join(names) or 'none'}")
    configs = [run_config(name) for name in names]
    first = configs[0]
    if task and first.task != task:
        raise ConfigError(
            f"run '{names[0]}' is of task {first.task}: only runs of questions (task: vqa) answer together"
        )
    for config in configs[1:]:
        for key, mine, others in (
            ("task", config.task, first.task),
            ("model.image_size", config.model.image_size, first.model.image_size),
            ("generate", config.generate, first.generate),
            ("the lengths that are read", config.token_limits, first.token_limits),
            ("caption.prompt", config.caption.prompt, first.caption.prompt),
        ):
            if mine != others:
                raise ConfigError(f"runs '{names[0]}' and '{config.name}' differ in {key}: they cannot be one")
    with ExitStack() as stack:
        members = [stack.enter_context(trained_run(config, split, task=first.task)) for config in configs]
        rows = read_rows(members[0].run.folder)
        vocabulary = load_processor(str(members[0].run.model_folder)).tokenizer.get_vocab()
        for member in members[1:]:
            if read_rows(member.run.folder) != rows:
                raise RunError(
                    f"runs '{names[0]}' and '{member.run.name}' were made of other rows: what one of them was trained "
                    "on would judge the other. Give the source a validation split of its own, or one seed to both"
                )
            if load_processor(str(member.run.model_folder)).tokenizer.get_vocab() != vocabulary:
                raise RunError(f"runs '{names[0]}' and '{member.run.name}' have other vocabularies")
        yield members
