"""Every measure on cases small enough to work out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from blipvqa.vqa.measures import MEASURES, counts, measure_names


def predicted(*pairs, **columns):
    """Predictions from (reference, answered), each question on an image of its own."""
    return [
        {
            "id": f"test/{i}",
            "image_id": f"image{i}",
            "question": f"what is number {i}?",
            "answer": answer,
            "prediction": predicted,
            **columns,
        }
        for i, (answer, predicted) in enumerate(pairs)
    ]


def measured(predictions):
    values = MEASURES.of_sums(counts(predictions).sum(axis=0), measure_names(predictions))
    return {name: float(value) for name, value in values.items()}


def test_exact_match_splits_into_yes_no_and_open():
    values = measured(
        predicted(("yes", "Yes"), ("no", "yes"), ("no", "no."), ("t-cell", "t - cell"), ("lung", "liver"))
    )
    assert values["exact_match"] == pytest.approx(3 / 5)
    assert values["yes_no_accuracy"] == pytest.approx(2 / 3)
    assert values["open_exact_match"] == pytest.approx(1 / 2)


def test_yes_no_as_a_diagnostic_test():
    # yes: answered yes, yes, no, "lung" -> sensitivity 2/4; no: answered no, yes -> specificity 1/2
    values = measured(
        predicted(
            ("yes", "yes"),
            ("yes", "yes"),
            ("yes", "no"),
            ("yes", "lung"),
            ("no", "no"),
            ("no", "yes"),
            ("lung", "yes"),
        )
    )
    assert values["yes_no_sensitivity"] == pytest.approx(2 / 4)
    assert values["yes_no_specificity"] == pytest.approx(1 / 2)
    assert values["yes_no_balanced_accuracy"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert values["yes_no_predicted_yes"] == pytest.approx(3 / 6)  # the open question does not count


def test_token_f1_and_recall_clip_repeated_words():
    # "the left lung lobe" answered "lung lung lung": 1 shared; precision 1/3, recall 1/4, F1 2*1/(4+3)
    values = measured(predicted(("the left lung lobe", "lung lung lung")))
    assert values["open_token_f1"] == pytest.approx(2 / 7)
    assert values["open_token_recall"] == pytest.approx(1 / 4)


def test_token_f1_is_the_mean_over_questions():
    # 2*1/(1+1) = 1 and 2*1/(2+3) = 0.4; mean 0.7, where pooled words would give 2*2/(3+4) = 0.571
    assert measured(predicted(("lung", "lung"), ("left lobe", "left of it")))["open_token_f1"] == pytest.approx(0.7)


def test_bleu_by_hand():
    # reference "a b c d", answered "a b c": precisions 3/3, 2/2, 1/1; no 4-gram; brevity exp(1 - 4/3)
    values = measured(predicted(("a b c d", "a b c")))
    assert values["bleu_1"] == pytest.approx(np.exp(1 - 4 / 3))
    assert values["bleu_3"] == pytest.approx(np.exp(1 - 4 / 3))
    assert values["bleu_4"] == 0
    # and "e f" answered "e g h": BLEU-2 = sqrt((3 + 1)/6 * (2 + 0)/4), both sides 6 words long
    values = measured(predicted(("a b c d", "a b c"), ("e f", "e g h")))
    assert values["bleu_2"] == pytest.approx(np.sqrt(4 / 6 * 2 / 4))


def test_bleu_is_undefined_where_no_reference_is_long_enough():
    values = measured(predicted(("lung", "lung"), ("left lobe", "left lobe")))
    assert values["bleu_2"] == 1
    assert np.isnan(values["bleu_3"])


WORDS = st.lists(st.sampled_from(["lung", "left", "cell", "of", "the", "5"]), max_size=7).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=8))
def test_bleu_equals_sacrebleu(pairs):
    values = measured(predicted(*pairs))
    for order in (1, 2, 3, 4):
        if any(len(answer.split()) >= order for answer, _ in pairs):
            library = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
            expected = library.corpus_score(
                [predicted for _, predicted in pairs], [[answer for answer, _ in pairs]]
            ).score
            assert values[f"bleu_{order}"] == pytest.approx(expected / 100, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_no_measure_leaves_the_unit_interval(pairs):
    assert all(0 <= value <= 1 + 1e-12 for value in measured(predicted(*pairs)).values() if not np.isnan(value))


def test_any_reference_of_the_same_image_and_question_counts_under_its_own_name():
    rows = predicted(("brain", "tumour"), ("tumour", "tumour"), ("bone", "tumour"))
    rows[0] |= {"question": "what is present?"}
    rows[1] |= {"question": "What is present ?", "image_id": rows[0]["image_id"]}
    rows[2] |= {"question": "what is present?"}  # another image: its references stay apart
    assert measured(rows)["exact_match"] == pytest.approx(1 / 3)
    assert measured(rows)["exact_match_any"] == pytest.approx(2 / 3)


def test_squads_rule_forgives_articles_and_punctuation_only():
    values = measured(predicted(("a t-cell", "t cell"), ("the", "a"), ("two cells", "2 cells")))
    assert values["exact_match"] == 0
    assert values["exact_match_squad"] == pytest.approx(1 / 3)  # an answer that is an article keeps it


def test_vqa_rad_open_and_closed_follow_the_datas_own_column():
    rows = predicted(("yes", "yes"), ("ct", "mri"), ("lung", "lung"))
    assert "closed_accuracy" not in measured(rows)
    for row, kind in zip(rows, ["CLOSED", "CLOSED ", "open"], strict=True):  # "ct or mri?" is closed, yet not yes/no
        row["answer_type"] = kind
    values = measured(rows)
    assert (values["closed_accuracy"], values["open_accuracy"]) == (1 / 2, 1)


def test_an_empty_prediction_is_wrong_and_no_more():
    values = measured(predicted(("lung", ""), ("yes", "")))
    assert values["exact_match"] == values["open_token_f1"] == values["bleu_1"] == values["yes_no_sensitivity"] == 0


def test_incomplete_or_repeated_predictions_are_refused_by_id():
    rows = predicted(("lung", "lung"), ("yes", "no"))
    with pytest.raises(ValueError, match=r"'test/1' has no answer, prediction"):
        counts([rows[0], {"id": "test/1", "image_id": "x", "question": "?", "answer": None}])
    with pytest.raises(ValueError, match=r"1 id stands more than once .* 'test/0'"):
        counts([rows[0], rows[1], rows[0]])


def test_every_measure_says_what_it_is_and_counts():
    assert all(measure.meaning and MEASURES.title(name) for name, measure in MEASURES.items())
