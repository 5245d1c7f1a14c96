"""Tokens: where texts begin, and the vocabulary of a model from scratch."""

import pytest

from blipvqa.config.knobs import ConfigError
from blipvqa.data import dataset
from blipvqa.models import loading
from blipvqa.models.tokenizer import ANSWER_START, QUESTION_START, add_start_tokens, encode, train_tokenizer
from blipvqa.tasks import fine_tune, load_model

TEXTS = ["is there a vessel?", "yes", "a blood vessel", "no"]


def test_questions_and_answers_begin_with_their_own_tokens_and_are_cut():
    tokenizer = add_start_tokens(train_tokenizer(TEXTS, 100))
    question, answer = (encode(tokenizer, TEXTS, start, 5) for start in (QUESTION_START, ANSWER_START))
    read = tokenizer.convert_ids_to_tokens
    assert read(question["input_ids"][1]) == ["[ENC]", "yes", "[SEP]", "[PAD]", "[PAD]"]
    assert read(answer["input_ids"][1]) == ["[DEC]", "yes", "[SEP]", "[PAD]", "[PAD]"]
    assert read(answer["input_ids"][0])[-1] == "[SEP]"  # a text that is cut still ends
    assert answer["attention_mask"].tolist() == question["attention_mask"].tolist()


def test_adding_the_start_tokens_twice_changes_nothing():
    tokenizer = add_start_tokens(train_tokenizer(TEXTS, 100))
    size = len(tokenizer)
    add_start_tokens(tokenizer)
    assert len(tokenizer) == size == tokenizer.cls_token_id + 1 == tokenizer.bos_token_id + 2


def test_models_do_not_open_the_data(tiny):
    with pytest.raises(ConfigError, match="texts"):
        loading.load_model("scratch", tiny())


def test_a_run_from_scratch_reads_its_data_once(tiny, monkeypatch):
    reads = []
    read_splits = dataset.read_splits
    monkeypatch.setattr(dataset, "read_splits", lambda *a: reads.append(1) or read_splits(*a))
    fine_tune(tiny(train__epochs=0))
    assert len(reads) == 1


def test_texts_of_ones_own_make_the_vocabulary(tiny):
    _, processor = load_model("scratch", tiny(), texts=["zyzzyva"] * 5)
    assert "zyzzyva" in processor.tokenizer.get_vocab()
