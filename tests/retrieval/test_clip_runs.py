"""Retrieval runs whose rows show films and lists of pictures: trained, evaluated, searched and indexed as clips."""

import json
import shutil

import numpy as np
import pytest
import torch
from film_files import GREYS, tiff
from same_run import in_two_processes
from test_retrieval_training import RETRIEVAL

from blipvqa import evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.retrieval.batches import RetrievalCollator
from blipvqa.retrieval.clips import search_clips
from blipvqa.retrieval.encoding import encoded_rows
from blipvqa.retrieval.index import make_index
from blipvqa.retrieval.search import search
from blipvqa.tasks import write_report

SOURCE = RETRIEVAL | {"data.source": "mine", "data.frames": 4, "train.epochs": 1}
LISTS = [["images/0.png", "images/1.png"], ["images/2.png", "images/3.png", "images/4.png"], ["images/5.png"]]


@pytest.fixture
def clips(folder):
    """A source of two films of twelve pages and one of one page, lists of two, three and one, and pictures."""
    tiff(folder / "up.tif")
    tiff(folder / "down.tif", GREYS[::-1])
    tiff(folder / "one.tif", GREYS[:1])
    shown = ["up.tif", "down.tif", "one.tif", "up.tif", *LISTS, *(f"images/{i}.png" for i in range(6, 12))]
    lines = [json.dumps({"image": one, "caption": f"clip number {i}"}) for i, one in enumerate(shown)]
    for split in ("train", "validation", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return load_config(None, SOURCE, "clips")


def test_a_run_on_clips_ranks_them_as_a_search_of_the_same_clips(clips, folder):
    run = evaluate(fine_tune(clips).config, progress=False, resamples=20)
    predictions, data = run.predictions("test"), load_splits(clips)["test"]
    rows = [0, 1, 2, *range(4, 13)]  # the film of row 0 is row 3's, too: one candidate with two right texts
    assert data.rows[0]["image_id"] == data.rows[3]["image_id"] and predictions[3]["txt"] is None
    assert run.metrics("test")["gallery"] == {"pictures": 12, "texts": 13, "shared": 0, "matched": 128}
    assert write_report(run, load_splits(clips)).stat().st_size > 10_000
    assert [len(data.images(i)) for i in (0, 2, 4, 5, 6, 7)] == [4, 1, 2, 3, 1, 1]

    model, processor = load_model(str(run.model_folder))
    alone = data.chosen(rows)
    images = [alone.images(i) for i in range(len(rows))]
    by_text, by_clip = search_clips(model, processor, images, [row["caption"] for row in alone.rows], clips.retrieval)
    lines = (folder / "test.jsonl").read_text().splitlines()
    (folder / "test.jsonl").write_text("\n".join(lines[row] for row in rows) + "\n")
    own = evaluate(clips, progress=False, resamples=20, start=False, new_data=True)
    for i, row in enumerate(own.predictions("test")):
        for searches, direction in ((by_text, "img"), (by_clip, "txt")):
            scores = [near["score"] for near in row[direction]["nearest"]]
            np.testing.assert_allclose(scores, searches.scores[i, :5], atol=2e-5)
            assert row[direction]["rank"] == searches.ranks["rank"][i]


def test_a_model_of_pictures_is_measured_on_films_without_training(clips, root):
    lines = [json.dumps({"image": f"images/{i}.png", "caption": f"clip number {i}"}) for i in range(12)]
    shutil.copytree(root / "mine" / "images", root / "pictures" / "images")
    for split in ("train", "validation"):
        (root / "pictures" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    pictures = fine_tune(load_config(None, SOURCE | {"data.source": "pictures", "data.frames": None}, "pictures"))
    zero = {"model.name": "outputs/pictures/model", "model.scratch": {}, "train.epochs": 0}
    run = evaluate(fine_tune(load_config(None, SOURCE | zero, "films")).config, progress=False, resamples=20)
    ours, theirs = (load_model(str(one.model_folder))[0].state_dict() for one in (run, pictures))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert run.metrics("test")["start"]["r_mean"] == run.metrics("test")["overall"]["r_mean"]


def test_a_batch_of_clips_of_different_length_trains_each_as_if_it_were_padded_by_nothing(clips):
    """A clip of one frame is a picture; two frames that are the same picture teach what that picture teaches."""
    data = load_splits(clips)["train"]
    model, processor = load_model("scratch", clips, data.texts)
    model.train()
    items = [data[i] for i in range(len(data))]
    collator = RetrievalCollator(processor, clips.retrieval)
    mixed = collator(items)
    assert mixed["image_index"].shape == (13, 4) and (mixed["image_index"] < 0).any()

    def losses(batch):
        model.start_contrast(64, 0.9)
        return model(**batch, seed=3).loss_per_row

    together = losses(mixed)
    wider = torch.nn.functional.pad(mixed["image_index"], (0, 3), value=-1)
    torch.testing.assert_close(losses({**mixed, "image_index": wider, "layout": None}), together)
    pictures = items[7:]
    plain = collator(pictures)
    twice = collator(
        [item | {"image_ids": [item["image_id"]] * 2, "pixels": [item["pixels"]] * 2} for item in pictures]
    )
    torch.testing.assert_close(losses(twice), losses(plain))
    alone = losses(collator(items[:7]) | {"layout": None})
    torch.testing.assert_close(losses(collator(items[:7])), alone)


@pytest.mark.slow
def test_two_processes_train_on_clips_as_one(clips, root):
    settings = SOURCE | {"train.batch_size": 13}
    one, two = fine_tune(load_config(None, settings, "one")), in_two_processes(root, settings)
    for key in ("loss", "loss_itc", "loss_itm", "gradient_norm"):
        a, b = ([row[key] for row in run.history if row["type"] == "step"] for run in (one, two))
        assert a == pytest.approx(b, rel=1e-4)


def test_an_index_holds_clips_and_finds_them_as_the_model_matches_them(clips):
    run = fine_tune(clips)
    index = make_index(run, "test", progress=False)
    data = load_splits(clips)["test"]
    assert len(index.pictures) == 12
    for i in (0, 4, 5):
        pixels = torch.stack([data.pixels(i, place) for place in range(len(data.images(i)))])
        with torch.no_grad():
            projected = index.model.vision_proj(index.model.picture_states(pixels)[:, 0])
        own = torch.nn.functional.normalize(projected.mean(0), dim=0)
        position = [index.rows(k)[0]["image_id"] for k in range(12)].index(data.rows[i]["image_id"])
        torch.testing.assert_close(index.pictures[position], own)
    said = {hit.name: hit.match for hit in search(index, "clip number 5", k=12)}
    predictions = evaluate(run.config, progress=False, resamples=20, start=False).predictions("test")
    of_row = predictions[5]
    name = data.image_path(5)
    assert said[name] == pytest.approx(of_row["match"], abs=1e-5)


def test_pictures_alone_are_searched_as_they_were(clips):
    """The features of a picture are those of a clip of it, bit for bit."""
    data = load_splits(clips)["test"]
    model, _ = load_model("scratch", clips, data.texts)
    states = model.eval().picture_states(torch.stack([data.pixels(i) for i in range(7, 13)]))
    features = encoded_rows(model, data, range(7, 13), 6).features
    assert torch.equal(features, model.picture_features(states).detach())
