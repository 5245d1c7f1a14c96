"""A function that is given no settings reads as much of a text as the model's run did."""

import pytest

from blipvqa import ask, fine_tune, judge, load_model, load_splits
from blipvqa.errors import InputError
from blipvqa.pages.html import escape
from blipvqa.pairs.pictures import judged
from blipvqa.retrieval.clips import search_clips
from blipvqa.retrieval.matching import look_at_pair
from blipvqa.vqa.explanations import explain


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
    assert whole.notes == [f"the question is too long for this model, which read no more than “{short}”"]
    assert read.notes == []
    maps = [explain(model, processor, data.pixels(0), question, "yes").map for question in (long, short)]
    assert (maps[0] == maps[1]).all()
