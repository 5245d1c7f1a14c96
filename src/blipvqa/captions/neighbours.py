"""The caption of the training picture that looks most alike: what a search reaches, which writes nothing itself.

Notable:
- Pictures are compared as the captioner's own vision tower sees them: the mean of their patches, less train's mean, by
  cosine. A picture is never its own neighbour, though it stands in both splits.
- Of a larger train split COMPARED pictures are drawn: every one is encoded for it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from blipvqa.config.knobs import Config
from blipvqa.data.images import DECODER
from blipvqa.models.devices import pick_device
from blipvqa.numbers.nearest import nearest
from blipvqa.training.shares import features_of
from blipvqa.training.stored import ModelsOfRun, content_digest, stored
from blipvqa.training.trained import Trained

COMPARED = 10_000  # pictures of train


def nearest_captions(config: Config, trained: Trained, models: ModelsOfRun) -> dict[str, str]:
    """By image id of the evaluated split the first caption of train's nearest picture; "" where there is none."""
    train, data = trained.splits["train"], trained.splits[trained.split]
    rows_of_train, rows = train.row_of_picture(COMPARED, config.seed), data.row_of_picture()
    made_of = {
        "weights": models.digest(),
        "train": content_digest(list(rows_of_train)),
        "pictures": content_digest(list(rows)),
        "image_size": config.model.image_size,
        "decoder": DECODER,
    }

    def search() -> list[dict]:
        model, _ = models.load()
        model.to(pick_device()).eval()
        candidates, queries = (
            features_of(model, dataset, list(of_pictures.values()))
            for dataset, of_pictures in ((train, rows_of_train), (data, rows))
        )
        return [
            {"image_id": image_id, "nearest": neighbour}
            for image_id, neighbour in zip(
                rows, nearest_others(list(rows), queries, list(rows_of_train), candidates), strict=True
            )
        ]

    neighbours = stored(trained.run.folder / "answers", f"{trained.split}-nearest", made_of, search)
    captions = {image_id: train.rows[row]["caption"] for image_id, (row, _) in rows_of_train.items()}
    return {row["image_id"]: captions.get(row["nearest"], "") for row in neighbours}


def nearest_others(
    image_ids: list[str], queries: np.ndarray, candidate_ids: list[str], candidates: np.ndarray
) -> list[str | None]:
    """The id of the candidate most like each query, features `[Q,D]` and `[N,D]`, that is not the query itself."""
    mean = candidates.mean(0)
    best = nearest(*(F.normalize(torch.from_numpy(of_all - mean), dim=1) for of_all in (queries, candidates)), k=2)
    return [
        next((candidate_ids[i] for i in of_query if candidate_ids[i] != image_id), None)
        for image_id, of_query in zip(image_ids, best.candidates, strict=True)
    ]
