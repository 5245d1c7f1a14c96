"""Whether a picture is unlike those of training: a gate that lies beside the weights, written by `evaluate`.

Notable:
- A picture's features are the mean of the vision tower's patches; its distance is Mahalanobis' from train's pictures,
  and the threshold lets 95 % or more of validation's pictures pass. `unlike` is distance over threshold: above 1 is
  foreign.
- Of train only mean and spread are kept, so that no patient's picture can be recognised from a model that travels.
- A gate belongs to its weights: beside others it is ignored, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from blipvqa.config.knobs import Config
from blipvqa.data.dataset import Splits, VQADataset
from blipvqa.data.images import DECODER
from blipvqa.data.several_pictures import pictures_of
from blipvqa.models.devices import pick_device
from blipvqa.models.folders import FOREIGN, ModelError, called
from blipvqa.models.vqa import BlipForVQA
from blipvqa.models.weights import weights_digest
from blipvqa.numbers.bootstrap import Bootstrap, estimate_mean
from blipvqa.numbers.outliers import distances, fit_spread, most_by_chance, usual_rank
from blipvqa.runs.files import remove, replacing
from blipvqa.training.shares import features_of, of_first
from blipvqa.training.stored import ModelsOfRun, content_digest, stored
from blipvqa.vqa.answers import answered_right

PASSES = 0.95  # share of validation's pictures that do
FITTED_ON, CHECKED_ON = 1000, 500  # pictures of train and of validation: more take time and change little
OFTEN = 0.2  # share of foreign pictures in a split from which on it is warned of


@dataclass(frozen=True)
class Gate:
    """Train's pictures as the model sees them: `mean [D]`, `whitening [D,D]`, and the distance that is still usual."""

    mean: np.ndarray
    whitening: np.ndarray
    threshold: float

    def unlike(self, features: np.ndarray) -> np.ndarray:
        """Distance over threshold `[N]` of pictures' features `[N,D]`: above 1 is foreign.

        With more digits the very picture that is the threshold was usual in the report and foreign to `ask`, which
        reads the gate back in single precision.
        """
        return np.round(distances(features, self.mean, self.whitening) / self.threshold, 4)


def fit_gate(train: np.ndarray, validation: np.ndarray) -> Gate:
    """The gate of features `[N,D]` of train's and validation's pictures."""
    mean, whitening = fit_spread(train)
    threshold = np.sort(distances(validation, mean, whitening))[usual_rank(len(validation), PASSES) - 1]
    return Gate(mean, whitening, max(float(threshold), 1e-12))


def store_gate(folder: Path, gate: Gate, model: BlipForVQA) -> None:
    """Write the gate beside the weights in `folder`; a new export of the weights replaces the folder."""
    tensors = {
        "mean": gate.mean.astype(np.float32),
        "whitening": np.ascontiguousarray(gate.whitening, np.float32),
        "threshold": np.array(gate.threshold),
    }
    # One entry alone: safetensors writes several in an order that changes from process to process.
    metadata = {"vision": weights_digest(model.vision_model)}
    with replacing(folder / FOREIGN) as beside:
        save_file(tensors, beside, metadata)


def stored_gate(model: BlipForVQA) -> Gate | None:
    """The gate beside the weights that `load_model` read; None where there is none, or one of other weights, which is
    warned of. Raises ModelError where the file holds something else."""
    folder = getattr(model, "folder", None)
    if folder is None or not (folder / FOREIGN).exists():
        return None
    try:
        with safe_open(folder / FOREIGN, "np") as file:
            metadata, names = file.metadata() or {}, ("mean", "whitening", "threshold")
            mean, whitening, threshold = (file.get_tensor(name) for name in names)
        gate = Gate(mean, whitening, float(threshold))
        size = len(gate.mean)
        whole = gate.mean.shape == (size,) and gate.whitening.shape == (size, size) and gate.threshold > 0
        whole = whole and np.isfinite(gate.mean).all() and np.isfinite(gate.whitening).all()
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        whole = False
    if not whole:
        raise ModelError(
            f"{called(folder)}: {FOREIGN} holds no gate for foreign pictures. Evaluate again, which writes it, or "
            "remove it: pictures are then not compared with train's"
        )
    if metadata.get("vision") != weights_digest(model.vision_model):
        warnings.warn(
            f"{called(folder)}: {FOREIGN} was made for other weights and is ignored: pictures are not compared with "
            "train's until the run is evaluated again",
            stacklevel=2,
        )
        return None
    return gate


def foreign_note(unlike: float | None) -> str:
    """What a person is told of a foreign picture; "" for one that is not, or where nothing is known."""
    if unlike is None or unlike <= 1:
        return ""
    return (
        f"This picture is unlike those of training ({unlike:.1f} times as far as 95 % of validation's pictures are): "
        "trust neither answer nor confidence."
    )


# ----------------------------------------------------------------------------------------------------- of a whole run


def unlike_by_image(config: Config, models: ModelsOfRun, splits: Splits, split: str, folder: Path) -> dict[str, float]:
    """How unlike train each picture of a split is, by image id; the gate is fitted and stored where that is new.

    `folder` is the run's: answers are kept there, and the gate in its model.
    """
    used = {
        "train": splits["train"].row_of_picture(FITTED_ON, config.seed),
        "validation": splits["validation"].row_of_picture(CHECKED_ON, config.seed),
        split: splits[split].row_of_picture(),
    }
    made_of = {
        "weights": models.digest(),
        "pictures": {name: content_digest(list(rows)) for name, rows in used.items()},
        "image_size": config.model.image_size,
        "decoder": DECODER,
    }

    def measure() -> list[dict]:
        model, _ = models.load()
        model.to(pick_device()).eval()
        features = {name: features_of(model, splits[name], list(places.values())) for name, places in used.items()}
        gate = fit_gate(features["train"], features["validation"])
        of_first(lambda: store_gate(folder / "model", gate, model))
        ratios = gate.unlike(features[split]).tolist()
        return [{"image_id": image, "unlike": ratio} for image, ratio in zip(used[split], ratios, strict=True)]

    name = f"{split}-unlike"
    of_first(lambda: _forget_without_gate(folder, name))
    return {row["image_id"]: row["unlike"] for row in stored(folder / "answers", name, made_of, measure)}


def _forget_without_gate(folder: Path, name: str) -> None:
    """What was measured with a gate that is gone is measured again, which brings the gate back."""
    if not (folder / "model" / FOREIGN).exists() and (folder / "answers" / f"{name}.json").exists():
        remove(folder / "answers" / f"{name}.json")


def unlike_rows(model: BlipForVQA, dataset: VQADataset) -> list[float] | None:
    """How unlike train the picture of each row is, of several the most unlike one; None where no gate lies beside the
    model."""
    gate = stored_gate(model)
    if gate is None:
        return None
    first = dataset.row_of_picture()
    ratios = gate.unlike(features_of(model, dataset, list(first.values())))
    unlike = dict(zip(first, ratios.tolist(), strict=True))
    return [unlike_of(row, unlike) for row in dataset.rows]


def unlike_of(row: Mapping, unlike: Mapping[str, float]) -> float:
    """How unlike train the most unlike of a row's pictures is, from `unlike` by picture."""
    return max(unlike[image_id] for image_id in pictures_of(row))


def score_foreign(predictions: Sequence[Mapping], unlike: Mapping[str, float], bootstrap: Bootstrap) -> dict:
    """Of predictions and `unlike` by image id: {"share": of questions on foreign pictures, with interval, "images": how
    many pictures are foreign, "of", "exact_match": {"usual", "foreign"}}."""
    foreign = np.array([unlike_of(p, unlike) > 1 for p in predictions], bool)
    groups = bootstrap.groups_of(predictions)
    right = np.array([answered_right(p) for p in predictions], float)
    rows = {"usual": np.flatnonzero(~foreign), "foreign": np.flatnonzero(foreign)}
    return {
        "share": estimate_mean(foreign.astype(float), groups, bootstrap),
        "images": sum(ratio > 1 for ratio in unlike.values()),
        "of": len(unlike),
        "exact_match": {name: estimate_mean(right, groups, bootstrap, chosen) for name, chosen in rows.items()},
    }


def by_chance(unlike: Mapping[str, float], validation: VQADataset) -> dict[str, int]:
    """{"checked_on": how many pictures of validation chose the threshold, "by_chance": how many of the pictures in
    `unlike` may be foreign though they are of the same kind}."""
    checked_on = len(validation.row_of_picture(CHECKED_ON))
    return {"checked_on": checked_on, "by_chance": most_by_chance(len(unlike), checked_on, PASSES)}


def foreign_warnings(foreign: Mapping, split: str) -> list[str]:
    """A line where many pictures of the split are foreign, and more than a few of validation's may leave to chance."""
    if foreign["images"] <= max(OFTEN * foreign["of"], foreign.get("by_chance", 0)):
        return []
    return [
        f"{foreign['images']:,} of {foreign['of']:,} {split} pictures are unlike those of training (of validation 5 % "
        "or fewer are): they may be of another scanner, stain or kind"
    ]
