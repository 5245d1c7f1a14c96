"""A tiny run on statements about two pictures, from training to metrics; killed and gone on with; begun as others."""

import json

import numpy as np
import pytest
import torch
from conftest import TINY
from same_run import assert_same_run, in_two_processes, losses, weights

from blipvqa import ask, describe, evaluate, fine_tune, judge, load_config, load_model, load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import with_overrides
from blipvqa.data.split_names import SourceError
from blipvqa.errors import InputError
from blipvqa.models.folders import ModelError
from blipvqa.pairs.batches import PairsCollator
from blipvqa.pairs.changes import CHANGES, changed, swapped, turned
from blipvqa.pairs.predictions import predict
from blipvqa.runs.run import Run
from blipvqa.sharing import export_int8


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(root, config) of a tiny run on pairs, trained and evaluated. Read only."""
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(folder))
        config = load_config(None, TINY | {"task": "pairs", "train.epochs": 4}, "tiny")
        fine_tune(config)
        evaluate(config, progress=False, resamples=50)
    return folder, config


@pytest.fixture
def run(trained, monkeypatch):
    monkeypatch.setenv("BLIPVQA_ROOT", str(trained[0]))
    return Run(trained[1].folder)


@pytest.fixture
def table(folder):
    """`table(*rows)`: a config of the source with these rows (image, sentence, label), the same for train and test."""

    def make(*rows, **overrides):
        lines = [json.dumps(dict(zip(("image", "sentence", "label"), row, strict=True))) for row in rows]
        for split in ("train", "validation", "test"):
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        return load_config(None, TINY | {"task": "pairs", "data.source": "mine"} | overrides, "table")

    return make


def test_training_learns_and_leaves_what_every_run_leaves(run):
    epochs = [row for row in run.history if row["type"] == "epoch"]
    assert {"loss", "accuracy", "true_accepted", "false_rejected"} <= epochs[-1].keys()
    assert run.finished and run.config.train.metric == "accuracy" and run.config.train.label_smoothing == 0
    assert run.samples[0]["epoch"] == 0 and run.samples[0]["prediction"] in ("true", "false")
    assert json.loads((run.model_folder / "config.json").read_text())["architectures"] == ["BlipForPairs"]
    card = (run.model_folder / "README.md").read_text()
    assert "statements about two pictures" in card and "the first picture alone" in card


def test_a_dozen_statements_are_learnt_by_heart(tiny):
    images = {"train": 2, "validation": 2, "test": 2}
    config = tiny(task="pairs", train__epochs=60, data__synthetic={"images": images, "size": 48})
    history = [row for row in fine_tune(config).history if row["type"] == "epoch"]
    assert history[-1]["train_loss"] < 0.4 < history[1]["train_loss"]


def test_metrics_hold_what_swapped_exchanged_and_dropped_pictures_change(run):
    scores, predictions = run.metrics("test"), run.predictions("test")
    assert scores["overall"]["accuracy"]["n"] == len(predictions) == len(load_splits(run.config)["test"])
    assert scores["overall"]["consistent"]["n"] == len(predictions) and scores["changed"].keys() == CHANGES.keys()
    assert {"order", "topic"} <= scores["by"].keys() and scores["by"]["order"].keys() == {"named", "not named"}
    assert {"needs_pictures", "needs_both", "looks", "baseline", "start", "confidence"} <= scores.keys()
    about = [row for row in predictions if row["order"] == "named"]
    assert about and all(row["topic"] in ("one", "which", "more nuclei") for row in about)
    assert all((row.get("turned") is not None) == (row["order"] == "named") for row in predictions)
    turning = [row for row in about if (row["label"] == "true") != row["label_swapped"]]
    assert scores["overall"]["follows_order"]["n"] == len(turning)


def test_evaluating_again_judges_nothing_again(run, monkeypatch):
    monkeypatch.setattr("blipvqa.pairs.evaluation.predict", lambda *_: pytest.fail("asked again"))
    before = (run.folder / "predictions-test.jsonl").read_bytes()
    evaluate(run.config, progress=False, resamples=50)
    assert (run.folder / "predictions-test.jsonl").read_bytes() == before


def test_answers_in_another_precision_are_not_those_that_are_stored(run, monkeypatch):
    """They were used again whatever `generate.precision` said, and the scores called them by it."""
    monkeypatch.setattr("blipvqa.pairs.evaluation.predict", lambda *_: pytest.fail("asked anew"))
    with pytest.raises(pytest.fail.Exception, match="asked anew"):
        evaluate(with_overrides(run.config.as_dict(), {"generate.precision": "bf16"}), progress=False, resamples=50)


def test_a_judgement_does_not_depend_on_its_batch_and_swapping_twice_is_nothing(run):
    model, processor = load_model(str(run.model_folder), run.config)
    data = load_splits(run.config)["test"]
    alone = run.config.model_copy(update={"generate": run.config.generate.model_copy(update={"batch_size": 1})})
    asked = {
        "together": predict(model, processor, data, run.config, progress=False),
        "one by one": predict(model, processor, data, alone, progress=False),
        "twice swapped": predict(model, processor, turned(turned(data)), run.config, progress=False),
    }
    probabilities = [[row["probability"] for row in rows] for rows in asked.values()]
    assert probabilities[1] == pytest.approx(probabilities[0], abs=2e-6)
    assert probabilities[2] == pytest.approx(probabilities[0], abs=2e-6)
    other = [row["probability"] for row in predict(model, processor, turned(data), run.config, progress=False)]
    assert max(abs(a - b) for a, b in zip(other, probabilities[0], strict=True)) > 1e-5


def test_changed_pictures_are_those_that_their_name_says(run):
    data = load_splits(run.config)["test"]
    ids = [row["image_ids"] for row in data.rows]
    shown = {name: [row["image_ids"] for row in changed(data, name, 0).rows] for name in CHANGES}
    assert shown["first_dropped"] == [[second, second] for _, second in ids]
    assert shown["second_dropped"] == [[first, first] for first, _ in ids]
    for own, first, second, both in zip(
        ids, shown["first_exchanged"], shown["second_exchanged"], shown["both_exchanged"], strict=True
    ):
        assert first[0] == both[0] != own[0] and first[1] == own[1]
        assert second[0] == own[0] and second[1] == both[1] != own[1]
    assert torch.equal(turned(data)[0]["pixels"][0], data[0]["pixels"][1])
    rows = swapped(data).rows
    assert all(("first" in a["sentence"]) == ("second" in b["sentence"]) for a, b in zip(rows, data.rows, strict=True))


def test_one_s_own_two_pictures_are_judged_as_the_split_s(run, tmp_path):
    model, processor = load_model(str(run.model_folder))
    data = load_splits(run.config)["test"]
    row, pictures = run.predictions("test")[0], data.images(0)
    judgement = judge(model, processor, pictures, row["sentence"])
    assert judgement.probability == pytest.approx(row["probability"], abs=2e-6)
    assert judgement.is_true == (row["prediction"] == "true") and row["prediction"] in str(judgement)
    for place, picture in enumerate(pictures):
        picture.save(tmp_path / f"{place}.png")
    both = [tmp_path / "0.png", np.array(pictures[1])]
    several = judge(model, processor, both, [row["sentence"], "neither picture shows fat"])
    assert [one.statement for one in several] == [row["sentence"], "neither picture shows fat"]
    assert several[0].probability == pytest.approx(judgement.probability, abs=2e-6)
    assert judge(model, processor, both, []) == []


def test_judge_refuses_in_words_what_it_cannot_judge(run, tiny):
    model, processor = load_model(str(run.model_folder))
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    for wrong, found in (([picture], "1 of them"), ([picture] * 3, "3 of them"), (picture, "a ndarray")):
        with pytest.raises(InputError, match=f"judge takes a list of two pictures.*{found}"):
            judge(model, processor, wrong, "both show fat")
    with pytest.raises(InputError, match="judge: the text is empty"):
        judge(model, processor, [picture, picture], " ")
    answerer, other = load_model("scratch", tiny(), texts=["is it dense?", "yes"])
    with pytest.raises(
        ModelError, match="judge needs a model for statements about two pictures, found one for question"
    ):
        judge(answerer, other, [picture, picture], "both show fat")
    for function in (lambda: ask(model, processor, picture, "fat?"), lambda: describe(model, processor, picture)):
        with pytest.raises(ModelError, match="found one for statements about two pictures"):
            function()


@pytest.mark.slow  # a minute; retrieval has it among the fast ones
def test_two_processes_give_the_curve_of_one(root):
    settings = {"task": "pairs", "train.batch_size": 12, "train.questions_per_image": 3, "train.epochs": 1}
    one = fine_tune(load_config(None, TINY | settings, "one"))
    two = in_two_processes(root, TINY | settings)
    assert two.environment["processes"] == 2
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)


def test_a_killed_run_goes_on_bit_for_bit(tiny):
    whole = fine_tune(tiny("whole", task="pairs"))
    assert not fine_tune(tiny("parts", task="pairs", train__max_minutes=1e-9)).finished
    assert_same_run(whole, fine_tune(tiny("parts", task="pairs")))


def test_a_step_does_not_depend_on_how_it_is_cut(tiny):
    runs = [fine_tune(tiny(f"by-{micro}", task="pairs", train__micro_batch_size=micro)) for micro in (None, 6)]
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=1e-4)


@pytest.mark.parametrize("task", ["vqa", "retrieval", "pretrain", "pairs"])
def test_it_begins_as_an_export_of_another_task_or_its_own(tiny, task):
    before = fine_tune(tiny("before", task=task, train__epochs=0, retrieval__queue=24))
    begun = tiny("begun", task="pairs", model__name="outputs/before/model", train__epochs=0, seed=7)
    theirs, ours = weights(before), weights(fine_tune(begun))
    side = next(name for name in ours if name.endswith("crossattention.self1.key.weight"))
    for own in (side, side.replace("self1", "self0")):
        assert torch.equal(ours[own], theirs[own if task == "pairs" else side.replace("self1", "self")])
    model, _ = load_model("outputs/before/model", begun)
    assert torch.equal(model.state_dict()["cls_head.0.weight"], ours["cls_head.0.weight"])  # the run's seed draws it
    if task != "pairs":
        lines = "\n".join(model.start)
        assert "text_encoder" in lines and "from model 'outputs/before/model'" in lines and "cls_head: new: 4" in lines


def test_a_captioner_has_no_text_tower_to_begin_with(tiny):
    fine_tune(tiny("captioner", task="caption", train__epochs=0))
    with pytest.raises(
        ModelError, match="begin as a model for questions, retrieval or pre-training, found one for capt"
    ):
        fine_tune(tiny("begun", task="pairs", model__name="outputs/captioner/model"))


def test_towers_that_are_frozen_stay_and_adapters_are_refused(tiny):
    before = fine_tune(tiny("before", task="retrieval", train__epochs=0, retrieval__queue=24))
    begun = {"task": "pairs", "model__name": "outputs/before/model", "train__epochs": 1}
    theirs, ours = weights(before), weights(fine_tune(tiny("frozen", model__freeze=["vision_model"], **begun)))
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(ours[name], theirs[name])
    with pytest.raises(ConfigError, match=r"model\.lora is not of task: pairs"):
        tiny("adapted", model__lora={"rank": 2}, **begun)


def test_a_model_that_is_put_together_begins_it_the_same_each_time(tiny):
    fine_tune(tiny("towers", task="pretrain", train__epochs=0, retrieval__queue=24))
    towers = dict.fromkeys(("vision", "encoder", "decoder"), "outputs/towers/model")
    config = tiny("begun", task="pairs", model__name=towers)
    one, two = (load_model(config.model.name, config)[0] for _ in range(2))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert any(line.startswith("cls_head: new") for line in one.start)


def test_whole_numbers_judge_about_as_the_run_does(run):
    model, processor = load_model(str(run.model_folder))
    small, _ = load_model(str(export_int8(run)))
    pictures = load_splits(run.config)["test"].images(0)
    exact, rounded = (judge(one, processor, pictures, "both show fat").probability for one in (model, small))
    assert rounded == pytest.approx(exact, abs=0.05)


def test_labels_are_read_as_people_write_them(table):
    pair = ["images/0.png", "images/1.png"]
    rows = [
        (pair, f"statement {i}", label) for i, label in enumerate([True, False, "True", "FALSE", "yes", "no", 1, 0])
    ]
    strings = [row for row in rows if isinstance(row[2], str)]
    assert [row["label"] for row in load_splits(table(*strings))["test"].rows] == ["true", "false", "true", "false"]
    for kind in (bool, int):
        of_kind = [row for row in rows if type(row[2]) is kind]
        assert [row["label"] for row in load_splits(table(*of_kind))["test"].rows] == ["true", "false"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            (["images/0.png", "images/1.png"], "fat", "maybe"),
            "column label: found text .'maybe'., expected true or false",
        ),
        ((["images/0.png", "images/1.png"], "fat", 2), "column label: found .*2.*expected true or false"),
        ((["images/0.png", "images/1.png"], "fat", None), "column label: there is no label"),
        ((["images/0.png", "images/1.png"], "", "true"), "column sentence: the text is empty"),
        ((["images/0.png"], "fat", "true"), "column image: one picture, a row of task: pairs shows two"),
        (("images/0.png", "fat", "true"), "column image: one picture, a row of task: pairs shows two"),
        ((["images/0.png"] * 3, "fat", "true"), "column image: a list of 3 pictures, a row of task: pairs shows two"),
        ((["images/0.png", "images/no.png"], "fat", "true"), r"images/no\.png"),
    ],
)
def test_a_wrong_row_is_named_before_anything_slow(table, row, problem):
    config = table((["images/0.png", "images/1.png"], "fat", "true"), row)
    with pytest.raises((SourceError, ValueError), match=problem) as error:
        fine_tune(config)
    assert "/1" in str(error.value) and not (config.folder / "history.jsonl").exists()


def test_columns_of_other_tasks_and_pictures_of_other_kinds_are_refused(folder, tiny):
    (folder / "train.jsonl").write_text(json.dumps({"image": ["a", "b"], "statement": "fat", "answer": True}) + "\n")
    with pytest.raises(SourceError, match=r"no column sentence, label.*statement.*looks like `sentence`.*answer"):
        load_splits(tiny(task="pairs", data__source="mine"))
    with pytest.raises(SourceError, match="pictures: series is not drawn for task: pairs, expected pairs"):
        load_splits(tiny(task="pairs", data__synthetic={**TINY["data.synthetic"], "pictures": "series"}))
    with pytest.raises(ConfigError, match=r"train\.metric"):
        fine_tune(tiny(task="pairs", train__metric="exact_match"))


def test_the_collator_gives_two_pictures_a_row_and_cuts_long_statements(run):
    _, processor = load_model(str(run.model_folder))
    settings = run.config.pairs.model_copy(update={"max_words": 3})
    rows = [
        {
            "sentence": text,
            "label": label,
            "image_id": ids,
            "image_ids": ids.split(),
            "pixels": [torch.zeros(3, 8, 8)] * 2,
        }
        for text, label, ids in (("Both show fat.", "true", "a b"), ("neither picture shows fat", "false", "b a"))
    ]
    batch = PairsCollator(processor, settings)(rows)
    assert batch["image_index"].tolist() == [[0, 1], [1, 0]] and len(batch["pixel_values"]) == 2
    assert batch["labels"].tolist() == [1, 0] and PairsCollator(processor, settings).count_cut(rows) == {"sentence": 1}
    assert processor.tokenizer.decode(batch["input_ids"][1]) == "[ENC] neither picture shows [SEP]"
