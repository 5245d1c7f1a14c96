"""A clone by itself goes the whole way with real pictures: the sample loads as published, trains, and is evaluated."""

import hashlib
import json

import pytest
from conftest import TINY, VQA_RAD_SAMPLE
from PIL import Image

from blipvqa import evaluate, fine_tune, load_config, load_splits


@pytest.fixture
def sample_config(root):
    overrides = {"data.source": str(VQA_RAD_SAMPLE), "data.breakdown": ["organ"], "train.epochs": 1}
    return load_config(None, TINY | overrides, "vqa-rad-sample")


def test_the_sample_holds_whole_pictures_with_all_their_questions(sample_config):
    splits = load_splits(sample_config)
    rows = {
        split: [
            json.loads(line) for line in (VQA_RAD_SAMPLE / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for split in ("train", "test")
    }
    assert (len(rows["train"]), len(rows["test"])) == (87, 28)
    assert len(splits["train"]) + len(splits["validation"]) == 87 and len(splits["test"]) == 28
    pictures = {split: {row["image"] for row in rows[split]} for split in rows}
    assert (len(pictures["train"]), len(pictures["test"])) == (9, 3) and not pictures["train"] & pictures["test"]
    assert {"images/" + path.name for path in (VQA_RAD_SAMPLE / "images").iterdir()} == set().union(*pictures.values())
    assert {row["organ"] for row in rows["train"]} == {row["organ"] for row in rows["test"]} == {"HEAD", "CHEST", "ABD"}


def test_the_pictures_are_the_published_files(sample_config):
    """A converted line end or a picture saved anew would change the digest, which is a picture's identity here."""
    digest, sizes = hashlib.sha256(), []
    for path in sorted((VQA_RAD_SAMPLE / "images").iterdir()):
        digest.update(path.read_bytes())
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert (min(sizes), max(sizes)) == ((256, 256), (1024, 1023))
    assert digest.hexdigest() == "bb96c9ac6536327323adfa7208fcd60ca3a638eb75fcee373cf20c8d72a3744b"


def test_training_and_evaluation_on_real_pictures(sample_config):
    fine_tune(sample_config)
    run = evaluate(sample_config, progress=False, resamples=20)
    scores = run.metrics("test")
    assert scores["overall"]["exact_match"]["n"] == len(run.predictions("test")) == 28
    assert set(scores["by"]["organ"]) == {"HEAD", "CHEST", "ABD"}
