"""Several right answers are known to training, numbers, baselines, ceiling, pages and sheets; one answer as before."""

import json

import pytest
import torch
from conftest import TINY
from PIL import Image

from blipvqa import Run, load_config
from blipvqa.models.loading import load_model
from blipvqa.tasks import fine_tune
from blipvqa.vqa.answers import actual_answer, answered_right, nearest_answer
from blipvqa.vqa.baselines import blind_predictions
from blipvqa.vqa.batches import VQACollator, weighed_answers
from blipvqa.vqa.measures import agreement
from blipvqa.vqa.published import published
from blipvqa.vqa.review import write_review
from blipvqa.vqa.scores import ceiling, score


def prediction(number, answer, predicted, answers=None, image="p", question="what?"):
    row = {"id": f"test/{number}", "image_id": image, "question": question, "answer": answer, "prediction": predicted}
    return row | ({"answers": answers} if answers else {})


def test_any_of_the_right_answers_is_right():
    row = prediction(0, "heart", "The heart!", ["heart", "the heart"])
    assert answered_right(row) and not answered_right(row | {"prediction": "lung"})
    assert actual_answer(row) == "heart / the heart"
    assert nearest_answer(row) == "the heart"
    numbers = score([row, prediction(1, "lung", "liver", image="q")])["overall"]
    assert numbers["exact_match"]["value"] == 0.5
    assert numbers["open_token_f1"]["value"] == 0.5
    assert published([row])["medevalkit_open"]["value"] == 0  # its rule: equal in lower case, "!" included
    assert published([row | {"prediction": "the heart"}])["medevalkit_open"]["value"] == 1


def test_vqa_v2_s_accuracy_leaves_one_person_out():
    said = ["yes"] * 2 + ["no"] * 8
    assert agreement(said, "yes") == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)  # worked by hand
    assert agreement(said, "no") == pytest.approx(1)
    assert agreement(said, "maybe") == 0
    assert agreement(["a"] * 3 + ["b"] * 7, "a") == pytest.approx(0.9)
    numbers = score([prediction(0, "no", "yes", said), prediction(1, "x", "x", image="q")])["overall"]
    assert numbers["vqa_v2_accuracy"]["value"] == pytest.approx(0.6) and numbers["vqa_v2_accuracy"]["n"] == 1
    assert "vqa_v2_accuracy" not in score([prediction(0, "no", "yes", ["no", "yes"])])["overall"]


def test_the_ceiling_takes_the_answer_that_most_rows_accept():
    rows = [prediction(0, "a", "", ["a", "c"]), prediction(1, "b", "", ["b", "c"]), prediction(2, "b", "")]
    assert ceiling(rows)["exact_match"]["value"] == pytest.approx(2 / 3)
    assert ceiling(rows[:2])["exact_match"]["value"] == 1


def test_baselines_learn_from_every_right_answer():
    train = [prediction(i, first, "", [first, "common"], question="what?") for i, first in enumerate("abc")]
    answered = blind_predictions(train, [prediction(9, "x", "", question="what?")])
    assert {rows[0]["prediction"] for rows in answered.values()} == {"common"}


def test_a_sheet_shows_every_right_answer(tmp_path):
    path = write_review([prediction(0, "heart", "lung", ["heart", "cor"])], tmp_path)
    assert "heart / cor" in path.read_text(encoding="utf-8-sig")


def test_weights_are_shares_as_the_authors():
    items = [{"answer": "a", "answers": ["a", "b", "a", "a"]}, {"answer": "c"}]
    assert weighed_answers(items) == (["a", "b", "c"], [0, 0, 1], [0.75, 0.25, 1.0])


def test_a_weighed_loss_is_the_weighted_sum_of_each_answer_s(done):
    model, processor = load_model(str(done.folder / "model"), done)
    pixels = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    item = {"image_id": "p", "question": "is there a gland?", "pixels": pixels}
    answers = ["yes", "pink", "yes"]
    model.eval()
    weigh = VQACollator(processor, weigh=True)
    batch = weigh([item | {"answer": "yes", "answers": answers}, item | {"answer": "pink"}])
    assert len(batch["input_ids"]) == 2 and len(batch["labels"]) == 3
    single = [model(**VQACollator(processor)([item | {"answer": a}])).loss_per_answer[0] for a in ("yes", "pink")]
    expected = torch.stack([2 / 3 * single[0] + 1 / 3 * single[1], single[1]])
    torch.testing.assert_close(model(**batch).loss_per_answer, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("answers", ["draw", "weigh"])
def test_a_run_with_several_answers_is_trained(root, answers):
    folder = root / "mine"
    folder.mkdir()
    lines = []
    for i in range(12):
        Image.new("RGB", (32, 32), (20 * i, 0, 0)).save(folder / f"{i}.png")
        lines.append({"image": f"{i}.png", "question": "what is it?", "answers": ["red", "dark red", "red"]})
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = TINY | {"data.source": "mine", "train.answers": answers, "train.epochs": 2, "train.batch_size": 4}
    run = fine_tune(load_config(None, settings, answers))
    assert Run(run.folder).finished
    assert Run(run.folder).history[-1]["loss"] > 0


def test_weighing_wants_the_authors_loss():
    with pytest.raises(ValueError, match=r"set train.loss: answer_sum"):
        load_config(None, TINY | {"train.answers": "weigh", "train.loss": "token_mean"})
