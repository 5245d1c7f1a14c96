"""A question with the conversation before it: what of it the model reads, and who may be asked so."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from blipvqa import answer_all, ask, fine_tune, load_config, load_model, load_splits
from blipvqa.errors import InputError
from blipvqa.runs.files import read_lines
from blipvqa.vqa.batches import VQACollator
from blipvqa.vqa.exchange import partners
from blipvqa.vqa.explanations import explain
from blipvqa.vqa.notes import contradiction_notes
from blipvqa.vqa.scores import score
from blipvqa.vqa.token_limits import question_tokens
from blipvqa.vqa.turns import reads_history

TURNS = [("is there a gland?", "Yes."), ("Where is it?", "upper left"), ("what is beside it?", "fat")]


@pytest.fixture(scope="module")
def talked(tmp_path_factory):
    """(root, config, model, processor) of a tiny run that was trained with conversations."""
    from conftest import TINY

    root = tmp_path_factory.mktemp("talked")
    source = root / "mine"
    source.mkdir()
    for i in range(10):
        noise = np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(source / f"{i}.png")
    rows = [
        {"image": f"{i}.png", "question": question, "answer": answer, "history": TURNS[:turn]}
        for i in range(10)
        for turn, (question, answer) in enumerate(TURNS)
    ]
    for split, chosen in (("train", rows[:18]), ("validation", rows[18:24]), ("test", rows[24:])):
        (source / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        config = load_config(None, TINY | {"data.source": "mine", "train.epochs": 1}, "talked")
        fine_tune(config)
        model, processor = load_model(str(config.folder / "model"), config)
    return root, config, model, processor


def asked(turns=TURNS, question="what colour is it?"):
    history = [{"question": q, "answer": a} for q, a in turns]
    return {"question": question, "history": history, "answer": "brown", "image_id": "a"}


def test_turns_stand_before_the_question_as_far_as_there_is_room_and_the_question_is_never_cut(talked):
    processor = talked[3]
    whole = "is there a gland? yes; where is it? upper left; what is beside it? fat; what colour is it?"
    assert VQACollator(processor, 300).with_history([asked()]) == ([whole], [0])
    parts = [f"{part};" for part in whole.split("; ")[:-1]] + ["what colour is it?"]
    lengths = [len(processor.tokenizer(part, add_special_tokens=False)["input_ids"]) for part in parts]
    for kept in range(4):
        fits = sum(lengths[3 - kept :]) + 2
        for limit in (fits, fits + lengths[2 - kept] - 1 if kept < 3 else fits + 9):
            texts, left_out = VQACollator(processor, limit).with_history([asked()])
            assert (texts, left_out) == ([" ".join(parts[3 - kept :])], [3 - kept])
            assert len(processor.tokenizer(texts[0])["input_ids"]) <= limit
    assert VQACollator(processor, 4).with_history([asked()]) == (["what colour is it?"], [3])


def test_a_row_without_turns_is_read_as_ever_whatever_stands_beside_it(talked):
    collate = VQACollator(talked[3], 60)
    alone = asked(())
    assert collate.with_history([alone, asked()])[0][0] == "what colour is it?"
    assert collate.count_cut([asked(()) | {"history": None}]) == {"question": 0, "answer": 0}
    assert VQACollator(talked[3], 12).count_cut([alone, asked(), asked()])["history"] == 2


def test_an_export_says_that_it_was_trained_with_conversations(talked, tiny):
    root, _, model, _ = talked
    folder = root / "outputs/talked/model"
    content = json.loads((folder / "config.json").read_text())
    assert content["conversations"] is True and content["question_tokens"] == 35 == question_tokens(model)
    assert "history_tokens" not in content and reads_history(model)
    old = shutil.copytree(folder, root / "old")  # as older versions wrote it, one after the other
    del content["conversations"]
    for more, without in (({"history_tokens": 35}, ()), ({"history_tokens": 35}, ("question_tokens",))):
        lines = {key: value for key, value in (content | more).items() if key not in without}
        (old / "config.json").write_text(json.dumps(lines))
        before, _ = load_model(str(old))
        assert reads_history(before) and question_tokens(before) == 35
        assert not hasattr(before.config, "history_tokens")
    environment = json.loads((root / "outputs/talked/environment.json").read_text())
    assert environment["texts_cut"]["train"]["history"] >= 0
    on = tiny("on", model__name=str(root / "outputs/talked/model"), train__epochs=0)  # on questions without turns
    fine_tune(on)
    assert "conversations" not in json.loads((on.folder / "model/config.json").read_text())


def test_ask_reads_the_conversation_as_evaluation_does_and_says_what_had_no_room(talked, monkeypatch):
    root, config, model, processor = talked
    monkeypatch.setenv("BLIPVQA_ROOT", str(root))
    data = load_splits(config)["test"]
    row, picture = data.rows[-1], data.image(len(data) - 1)
    collate = VQACollator(processor, config.data.max_question_tokens)
    read = collate([row | {"pixels": data.pixels(len(data) - 1)}])["input_ids"]
    seen = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda **batch: seen.append(batch["input_ids"]) or encode(**batch))
    answer = ask(model, processor, picture, row["question"], history=row["history"])
    assert seen[0].tolist() == read.tolist()
    assert answer.turns_left_out == collate.with_history([row])[1][0]
    first = ask(model, processor, picture, "is there a gland?")
    many = ask(model, processor, picture, "where is it?", history=[first] * 30)
    assert 0 < many.turns_left_out < 30 and any(f"oldest {many.turns_left_out} turns" in note for note in many.notes)
    assert first.turns_left_out == 0 and not any("turns" in note for note in first.notes)
    for wrong in ("is there a gland? yes", [("a?",)], [("a?", " ")]):
        with pytest.raises(InputError, match="history: "):
            ask(model, processor, picture, "where is it?", history=wrong)


def test_a_model_that_was_trained_without_is_not_asked_with_a_conversation(done, tmp_path):
    model, processor = load_model(str(done.folder / "model"))
    picture = load_splits(done)["test"].image(0)
    with pytest.raises(InputError, match="trained without conversations"):
        ask(model, processor, picture, "where is it?", history=[("is there a gland?", "yes")])
    assert ask(model, processor, picture, "where is it?", history=[]).turns_left_out == 0
    picture.save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "where is it?", "history": [["is there a gland?", "yes"]]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match="trained without conversations"):
        answer_all(done, tmp_path / "own.jsonl", tmp_path / "out.jsonl", progress=False)


def test_a_table_of_questions_may_hold_conversations(talked, monkeypatch, tmp_path, capsys):
    root, config, model, processor = talked
    monkeypatch.setenv("BLIPVQA_ROOT", str(root))
    data = load_splits(config)["test"]
    data.image(0).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "question": "what colour is it?", "history": TURNS * n} for n in (0, 1, 9)]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = read_lines(answer_all(config, tmp_path / "own.jsonl", tmp_path / "out.jsonl", progress=False))
    settings = config.generate
    own = [ask(model, processor, tmp_path / "a.png", row["question"], settings, history=row["history"]) for row in rows]
    assert [row["answer"] for row in told] == [answer.answer for answer in own]
    assert "1 of 3 questions is answered without some oldest turns" in capsys.readouterr().out


def test_a_map_is_of_the_question_with_its_conversation(talked):
    _, _, model, processor = talked
    pixels = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    alone = explain(model, processor, pixels, "where is it?", "left").map
    after = explain(model, processor, pixels, "where is it?", "left", history=asked()["history"]).map
    assert not torch.equal(alone, after)


def test_one_question_after_two_conversations_is_two_questions(talked):
    rows = [
        asked(TURNS[:1]) | {"id": "test/0", "answer": "brown", "prediction": "brown"},
        asked(TURNS[1:2]) | {"id": "test/1", "answer": "black", "prediction": "black"},
    ]
    scores = score(rows)
    assert scores["ceiling"]["exact_match"]["value"] == 1
    same = [{key: value for key, value in row.items() if key != "history"} for row in rows]
    assert score(same)["ceiling"]["exact_match"]["value"] == 0.5

    class Data:
        split = "test"

    Data.rows = rows
    assert contradiction_notes(Data) == []
    Data.rows = same
    assert contradiction_notes(Data)
    other = [row | {"image_id": "b", "id": f"test/{i + 2}"} for i, row in enumerate(reversed(rows))]
    assert partners([*rows, *other], seed=0)[0] in (2, 3)
