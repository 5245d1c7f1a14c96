"""Weights between stages: part of the new model's, the rest of the last one's (Wortsman et al. 2022, WiSE-FT).

Notable:
- The part is `continual.mix`, or chosen on the validation rows of all stages so far: that choice needs those rows of
  earlier stages to be at hand, no training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.continual.stages import Stage
from blipvqa.data.dataset import Splits
from blipvqa.data.fingerprint import row_digest
from blipvqa.models.loading import load_model, save_model
from blipvqa.models.weights import weights_digest
from blipvqa.runs.files import read_json, remove, replacing_folder, write_json
from blipvqa.tasks import task_of
from blipvqa.training.accelerator import make_accelerator
from blipvqa.training.stored import content_digest

MIXES = (0.25, 0.5, 0.75, 1.0)  # that are tried; equal ones: the smallest part of new weights


def mix_models(
    config: Config, last: str, new: str, folder: Path, stages: Sequence[Stage], data: Sequence[Splits]
) -> dict:
    """Write the mixed model to `folder`, unless it lies there; returns what was tried, and the part of new weights.

    `stages` with their `data` are those learnt so far, `config` is the last one's training.
    """
    fixed = config.continual.mix
    made_of = {"last": weights_digest(last), "new": weights_digest(new), "mix": fixed}
    if fixed is None:
        made_of["rows"] = content_digest([row_digest(row) for splits in data for row in splits["validation"].rows])
    beside = folder.with_name(f"{folder.name}.json")
    if folder.is_dir() and beside.exists():
        written = read_json(beside, ("made_of", "weights"))
        if written["made_of"] == made_of and written["weights"] == weights_digest(folder):
            return written
    (model, processor), (before, _) = load_model(new, config), load_model(last, config)
    weights = before.state_dict(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tried: dict[str, float] = {}
    if fixed is None:
        values = [_validation(stage.config, splits, processor) for stage, splits in zip(stages, data, strict=True)]
        for part in MIXES:
            model.load_state_dict(mixed(*weights, part))
            tried[str(part)] = sum(value(model) for value in values) / len(values)
    part = fixed if fixed is not None else float(max(tried, key=lambda each: (tried[each], -float(each))))
    model.load_state_dict(mixed(*weights, part))
    remove(beside)
    with replacing_folder(folder) as place:
        save_model(model.cpu(), processor, place)
    result = {"made_of": made_of, "weights": weights_digest(folder), "mix": part, "tried": tried}
    write_json(beside, result)
    return result


def mixed(last: Mapping[str, Tensor], new: Mapping[str, Tensor], part: float) -> dict[str, Tensor]:
    """`part` of the new weights and the rest of the last ones; what counts (whole numbers) is the new model's."""
    return {
        name: last[name].to(tensor.device).lerp(tensor, part) if tensor.is_floating_point() else tensor
        for name, tensor in new.items()
    }


def _validation(config: Config, splits: Splits, processor) -> Callable[[nn.Module], float]:
    """What `train.metric` is on a stage's validation rows; the larger the better."""
    accelerator = make_accelerator(config)
    validate, metric = task_of(config).validate(config, splits, processor, accelerator), config.train.metric

    def value(model: nn.Module) -> float:
        number = validate(model.to(accelerator.device).eval())[0].get(metric)
        if number is None:
            raise ConfigError(
                f"train.metric: '{metric}' counts no row of validation of '{config.name}', so it can choose no "
                "continual.mix: give one"
            )
        return -number if metric == "loss" else number

    return value
