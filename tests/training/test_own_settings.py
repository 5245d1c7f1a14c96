"""A function that is given no settings goes by those of the model's run."""

import json
import shutil

import pytest

from blipvqa import ask, describe, evaluate, fine_tune, judge, load_model, load_splits
from blipvqa.config.knobs import GenerateConfig
from blipvqa.errors import InputError
from blipvqa.pages.html import escape
from blipvqa.pairs.pictures import judged
from blipvqa.retrieval.clips import search_clips
from blipvqa.retrieval.matching import look_at_pair
from blipvqa.sharing import export_int8
from blipvqa.training.own_settings import own_settings
from blipvqa.vqa.explanations import explain
from blipvqa.vqa.token_limits import answer_tokens, question_tokens


def test_of_a_statement_as_many_words_as_in_training(tiny):
    model, processor = load_model(str(fine_tune(tiny("pairs", task="pairs", pairs__max_words=3)).model_folder))
    pictures = load_splits(tiny("pairs", task="pairs"))["test"].images(0)
    whole, read, other = judge(model, processor, pictures, ["both show a gland", "both show a", "both show fat"])
    assert whole.probability == read.probability != other.probability
    assert whole.notes == ["the text is too long for this model, which read no more than “both show a”"]
    assert read.notes == [] and escape(whole.notes[0]) in judged([whole, read])


@pytest.mark.parametrize("task", ["retrieval", "pretrain"])
def test_of_a_text_as_many_words_as_in_training(task, tiny):
    config = tiny("short", task=task, retrieval__max_words=2, retrieval__rerank=1, train__epochs=0)
    model, processor = load_model(str(fine_tune(config).model_folder))
    data = load_splits(config)["test"]
    pair = look_at_pair(model, processor, data.image(0), "large nuclei on the left")
    assert [word for word, _ in pair.looks] == ["large", "nuclei"]
    short = look_at_pair(model, processor, data.image(0), "large nuclei")
    assert pair.match == short.match and short.notes == []
    assert pair.notes == ["the text is too long for this model, which read no more than “large nuclei”"]
    with pytest.raises(InputError, match="look_at_pair: the text is empty"):
        look_at_pair(model, processor, data.image(0), "…")
    if task == "pretrain":  # clips are searched with a model for retrieval alone
        return
    clips, texts = [[data.image(i)] for i in range(3)], ["pink nuclei left", "blue nuclei left", "pink fat"]
    for own, short in zip(
        search_clips(model, processor, clips, texts),
        search_clips(model, processor, clips, [" ".join(text.split()[:2]) for text in texts], config.retrieval),
        strict=True,
    ):
        assert (own.scores == short.scores).all() and (own.candidates == short.candidates).all()


def test_of_a_question_as_many_tokens_as_in_training_and_it_says_so(tiny):
    config = tiny("short", data__max_question_tokens=6)
    model, processor = load_model(str(fine_tune(config).model_folder))
    data = load_splits(config)["test"]
    long, short = "is there a gland beside the vessel?", "is there a gland"
    whole, read = ask(model, processor, data.image(0), [long, short])
    assert (whole.answer, whole.confidence) == (read.answer, read.confidence)
    assert f"the question is too long for this model, which read no more than “{short}”" in whole.notes
    assert not any("too long" in note for note in read.notes)
    unknown = "this model's vocabulary has no word for “腺体”: it read nothing there"
    noted = ask(model, processor, [data.image(0)] * 2, "a 腺体?")  # a batch, each with its own
    assert [unknown in answer.notes for answer in (*noted, read)] == [True, True, False]
    assert escape(unknown) in noted[0]._repr_html_()
    maps = [explain(model, processor, data.pixels(0), question, "yes").map for question in (long, short)]
    assert (maps[0] == maps[1]).all()


def test_an_older_export_in_its_run_s_folder_reads_as_much_as_the_run(tiny):
    """It tells no limit: `ask` read all of a question, and evaluation, page and tables the beginning."""
    config = tiny("old", data__max_question_tokens=6, data__max_answer_tokens=3, train__epochs=0)
    folder = fine_tune(config).model_folder
    told = json.loads((folder / "config.json").read_text())
    del told["question_tokens"], told["answer_tokens"]
    (folder / "config.json").write_text(json.dumps(told))
    model, _ = load_model(str(folder))
    assert (question_tokens(model), answer_tokens(model)) == (6, 3)
    shutil.copytree(folder, folder.parent / "elsewhere")
    model, _ = load_model(str(folder.parent / "elsewhere"))
    assert question_tokens(model) > 35 and answer_tokens(model) > 3


def test_ranked_answers_are_cut_as_evaluation_cuts_them(tiny):
    """Of "lower left" and "masson trichrome" one word was ranked where the run was scored, and all of it by `ask`."""
    settings = {"generate__method": "rank", "data__max_answer_tokens": 3}
    config = tiny("ranked", **settings, train__epochs=30, train__learning_rate=3e-3)
    run = fine_tune(config)
    evaluate(config, progress=False, resamples=10)
    model, processor = load_model(str(run.model_folder))
    data, rows = load_splits(config)["test"], run.predictions("test")
    answers = [ask(model, processor, data.image(i), row["question"]) for i, row in enumerate(rows)]
    assert [answer.answer for answer in answers] == [row["prediction"] for row in rows]
    assert len({row["prediction"] for row in rows}) > 2
    assert [answer.confidence for answer in answers] == pytest.approx([row["confidence"] for row in rows], abs=1e-4)


def test_settings_that_changed_after_training_hold_in_the_run_s_folder(tiny, tmp_path):
    """Page and `answer_all` went by the new ones, and `ask` by those of the training."""
    run = fine_tune(tiny("long"))
    data, limits = load_splits(run.config)["test"], []
    fine_tune(tiny("long", generate__max_new_tokens=1))  # finished before: nothing is trained
    shutil.copytree(run.model_folder, tmp_path / "copy")
    for folder in (run.model_folder, export_int8(run), tmp_path / "copy"):
        model, processor = load_model(str(folder))
        limits.append(own_settings(model, GenerateConfig).max_new_tokens)
        said = ask(model, processor, data.image(0), "what is shown?", calibration=None)
        assert explain(model, processor, data.pixels(0), "what is shown?").answer == said.answer
    assert limits == [1, 1, 6]


def test_a_model_that_begins_as_another_task_s_has_none_of_its_settings(tiny):
    run = fine_tune(tiny("before", task="pretrain", retrieval__max_words=2, train__epochs=0))
    picture = load_splits(run.config)["test"].image(0)
    for task in ("caption", "pairs"):
        config = tiny(task, task=task, model__name=str(run.model_folder))
        model, processor = load_model(str(run.model_folder), config)
        assert not hasattr(model.config, "own_settings")
        if task == "caption":
            described = describe(model, processor, picture, settings=config.caption)
            assert describe(model, processor, picture).caption == described.caption
        else:
            of_config = judge(model, processor, [picture] * 2, "both show a gland", config.pairs)
            assert judge(model, processor, [picture] * 2, "both show a gland").probability == of_config.probability
