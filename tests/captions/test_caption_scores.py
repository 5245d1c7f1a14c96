"""Measures of captions, against pycocoevalcap's numbers, sacrebleu and examples worked by hand."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from blipvqa.captions.cider import cider_d, rouge_l
from blipvqa.captions.neighbours import nearest_others
from blipvqa.captions.scores import commonest_caption, exchanged, score
from blipvqa.captions.terms import Finder, load_terms
from blipvqa.config.knobs import ConfigError
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import NO_INTERVALS, Bootstrap

COCO = json.loads((Path(__file__).parent / "pycocoevalcap.json").read_text())


def predictions(pairs):
    return [
        {"id": f"test/{i}", "image_id": f"image {i}", "prediction": prediction, "references": references}
        for i, (prediction, references) in enumerate(pairs)
    ]


def values(rows, **options):
    return {name: entry["value"] for name, entry in score(rows, bootstrap=NO_INTERVALS, **options)["overall"].items()}


def test_cider_rouge_and_bleu_are_pycocoevalcaps():
    pictures = COCO["pictures"]
    predicted = [picture["prediction"].split() for picture in pictures]
    references = [[text.split() for text in picture["references"]] for picture in pictures]
    assert cider_d(predicted, references)[0] == pytest.approx([picture["cider_d"] for picture in pictures], abs=1e-6)
    longest = [rouge_l(words, texts) for words, texts in zip(predicted, references, strict=True)]
    assert longest == pytest.approx([picture["rouge_l"] for picture in pictures], abs=1e-6)
    overall = values(predictions((picture["prediction"], picture["references"]) for picture in pictures))
    assert [overall[f"bleu_{n}"] for n in (1, 2, 3, 4)] == pytest.approx(COCO["bleu"], abs=1e-6)
    assert overall["cider_d"] == pytest.approx(COCO["cider_d"], abs=1e-6)
    assert overall["rouge_l"] == pytest.approx(COCO["rouge_l"], abs=1e-6)


def test_bleu_with_several_references_is_sacrebleus():
    pictures = [(picture["prediction"], picture["references"]) for picture in COCO["pictures"]]
    most = max(len(texts) for _, texts in pictures)
    columns = [[texts[i] if i < len(texts) else None for _, texts in pictures] for i in range(most)]
    expected = BLEU(smooth_method="none", tokenize="none").corpus_score([text for text, _ in pictures], columns)
    assert values(predictions(pictures))["bleu_4"] == pytest.approx(expected.score / 100, abs=1e-9)


def test_cider_worked_by_hand():
    """Two pictures; every n-gram of "dense fat" is in one of them alone, so each weighs log 2 in every order there."""
    own, _ = cider_d([["dense", "fat"], ["sparse"]], [[["dense", "fat"]], [["sparse"]]])
    assert own == pytest.approx([10 * 2 / 4, 10 * 1 / 4])  # cosine 1 in the orders that there are, of four
    shorter, _ = cider_d([["dense"], ["sparse"]], [[["dense", "fat"]], [["sparse"]]])
    cosine = math.log(2) ** 2 / (math.log(2) * math.sqrt(2) * math.log(2))
    assert shorter[0] == pytest.approx(10 * cosine / 4 * math.exp(-1 / 72))
    assert cider_d([["fat"], ["fat"]], [[["fat"]], [["fat"]]]) == (
        [0, 0],
        [False, False],
    )  # what every picture has says nothing
    assert cider_d([[], ["sparse"]], [[["dense"]], [["sparse"]]])[0][0] == 0


def test_rouge_worked_by_hand():
    assert rouge_l(["a", "b", "c"], [["a", "x", "c", "d"]]) == pytest.approx(
        (1 + 1.44) * (2 / 3) * (2 / 4) / (2 / 4 + 1.44 * 2 / 3)
    )
    assert rouge_l([], [["a"]]) == rouge_l(["a"], [["b"]]) == rouge_l(["a"], [[]]) == 0


def test_things_that_are_named_rightly_invented_or_left_out_are_counted():
    terms = {"gland": ["glands", "acinus"], "fat": [], "necrosis": []}
    rows = predictions(
        [
            ("glands and necrosis", ["an acinus beside fat", "fatty tissue"]),  # gland right, necrosis invented, no fat
            ("fatty tissue", ["necrosis"]),
        ]
    )
    overall = values(rows, terms=terms)
    assert overall["terms_recalled"] == pytest.approx(1 / 3)
    assert overall["terms_invented"] == pytest.approx(1 / 2)
    assert overall["pictures_with_invented"] == pytest.approx(1 / 2)
    assert "terms_recalled" not in values(rows)
    assert Finder(terms).named("Fat, glands.") == {"fat", "gland"}


def test_left_for_right_is_counted_where_one_side_is_named():
    rows = predictions(
        [("left lung", ["right lung"]), ("left", ["left"]), ("left", ["left or right"]), ("lung", ["left"])]
    )
    estimate = score(rows, bootstrap=NO_INTERVALS)["overall"]["sides_exchanged"]
    assert (estimate["value"], estimate["n"]) == (0.5, 2)


def test_repeated_captions_and_words_are_told_from_different_ones():
    overall = values(predictions([("a b", ["x"]), ("a b", ["x"]), ("a c", ["x"])]))
    assert overall["distinct_captions"] == pytest.approx(2 / 3)
    assert overall["distinct_1"] == pytest.approx(3 / 6) and overall["distinct_2"] == pytest.approx(2 / 3)
    assert overall["words"] == 2


def test_a_captioner_that_does_not_look_is_warned_of():
    organs = ["lung", "liver", "brain", "heart", "skin", "bone", "eye", "nerve"]
    rows = predictions((f"image of the {organ}", [f"image of the {organ}"]) for organ in organs)
    seeing = score(rows, train=[{"caption": "image of the lung"}] * 2, bootstrap=Bootstrap(resamples=200))
    assert seeing["needs_picture"]["real"] and seeing["baseline_caption"] == "image of the lung"
    assert seeing["exchanged"]["cider_d"]["value"] < seeing["overall"]["cider_d"]["value"]
    assert not any("may not look" in line for line in seeing["warnings"])
    blind = score([row | {"prediction": "image of the lung"} for row in rows], bootstrap=Bootstrap(resamples=200))
    assert any("may not look" in line for line in blind["warnings"])
    assert sorted(row["prediction"] for row in exchanged(rows, 0)) == sorted(row["prediction"] for row in rows)
    assert all(a["prediction"] != b["prediction"] for a, b in zip(rows, exchanged(rows, 0), strict=True))


def test_the_commonest_caption_is_that_of_train_as_it_was_spelled():
    assert commonest_caption([{"caption": text} for text in ("Fat.", "a gland", "fat", "b")]) == "Fat."
    assert commonest_caption([]) == ""


def test_numbers_have_intervals_over_images_and_levels():
    rows = [row | {"organ": "lung"} for row in predictions(("a b", ["a b" if i % 2 else "c"]) for i in range(40))]
    scores = score(rows, breakdown=["organ"], bootstrap=Bootstrap(resamples=200))
    entry = scores["overall"]["exact_match"]
    assert entry["low"] < entry["value"] == 0.5 < entry["high"] and entry["n"] == 40
    assert scores["by"]["organ"]["lung"]["exact_match"]["value"] == 0.5


def test_predictions_that_cannot_be_scored_are_refused():
    rows = predictions([("a", ["b"])])
    with pytest.raises(InputError, match="has no prediction"):
        score([{**rows[0], "prediction": None}])
    with pytest.raises(InputError, match="twice"):
        score(rows * 2)
    assert score([])["overall"]["cider_d"]["value"] is None


def test_terms_are_read_from_a_file(tiny, root):
    (root / "terms.txt").write_text("# organs\ngland: glands, acinus\n\nfat\n")
    config = tiny(task="caption", caption__terms="terms.txt")
    assert load_terms(config) == {"gland": ["glands", "acinus"], "fat": []}
    with pytest.raises(ConfigError, match=r"nowhere\.txt' cannot be read"):
        load_terms(tiny(task="caption", caption__terms="nowhere.txt"))
    assert "upper left gland" in load_terms(tiny(task="caption"))


def test_intervals_of_numbers_above_one_lie_around_their_values():
    """CIDEr-D goes to 10 and words have no bound; the other measures lie between 0 and 1."""
    organs = ["lung", "liver", "brain", "heart", "skin"]
    rows = predictions((f"the {organs[i % 5]} {'seen ' * (i % 3)}", [f"the {organs[i % 5]} seen"]) for i in range(60))
    overall = score(rows, bootstrap=Bootstrap(resamples=200))["overall"]
    for name in ("cider_d", "words"):
        entry = overall[name]
        assert 1 < entry["low"] < entry["value"] < entry["high"] < 10 and entry["high"] - entry["low"] < 3


def test_strange_captions_are_counted_and_never_break_a_score():
    """No words, only marks, one reference beside fifty, equal ones, and characters that turn or end a line."""
    pairs = [
        ("", ["a gland"]),
        ("...", ["..."]),
        ("fat", [f"fat number {i}" for i in range(50)]),
        ("a gland", ["a gland"] * 3),
        ("\u202efat\x00\u200b", ["fat"]),
        ("word " * 600, ["word"]),
    ]
    overall = score(predictions(pairs), terms={"fat": [], "gland": []}, bootstrap=Bootstrap(resamples=50))["overall"]
    for name, entry in overall.items():
        assert entry["value"] is None or math.isfinite(entry["value"]), name
        if entry["low"] is not None:
            assert entry["low"] <= entry["value"] <= entry["high"], name
    assert overall["exact_match"]["value"] == pytest.approx(3 / 6)
    assert overall["terms_recalled"]["value"] == pytest.approx(3 / 4)


@pytest.mark.slow
def test_cider_and_rouge_are_those_of_pycocoevalcap_itself():
    """On 300 random pictures, with the package of 104 MB where it is installed: `pip install --no-deps pycocoevalcap`.

    The numbers in pycocoevalcap.json were made with it too, and are tested everywhere.
    """
    cider = pytest.importorskip("pycocoevalcap.cider.cider_scorer", reason="pycocoevalcap is not installed")
    from pycocoevalcap.rouge.rouge import Rouge

    draw = random.Random(0)
    vocabulary = ["fat", "gland", "left", "right", "dense", "stain", "a", "of"]
    predicted = [draw.choices(vocabulary, k=draw.randint(1, 12)) for _ in range(300)]
    references = [
        [draw.choices(vocabulary, k=draw.randint(1, 12)) for _ in range(draw.randint(1, 5))] for _ in predicted
    ]
    scorer = cider.CiderScorer(n=4, sigma=6.0)
    for words, texts in zip(predicted, references, strict=True):
        scorer += (" ".join(words), [" ".join(text) for text in texts])
    assert cider_d(predicted, references)[0] == pytest.approx(list(scorer.compute_score()[1]), abs=1e-6)
    for words, texts in zip(predicted, references, strict=True):
        expected = Rouge().calc_score([" ".join(words)], [" ".join(text) for text in texts])
        assert rouge_l(words, texts) == pytest.approx(expected, abs=1e-6)


def test_captions_that_a_search_reaches_too_are_warned_of():
    organs = ["lung", "liver", "brain", "heart", "skin", "bone", "eye", "nerve"]
    rows = predictions((f"image of the {organ}", [f"image of the {organ}"]) for organ in organs)
    right = {row["image_id"]: row["references"][0] for row in rows}
    wrong = dict.fromkeys(right, "image of the tongue")
    for nearest, warned in ((right, True), (wrong, False)):
        scores = score(rows, nearest=nearest, bootstrap=Bootstrap(resamples=200))
        assert any("found and not written" in line for line in scores["warnings"]) == warned
        assert (scores["above_nearest"]["difference"] > 0) != warned
    assert scores["nearest"]["exact_match"]["value"] == 0


def test_a_picture_is_never_its_own_nearest_neighbour():
    features = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.2]], np.float32)
    ids = ["a", "b", "c", "d"]
    assert nearest_others(ids, features, ids, features)[:2] == ["b", "a"]
    assert nearest_others(["new", "a"], features[[3, 0]], ids, features) == ["d", "b"]
    assert nearest_others(["a"], features[:1], ["a"], features[:1]) == [None]


@pytest.mark.parametrize("pictures", [1, 5])
def test_cider_is_undefined_where_all_references_are_the_same_and_no_caption_could_have_more_than_0(pictures):
    rows = predictions([("a red gland", ["a red gland"])] * pictures)
    scores = score(rows, train=[{"caption": "fat"}], bootstrap=Bootstrap(resamples=50))
    assert scores["overall"]["cider_d"]["value"] is None and scores["overall"]["exact_match"]["value"] == 1
    assert scores["above_baseline"]["difference"] is None
    assert any("CIDEr-D is not defined" in line for line in scores["warnings"])
    assert not any("surely" in line for line in scores["warnings"])  # nothing follows from 0 against 0


def test_cider_of_a_level_is_undefined_where_its_references_say_what_all_say():
    rows = predictions([("a gland", ["a gland"])] * 3 + [("fat", ["a gland", "fat"]), ("fat", ["a gland", "fat"])])
    rows = [row | {"organ": "skin" if i < 3 else "bone"} for i, row in enumerate(rows)]
    scores = score(rows, breakdown=["organ"], bootstrap=NO_INTERVALS)
    assert scores["by"]["organ"]["skin"]["cider_d"]["value"] is None
    assert scores["by"]["organ"]["bone"]["cider_d"]["value"] > 0
    assert scores["overall"]["cider_d"]["n"] == 5  # defined: the three count with the 0 that pycocoevalcap gives them


def test_captions_that_stop_at_the_limit_and_terms_that_nobody_names_are_told():
    """Both were numbers without a word: of the beginnings of captions, and none at all."""
    rows = predictions([("a gland", ["a gland and a vessel"]), ("fat", ["fat"])])
    said = score([{**rows[0], "unfinished": True}, {**rows[1], "unfinished": False}], terms={"corps": []})["warnings"]
    assert any(line.startswith("1 of 2 captions stops at caption.max_length") for line in said)
    assert any("no reference names any of the terms" in line for line in said)
    said = score(rows, terms={"fat": []})["warnings"]
    assert not any("max_length" in line or "no reference names" in line for line in said)
