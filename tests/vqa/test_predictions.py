"""Predictions: what a question gets alone it gets in any batch, generated or ranked; and one's own picture."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from blipvqa import Run, ask, evaluate, fine_tune, load_model, load_splits, predict
from blipvqa.config.knobs import Config, ConfigError, GenerateConfig
from blipvqa.data.images import ImageError
from blipvqa.runs.run import RunError
from blipvqa.vqa import tables
from blipvqa.vqa.answers import asks_yes_no
from blipvqa.vqa.batches import VQACollator, collator_for
from blipvqa.vqa.exchange import blanked, exchanged
from blipvqa.vqa.predictions import Answerer, Candidates, load_candidates


def changed(config: Config, **generate) -> Config:
    return config.model_copy(update={"generate": config.generate.model_copy(update=generate)})


@pytest.fixture
def parts(done):
    model, processor = load_model(str(done.folder / "model"), done)
    return done, load_splits(done)["test"], model, processor


def answers(predictions):
    return [(p["id"], p["prediction"]) for p in predictions]


def test_answers_do_not_depend_on_the_batch(parts):
    config, data, model, processor = parts
    together = predict(model, processor, data, config, progress=False)
    alone = predict(model, processor, data, changed(config, batch_size=1), progress=False)
    assert answers(together) == answers(alone)
    assert [p["score"] for p in together] == pytest.approx([p["score"] for p in alone], abs=1e-3)
    assert [p["id"] for p in together] == [f"test/{i}" for i in range(len(data))]
    assert len(set(p["prediction"] for p in together)) > 1
    assert {"image_id", "question", "answer", "topic", "box", "yes_probability", "confidence"} <= together[0].keys()


def test_scores_are_log_probabilities(parts):
    """A generated answer's score is minus the unsmoothed loss of that answer."""
    config, data, model, processor = parts
    predictions = predict(model, processor, data, config, progress=False)
    items = [
        {**item, "answer": p["prediction"]}
        for item, p in zip(data.__getitems__(list(range(len(data)))), predictions, strict=True)
    ]
    model.text_decoder.label_smoothing = 0.0
    batch = collator_for(processor, config)(items)
    with torch.no_grad():
        expected = -model(**batch).loss_per_answer
    survives = [
        processor.tokenizer.decode(ids, skip_special_tokens=True) == p["prediction"]
        for ids, p in zip(batch["decoder_input_ids"], predictions, strict=True)
    ]
    ended = [p["prediction"] and s for p, s in zip(predictions, survives, strict=True)]
    assert sum(map(bool, ended)) > 10
    for ok, p, value in zip(ended, predictions, expected.tolist(), strict=True):
        if ok:
            assert p["score"] == pytest.approx(value, abs=1e-3)


def test_ranking_picks_a_candidate_and_scores_all_of_a_full_shortlist(parts, done):
    config, data, model, processor = parts
    texts = ["yes", "no", "upper left", "lower right", "vessel"]
    (done.folder.parents[1] / "candidates.txt").write_text("\n".join([*texts, "yes", ""]))
    ranking = changed(config, method="rank", candidates="candidates.txt", shortlist=5)
    candidates = load_candidates(ranking, {}, processor)
    assert sorted(candidates.texts) == sorted(texts)
    predictions = predict(model, processor, data, ranking, candidates, progress=False)
    assert {p["prediction"] for p in predictions} <= set(texts)
    batch = collator_for(processor, config)(data.__getitems__([0, 1, 2]))
    questions = model.encode(**{k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values", "image_index")})
    for q in range(3):
        scores = model.answer_log_probabilities(questions, torch.full((5,), q), candidates.ids, candidates.mask, 0.1)
        assert predictions[q]["prediction"] == candidates.texts[scores.argmax()]
    alone = predict(model, processor, data, changed(ranking, batch_size=1), candidates, progress=False)
    assert answers(predictions) == answers(alone)


def test_answers_that_collapse_to_the_same_tokens_are_counted(parts):
    """Ranked, the first of them stands for all: it is right, and the others are wrong, whatever the model knows."""
    _, _, _, processor = parts
    cut = VQACollator(processor, max_answer_tokens=3)
    candidates = Candidates.of(["Yes", "left lung", "left lobe", "yes", "肺", "肝"], cut)
    assert candidates.texts == ["Yes", "left lung", "肺"]
    assert candidates.collapsed == {"left lung", "left lobe", "肺", "肝"}  # "Yes" and "yes" are one answer
    (warning,) = candidates.warnings([{"answer": answer} for answer in ("Left lobe.", "肝", "yes", "right")])
    assert warning.startswith("2 of 4 reference answers are the same tokens as a different candidate")
    assert candidates.warnings([{"answer": "yes"}]) == []


def test_an_evaluation_by_ranking_warns_of_answers_that_collapse(tiny):
    """Cut to one word, "upper left" and "upper right" are one answer to the model."""
    config = tiny(data__max_answer_tokens=3, train__epochs=1, generate__method="rank")
    fine_tune(config)
    run = evaluate(config, progress=False, grounding=False, start=False, resamples=0)
    places = [row for row in run.predictions("test") if row["answer"].startswith(("upper", "lower"))]
    assert places
    assert any(
        text.startswith(f"{len(places)} of {len(run.predictions('test'))} reference answers are the same tokens")
        for text in run.metrics("test")["warnings"]
    )


def test_ranking_beside_generation_with_yes_or_no_for_closed_questions(parts, done):
    config, data, model, processor = parts
    ranking = changed(config, method="rank", closed_yes_no=True, shortlist=8)
    candidates = load_candidates(ranking, load_splits(done), processor)
    predictions = predict(model, processor, data, ranking, candidates, progress=False)
    closed = [asks_yes_no(row["question"]) for row in data.rows]
    assert any(closed)
    assert not all(closed)
    assert {p["prediction"] for p, c in zip(predictions, closed, strict=True) if c} <= {"yes", "no"}
    assert all(p["prediction"] in candidates.texts for p in predictions)
    among_all = predict(model, processor, data, changed(ranking, closed_yes_no=False), candidates, progress=False)
    still_open = [(p, q) for p, q, c in zip(predictions, among_all, closed, strict=True) if not c]
    assert all(
        p["prediction"] == q["prediction"] and p["score"] == pytest.approx(q["score"], abs=1e-4) for p, q in still_open
    )
    scores = evaluate(ranking, progress=False, grounding=False, start=False, resamples=0).metrics("test")
    generated = evaluate(done, progress=False, resamples=50).metrics("test")
    assert scores["generated"]["exact_match"]["value"] == generated["overall"]["exact_match"]["value"]
    assert "generated" not in generated
    assert ">generated</th>" in tables.metrics_table(scores)


def test_some_of_the_encoded_questions(parts):
    config, data, model, processor = parts
    batch = collator_for(processor, config)(data.__getitems__(list(range(6))))
    questions = model.encode(**{k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values", "image_index")})
    all_ids = model.generate_answers(questions=questions, max_new_tokens=4, min_length=5)
    for rows in ([0], [1, 4], [0, 1, 2, 3, 4, 5]):
        some = questions.chosen(rows)
        assert some.grid.rows == len(rows)
        assert torch.equal(model.generate_answers(questions=some, max_new_tokens=4, min_length=5), all_ids[rows])


def test_candidates_of_equal_tokens_are_one(parts):
    config, _, _, processor = parts
    assert Candidates.of(["yes", "Yes", "no"], collator_for(processor, config)).texts == ["yes", "no"]
    for name in ("none.txt", "empty.txt"):
        with pytest.raises(ConfigError, match="candidates"):
            load_candidates(changed(config, method="rank", candidates=name), {}, processor)


def test_out_of_memory_halves_the_batch(parts, monkeypatch):
    config, data, model, processor = parts
    expected = predict(model, processor, data, config, progress=False)
    answer = Answerer.answering

    def short_of_memory(self, batch):
        if len(batch["input_ids"]) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return answer(self, batch)

    monkeypatch.setattr(Answerer, "answering", short_of_memory)
    assert answers(predict(model, processor, data, config, progress=False)) == answers(expected)


def test_other_errors_are_not_taken_for_memory(parts, monkeypatch):
    config, data, model, processor = parts

    def broken(self, batch):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(Answerer, "answering", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        predict(model, processor, data, config, progress=False)


def test_pictures_are_blanked_or_exchanged(parts):
    _, data, _, _ = parts
    blank = data.altered(blanked)
    assert len({blank.pixels(i).numpy().tobytes() for i in range(len(data))}) == 1
    other = exchanged(data, seed=0)
    own = {row["image_id"]: data.pixels(i).numpy().tobytes() for i, row in enumerate(data.rows)}
    for i, row in enumerate(data.rows):
        pixels = other.pixels(i).numpy().tobytes()
        assert pixels == own[other.rows[i]["image_id"]]
        assert pixels != own[row["image_id"]]


def test_one_s_own_picture(parts, done):
    config, data, model, processor = parts
    picture = data.image(0)
    picture.convert("CMYK").save(done.folder.parents[1] / "slide.jpg", quality=100)
    expected = predict(model, processor, data, config, progress=False)[0]
    answer = ask(model, processor, picture, data.rows[0]["question"], calibration=None)
    assert answer.answer == expected["prediction"]
    assert answer.confidence == pytest.approx(expected["confidence"], abs=1e-4)
    assert ask(model, processor, "slide.jpg", "is there a gland?").answer
    calibration = {kind: {"temperature": 2.0, "offset": 0.0, "n": 9} for kind in ("yes_no", "sequence")}
    careful = ask(model, processor, picture, data.rows[0]["question"], GenerateConfig(uncertain_below=1.0), calibration)
    assert careful.answer == "uncertain"
    assert careful.confidence != answer.confidence
    assert ask(model, processor, Image.fromarray(np.zeros((9, 5), np.uint16)), "what?").image.size == (5, 9)
    (done.folder.parents[1] / "no.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"no\.png"):
        ask(model, processor, "no.png", "is there a gland?")
    with pytest.raises(FileNotFoundError):
        ask(model, processor, "none.png", "is there a gland?")
    with pytest.raises(ValueError, match="empty"):
        ask(model, processor, picture, " ?")


def test_asking_sees_what_the_loader_sees_in_whatever_form(parts, done):
    _, data, model, processor = parts
    root = done.folder.parents[1]
    exif = Image.Exif()
    exif[274] = 6
    file = root / "turned.jpg"
    data.image(0).resize((40, 30)).save(file, exif=exif.tobytes())
    expected = ask(model, processor, "turned.jpg", "is there a gland?")
    assert expected.image.size == (30, 40)
    for form in (file, file.read_bytes(), Image.open(file), Image.open(file).copy(), np.asarray(expected.image)):
        answer = ask(model, processor, form, "is there a gland?")
        assert answer.image.tobytes() == expected.image.tobytes()
        assert (answer.answer, answer.confidence) == (expected.answer, expected.confidence)
    deep = np.asarray(expected.image).astype(np.uint16) * 257
    assert ask(model, processor, deep, "is there a gland?").image.tobytes() == expected.image.tobytes()


def test_evaluating_twice_asks_once_and_writes_the_same_bytes(done, monkeypatch):
    file = done.folder / "predictions-test.jsonl"
    before = file.read_bytes()

    def asked_again(*_, **__):
        raise AssertionError("asked again")

    monkeypatch.setattr("blipvqa.vqa.stored_answers.predict", asked_again)
    evaluate(done, progress=False, resamples=50)
    assert file.read_bytes() == before


def test_the_same_weights_give_the_same_predictions_byte_for_byte(done):
    file = done.folder / "predictions-test.jsonl"
    before = file.read_bytes()
    for path in (done.folder / "answers").iterdir():
        path.unlink()
    evaluate(done, progress=False, resamples=50)
    assert file.read_bytes() == before


def test_numbers_stand_beside_what_needs_no_picture(done):
    scores = Run(done.folder).metrics("test")
    for name in ("exact_match", "yes_no_accuracy", "open_exact_match", "open_token_f1", "bleu_1"):
        assert set(scores["overall"][name]) == {"value", "n", "groups", "low", "high"}
    assert set(scores) >= {
        "overall",
        "by",
        "ceiling",
        "baseline",
        "warnings",
        "start",
        "grounding",
        "confidence",
        "slices",
    }
    assert scores["overall"]["exact_match"]["n"] == len(Run(done.folder).predictions("test"))
    assert set(scores["by"]) == {"question_type", "topic"}


def test_what_is_withheld_is_marked_and_no_score_counts_it_as_wrong(done):
    before = Run(done.folder).metrics("test")["overall"]
    careful = changed(done, uncertain_below=1.0)
    run = evaluate(careful, progress=False, grounding=False, start=False, resamples=50)
    predictions, scores = run.predictions("test"), run.metrics("test")
    assert all(row["withheld"] is True for row in predictions if row["confidence"] < 1)
    assert "uncertain" not in {row["prediction"] for row in predictions}
    assert scores["overall"] == before
    fixed = scores["answering"]["rows"][-1]
    assert (fixed["wish"], fixed["threshold"], fixed["asked"]) == (None, 1.0, True)
    assert fixed["scored"]["coverage"]["value"] < 1
    evaluate(done, progress=False, resamples=50)
    assert not any("withheld" in row for row in run.predictions("test"))


def test_a_run_without_a_model_says_what_to_run(tiny):
    with pytest.raises(RunError, match="02_finetune"):
        evaluate(tiny("nothing"))


def test_a_model_whose_probabilities_are_no_numbers_gives_none_not_nan(parts):
    config, data, model, processor = parts
    with torch.no_grad():
        for parameter in model.text_decoder.parameters():
            parameter.fill_(torch.nan)
    for prediction in predict(model, processor, data, config, progress=False):
        assert (prediction["score"], prediction["yes_probability"], prediction["confidence"]) == (None, None, None)
        json.dumps(prediction, allow_nan=False)
