"""Heat maps, corruptions and near-duplicates: shapes, determinism, and that they tell what they claim to."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from blipvqa import Run, load_model, load_splits
from blipvqa.data.corruptions import CORRUPTIONS, corrupt
from blipvqa.data.duplicates import MOST_BITS, duplicate_notes, near_duplicates, perceptual_hash
from blipvqa.data.images import open_picture, resize_image
from blipvqa.pages.maps import spread_over
from blipvqa.runs.run import RunError
from blipvqa.runs.seals import read_sealed
from blipvqa.vqa.explanations import METHODS, explain, peak, pointing_game, pointing_rows, with_random_decoder
from blipvqa.vqa.stress import stress
from blipvqa.vqa.titles import CONTROLS


@pytest.fixture
def parts(done):
    model, processor = load_model(str(done.folder / "model"), done)
    return model, processor, load_splits(done)["test"]


@pytest.mark.parametrize("method", METHODS)
def test_a_map_covers_the_picture_and_leaves_the_model_alone(parts, done, method):
    model, processor, data = parts
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    explanation = explain(model, processor, data.pixels(0), data.rows[0]["question"], method=method)
    assert explanation.map.shape == (4, 4)
    assert explanation.map.min() >= 0
    assert explanation.map.max() == pytest.approx(1.0)
    assert explanation.answer == Run(done.folder).predictions("test")[0]["prediction"]
    assert spread_over(explanation.map, 40, 30).shape == (30, 40)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="method"):
        explain(model, processor, data.pixels(0), "is there fat?", method="guess")


def test_a_gradient_map_is_of_one_answer(parts):
    model, processor, data = parts
    one = explain(model, processor, data.pixels(0), "is there a gland?", "yes").map
    other = explain(model, processor, data.pixels(0), "is there a gland?", "no").map
    assert not torch.equal(one, other)
    again = explain(model, processor, data.pixels(0), "is there a gland?", "yes").map
    torch.testing.assert_close(one, again)


def test_the_peak_is_the_middle_of_the_highest_patch():
    patches = torch.zeros(4, 8)
    patches[1, 6] = 1
    assert peak(patches) == (6.5 / 8, 1.5 / 4)


def test_pointing_rows_have_one_small_box(parts):
    _, _, data = parts
    rows = [data.rows[i] for i in pointing_rows(data)]
    assert rows
    for row in rows:
        left, top, right, bottom = row["box"]
        assert (right - left) * (bottom - top) <= 0.3
        assert row["question"].startswith("where") or row["answer"] == "yes"


def test_the_pointing_game_counts_peaks_inside(parts, monkeypatch):
    model, processor, data = parts
    rows = pointing_rows(data)
    monkeypatch.setattr("blipvqa.vqa.explanations.peak", lambda patches: (0.0, 0.0))
    missed = pointing_game(model, processor, data, rows)
    assert missed["n"] == len(rows)
    assert missed["rate"] == sum(data.rows[i]["box"][0] == 0 and data.rows[i]["box"][1] == 0 for i in rows) / len(rows)
    assert 0 < missed["chance"] < 0.3
    nothing = pointing_game(model, processor, data, [])
    assert nothing["rate"] is None and all(nothing[name]["value"] is None for name in CONTROLS)


def test_controls_of_the_pointing_game_are_the_same_boxes_under_other_peaks(parts, monkeypatch):
    """Each peak lies where the box of the explained row lies: its own is always hit, and the controls are where they fit."""
    model, processor, data = parts
    rows = pointing_rows(data)
    box_of = {(row["image_id"], row["question"]): row.get("box") for row in data.rows}
    asked = []

    def explained(of, _processor, pixels, question, answer, method, _history):
        asked.append((of is model, question))
        image = next(row["image_id"] for i, row in enumerate(data.rows) if torch.equal(data.pixels(i), pixels))
        box = box_of[image, question] if of is model else None
        return SimpleNamespace(map=(0.0, 0.0) if not box else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))

    monkeypatch.setattr("blipvqa.vqa.explanations.explain", explained)
    monkeypatch.setattr("blipvqa.vqa.explanations.peak", lambda centre: centre)
    game = pointing_game(model, processor, data, rows)
    assert game["rate"] == 1 and game["low"] < 1 and game["n"] == len(rows)
    for name in CONTROLS:
        assert game[name]["value"] < 1 and game[name]["low"] <= game[name]["value"] <= game[name]["high"]
    assert game["another_question"]["n"] <= len(rows) == game["another_row"]["n"] == game["random_decoder"]["n"]
    one_picture = [i for i in rows if data.rows[i]["image_id"] == data.rows[rows[0]]["image_id"]]
    assert pointing_game(model, processor, data, one_picture)["another_row"]["value"] is None


def test_a_random_decoder_is_another_one_and_the_model_stays(parts):
    model, *_ = parts
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    other = with_random_decoder(model)
    changed = {name for name, tensor in other.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("text_decoder") for name in changed)
    torch.testing.assert_close(other.state_dict(), with_random_decoder(model).state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_evaluate_keeps_the_pointing_game(done):
    game = Run(done.folder).metrics("test")["pointing"]
    assert game["n"] > 0 and set(game) >= {"rate", "low", "high", "chance", *CONTROLS}


@pytest.mark.slow
def test_explanations_of_a_trained_model_point_at_what_was_asked(root):
    """The demo, smaller: peaks in the box at least twice as often as chance and more often than before training."""
    from conftest import TINY

    from blipvqa import fine_tune, load_config

    config = load_config(
        None,
        TINY
        | {
            "data.synthetic": {"images": {"train": 900, "validation": 30, "test": 60}, "size": 96},
            "model.image_size": 64,
            "model.scratch": {"hidden_size": 128, "layers": 3, "heads": 4, "patch_size": 8},
            "train.epochs": 16,
            "train.batch_size": 42,
            "train.learning_rate": 4e-4,
        },
        "pointing",
    )
    run = fine_tune(config)
    data = load_splits(config)["test"]
    rows = pointing_rows(data)
    trained = pointing_game(*load_model(str(run.model_folder), config), data, rows)
    untrained = pointing_game(*load_model("scratch", config), data, rows)
    assert trained["rate"] >= 2 * trained["chance"]
    assert trained["rate"] >= untrained["rate"] + 0.2


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corruptions_grow_with_strength_and_repeat(parts, kind):
    _, _, data = parts
    pixels = data.pixels(0)
    changed = [corrupt(pixels, "a", kind, strength) for strength in (1, 3, 5)]
    distance = [float((c.float() - pixels.float()).abs().mean()) for c in changed]
    assert 0 < distance[0] < distance[2]
    assert all(c.dtype == torch.uint8 and c.shape == pixels.shape for c in changed)
    torch.testing.assert_close(corrupt(pixels, "a", kind, 3), changed[1])


def test_the_stress_test_is_stored_and_the_clean_score_is_the_run_s(done):
    scores = stress(done, ["noise", "JPEG"], (5,), progress=False)
    run = Run(done.folder)
    assert scores == read_sealed(run.folder / "stress-test.json")
    assert scores["clean"]["value"] == run.metrics("test")["overall"]["exact_match"]["value"]
    assert set(scores["scores"]) == {"noise", "JPEG"}
    few = stress(done, ["noise"], (1,), questions=10, progress=False)
    assert 10 <= few["n"] < scores["n"]
    with pytest.raises(ValueError, match="corruptions: snow"):
        stress(done, ["snow"])


def test_a_stress_test_without_a_model_says_what_to_run(tiny):
    with pytest.raises(RunError, match="02_finetune"):
        stress(tiny("nothing"))


def test_a_picture_saved_anew_is_found_and_others_are_not(tiny, root):
    splits = load_splits(tiny())
    assert near_duplicates(splits) == []
    image = splits["train"].image(0)
    buffer = io.BytesIO()
    image.resize((36, 36)).save(buffer, "JPEG", quality=60)
    again = resize_image(open_picture(buffer.getvalue(), "x"), 32)
    bits = np.bitwise_count(perceptual_hash(again) ^ perceptual_hash(splits["train"].pixels(0).numpy())).sum()
    assert bits <= MOST_BITS
    folder = root / "twins"
    folder.mkdir()
    image.save(folder / "a.png")
    (folder / "b.jpg").write_bytes(buffer.getvalue())
    Image.effect_noise((48, 48), 80).save(folder / "c.png")
    line = '{{"image": "{}", "question": "is there fat?", "answer": "no"}}\n'
    (folder / "train.jsonl").write_text(line.format("a.png") + line.format("c.png"))
    (folder / "test.jsonl").write_text(line.format("b.jpg"))
    (folder / "validation.jsonl").write_text(line.format("c.png"))
    look_alikes = near_duplicates(load_splits(tiny(data__source="twins")))
    assert [(pair["splits"], pair["rows"]) for pair in look_alikes] == [(("train", "test"), (0, 0))]
    assert "1 test image looks like another image of train" in duplicate_notes(look_alikes)[0]
