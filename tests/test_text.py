"""Two answers are the same exactly when the tokenizer cannot tell them apart, however they were spelled."""

import json

import pytest
from conftest import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st

from blipvqa.text import normalize, same_text, says_something, words

VOCABULARY = SHARED / "reference" / "blip-vqa-base"
PATHVQA = SHARED / "data" / "pathvqa-text" / "train.jsonl"
needs_vocabulary = needs_shared("reference/blip-vqa-base")
needs_pathvqa = needs_shared("data/pathvqa-text")


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(VOCABULARY)


def round_trip(tokenizer, text: str, clean_up: bool) -> str:
    ids = tokenizer(text)["input_ids"]
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up)


@needs_vocabulary
@needs_pathvqa
@pytest.mark.parametrize("clean_up", [False, True])  # transformers 4 cleans up by default, 5 does not
def test_every_pathvqa_answer_survives_encoding_and_decoding(tokenizer, clean_up):
    answers = sorted({json.loads(line)["answer"] for line in PATHVQA.read_text(encoding="utf-8").splitlines()})
    assert len(answers) == 3273
    decoded = {answer: round_trip(tokenizer, answer, clean_up) for answer in answers}
    assert sum(decoded[answer] != answer.lower().strip() for answer in answers) > 200  # the trap is real
    assert [answer for answer in answers if not same_text(answer, decoded[answer])] == []


PIECES = st.sampled_from(
    [
        "does",
        "n't",
        "tumour",
        "T",
        "3",
        "4",
        ".",
        ",",
        "'",
        "s",
        "-",
        "(",
        ")",
        "%",
        "?",
        "+",
        "/",
        "é",
        "中",
        "文",
        " ",
        "  ",
        "\t",
        "µ",
        "Hodgkin's",
        "can't",
        "is n't",
        "&",
        '"',
    ]
)


@needs_vocabulary
@settings(max_examples=300, deadline=None)
@given(text=st.lists(PIECES, min_size=1, max_size=9).map("".join), clean_up=st.booleans())
def test_any_text_of_known_characters_survives(tokenizer, text, clean_up):
    if "[UNK]" not in tokenizer.tokenize(text):
        assert same_text(text, round_trip(tokenizer, text, clean_up))


@given(st.text())
def test_normalizing_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text(), st.text(alphabet=st.characters(max_codepoint=127)))
def test_outer_white_space_and_case_never_matter(text, ascii_text):
    assert normalize(f" \t{text}\n") == normalize(text)
    assert normalize(ascii_text.upper()) == normalize(ascii_text)  # beyond ASCII, upper() loses letters: "ß", "µ"


@pytest.mark.parametrize(
    ("spelled", "decoded"),
    [
        ("T-cell", "t - cell"),
        ("Hodgkin's", "hodgkin ' s"),
        ("3.4 cm", "3. 4 cm"),
        ("naïve café", "naive cafe"),
        ("Sjo\u0308gren", "sjogren"),  # a combining mark
        (
            "junctional melanocytes\u2003",
            "junctional melanocytes",
        ),  # an em space, in PathVQA's training answers
        ("soft\u00adtissue", "softtissue"),  # a soft hyphen is a control character
        ("肺炎 x", "肺 炎 x"),
        ("it doesn't", "it does n't"),
        ("CSF is white.", "csf is white"),
        ("Yes", "yes ."),
    ],
)
def test_what_is_one_answer(spelled, decoded):
    assert same_text(spelled, decoded)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.4", "34"),
        ("3.4", "3 4"),
        ("-5", "5"),
        ("50%", "50"),
        ("her2+", "her2-"),
        ("her2+", "her2"),
        ("1/2", "12"),
        ("a nodule", "nodule"),
        ("two", "2"),
        ("left lung", "lung left"),
        ("?", "."),
        ("b-cell", "b cell"),
    ],
)
def test_what_stays_two_answers(one, other):
    assert not same_text(one, other)


def test_words_are_the_tokens_with_letters_or_digits():
    assert words("Hodgkin's (T-cell) lymphoma.") == ["hodgkin", "s", "t", "cell", "lymphoma"]
    assert words("+") == ["+"]
    assert words("") == []


@pytest.mark.parametrize(
    ("text", "something"), [("is it?", True), ("5", True), ("肺", True), ("?!", False), ("", False)]
)
def test_a_text_without_letters_and_digits_says_nothing(text, something):
    assert says_something(text) is something
