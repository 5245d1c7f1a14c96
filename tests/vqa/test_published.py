"""A published number is compared with the same number: each script's own arithmetic, worked by hand."""

import math

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import NO_INTERVALS, Bootstrap
from blipvqa.numbers.classes import macro_f1
from blipvqa.vqa.published import MACRO_F1, PUBLISHED, published
from blipvqa.vqa.scripts import cleaned, sentence_bleu


def measured(*pairs, **columns):
    rows = [
        {"id": f"test/{i}", "image_id": f"i{i}", "question": "what?", "answer": a, "prediction": p, **columns}
        for i, (a, p) in enumerate(pairs)
    ]
    return {name: entry["value"] for name, entry in published(rows, NO_INTERVALS).items()}


def test_pathvqas_script_keeps_letters_and_blanks_only():
    """ "T-cell 2+" is the one word tcell; as WordPiece decodes it, "t - cell 2 +", it is two words, t and cell."""
    spaced = measured(("T-cell 2+", "t - cell 2 +"))
    assert spaced["pathvqa_script_exact_match"] == spaced["pathvqa_script_f1"] == 0
    assert measured(("T-cell 2+", "t-cell"))["pathvqa_script_f1"] == 1
    # "the left lung lobe" answered "lung lung lung": 1 of 3; tp 3, fp 0, fn 3: precision 1, recall 3/6, F1 2/3
    values = measured(("the left lung lobe", "lung lung lung"))
    assert values["pathvqa_script_exact_match"] == pytest.approx(1 / 3, abs=1e-6)
    assert values["pathvqa_script_f1"] == pytest.approx(2 / 3, abs=1e-6)


def test_pathvqas_bleu_counts_characters_and_takes_no_match_for_a_full_one():
    # "left lung" (9 characters) answered "left" (4): precision 1, brevity exp(1 - 9/4); no 2-gram answered: 0
    values = measured(("left lung", "left"))
    assert values["pathvqa_script_bleu_1"] == pytest.approx(math.exp(1 - 9 / 4), abs=1e-6)
    assert values["pathvqa_script_bleu_2"] == 0
    assert measured(("cyst", "adenocarcinoma"))["pathvqa_script_bleu_1"] == 1  # longer, and no word of it right


def test_llava_meds_recall_cleans_as_the_vqa_challenge_does():
    assert cleaned("The two cells. (3.4 cm)") == "2 cells 3.4 cm"
    assert cleaned("1,000-fold") == "1000fold"  # a comma between digits removes every mark
    assert cleaned("x-ray dont") == "x ray don't"
    # "a mass in the left lung" answered "left lung mass, left": 3 of the 4 words mass, in, left, lung; tp is 4
    values = measured(("a mass in the left lung", "left lung mass, left"))
    assert values["llava_med_recall"] == pytest.approx(4 / 5, abs=1e-6)
    assert values["llava_med_f1"] == pytest.approx(2 * 1 * 0.8 / 1.8, abs=1e-6)
    assert values["llava_med_exact_match"] == pytest.approx(3 / 4, abs=1e-6)


def test_llava_meds_closed_accuracy_forgets_wrong_answers():
    """3 right, 5 wrong with yes or no in them, 1 wrong without: the script divides 3 by 4, not by 9."""
    pairs = [("yes", "yes")] * 3 + [("yes", "no")] * 5 + [("yes", "maybe")]
    values = measured(*pairs)
    assert values["llava_med_closed"] == pytest.approx(3 / 4, abs=1e-6)
    assert values["medevalkit_close"] == pytest.approx(3 / 9, abs=1e-6)


def test_sentence_bleu_of_one_order_and_of_several():
    # "a b c d" answered "a b d": 3 of 3 words, 1 of 2 pairs, 0 of 1 triples; brevity exp(1 - 4/3)
    reference, said, brevity = list("abcd"), list("abd"), math.exp(1 - 4 / 3)
    assert sentence_bleu(reference, said, [1, 0, 0, 0]) == pytest.approx(brevity, abs=1e-6)
    assert sentence_bleu(reference, said, [0, 1, 0, 0]) == pytest.approx(brevity / 2, abs=1e-6)
    assert sentence_bleu(reference, said, [0.5, 0.5]) == pytest.approx(brevity * math.sqrt(1 / 2), abs=1e-6)
    assert sentence_bleu(reference, said, [0, 0, 1, 0]) == sentence_bleu(reference, [], [1.0]) == 0
    # the mean over sentences is not the corpus' BLEU: 1 and 0 make 0.5, where pooled words make 3 of 4
    values = measured(("left lung lobe", "left lung lobe"), ("cyst", "mass"))
    assert values["llava_med_bleu_1"] == values["medevalkit_bleu_1"] == 0.5


def test_mumc_takes_a_part_of_the_reference_for_right():
    pairs = (("left lung", "lung"), ("x-ray", "X ray."), ("cyst", ""), ("lung", "left lung"))
    assert measured(*pairs)["mumc_accuracy"] == pytest.approx(3 / 4, abs=1e-6)


def test_medevalkit_prints_three_numbers_under_each_others_names():
    # {left, lung, lobe} answered {left, cyst}: precision 1/2, recall 1/3, F1 2/5
    values = measured(("left lung lobe", "left left cyst"))
    printed = [values[f"medevalkit_{name}"] for name in ("precision", "recall", "f1")]
    assert printed == pytest.approx([2 / 5, 1 / 2, 1 / 3], abs=1e-6)
    assert measured(("yes", "Yes, no."))["medevalkit_close"] == 0  # both stand in it


def test_open_and_closed_go_by_the_datas_column_where_there_is_one():
    values = measured(("ct", "ct"), answer_type="CLOSED")
    assert values["mumc_closed"] == 1 and values["mumc_open"] is None
    assert values["medevalkit_open"] == 1  # it goes by the reference


def test_macro_f1_over_answer_classes():
    # lung: 1 right, 2 + 1 times: 2/3; cyst: 0; mass: 0; the mean of three
    value = measured(("lung", "lung"), ("lung", "mass"), ("cyst", "mass"))[MACRO_F1]
    assert value == pytest.approx(2 / 9, abs=1e-6)
    assert np.isnan(macro_f1(np.array([0]), np.array([0]), np.zeros(1), 1))


def test_every_published_measure_has_an_interval_around_its_value():
    rows = [
        {"id": f"test/{i}", "image_id": f"i{i // 3}", "question": "?", "answer": a, "prediction": p}
        for i, (a, p) in enumerate([("lung", "lung"), ("yes", "no"), ("left lobe", "left"), ("no", "no")] * 20)
    ]
    entries = published(rows, Bootstrap(resamples=100))
    assert set(entries) == {*PUBLISHED, MACRO_F1}
    assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in entries.values())
    assert published([])[MACRO_F1]["value"] is None
