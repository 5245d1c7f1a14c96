"""Numbers of searches: both directions, chance beside them, exchange, matching as a yes/no question, warnings."""

import numpy as np
import pytest

from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.retrieval.measures import MEASURES
from blipvqa.retrieval.scores import score, short_list_notes


def rows(ranks, exchanged=None, itc=None, **columns):
    """One text a picture: the rank of each text's picture, the same by picture."""
    exchanged, itc = exchanged or [9] * len(ranks), itc or ranks
    searches = [
        {"rank": rank, "itc_rank": by_cosine, "exchanged": other, "itc_exchanged": other, "nearest": []}
        for rank, by_cosine, other in zip(ranks, itc, exchanged, strict=True)
    ]
    return [
        {
            "id": f"test/{i}",
            "image_id": str(i),
            "caption": f"text {i}",
            "img": search,
            "txt": search,
            "match": 0.9 - 0.001 * i,
            "match_other": 0.2 + 0.001 * i,
            **{name: values[i] for name, values in columns.items()},
        }
        for i, search in enumerate(searches)
    ]


FAST = Bootstrap(resamples=100)


def test_recalls_means_and_ranks_with_intervals_and_counts():
    scores = score(rows([1, 2, 6, 11] * 10), bootstrap=FAST)
    overall = scores["overall"]
    assert [overall[f"img_r{k}"]["value"] for k in (1, 5, 10)] == [0.25, 0.5, 0.75]
    assert overall["r_mean"]["value"] == overall["txt_r_mean"]["value"] == 0.5
    assert overall["img_median_rank"]["value"] == 4 and overall["img_mean_rank"]["value"] == 5
    assert overall["img_r1"]["n"] == 40 and overall["img_r1"]["low"] < 0.25 < overall["img_r1"]["high"]
    assert scores["gallery"] == {"pictures": 40, "texts": 40, "shared": 0}


def test_chance_stands_beside_every_measure_and_knows_several_right_ones():
    scores = score(rows([1] * 40), bootstrap=FAST)
    chance = scores["chance"]
    assert chance["img_r1"]["value"] == pytest.approx(1 / 40) and chance["img_r10"]["value"] == pytest.approx(0.25)
    assert chance["img_mean_rank"]["value"] == pytest.approx(20.5) and chance["img_median_rank"]["value"] == 20
    assert all(name in chance for name in MEASURES if not name.startswith("itc_"))
    shared = [row | {"caption": "The same."} for row in rows([1] * 40)]
    assert score(shared, bootstrap=FAST)["chance"]["img_r1"]["value"] == 1


def test_the_exchange_says_whether_it_looks():
    looks = score(rows([1] * 40, exchanged=list(range(1, 41))), bootstrap=FAST)
    assert looks["needs_picture"]["real"] and looks["needs_picture"]["difference"] > 0.7
    assert not any("may not look" in text for text in looks["warnings"])
    blind = score(rows([20] * 40, exchanged=[20] * 40), bootstrap=FAST)
    assert any("may not look" in text for text in blind["warnings"])


def test_matching_that_makes_the_order_worse_is_said():
    scores = score(rows([9] * 40, itc=[1] * 40), bootstrap=FAST)
    assert scores["matched_gain"]["a"] == 1 and scores["matched_gain"]["b"] == pytest.approx(1 / 3)
    assert any("worse than the cosine alone" in text for text in scores["warnings"])
    assert scores["overall"]["itc_r_mean"]["value"] == 1


def test_matching_is_a_yes_no_question_with_auroc_and_calibration():
    matching = score(rows([1] * 40), bootstrap=FAST)["matching"]
    assert matching["auroc"]["value"] == matching["accuracy"]["value"] == 1 and matching["auroc"]["n"] == 80
    assert matching["calibration"]["value"] == pytest.approx(0.17, abs=0.05) and len(matching["bins"]) == 10
    alone = score([rows([1])[0] | {"match_other": None}], bootstrap=FAST)
    assert alone["matching"]["auroc"]["value"] is None and "needs_picture" not in alone


def test_further_texts_of_a_picture_search_pictures_only():
    two = rows([1, 3])
    two[1] |= {"image_id": "0", "txt": None}
    overall = score(two, bootstrap=FAST)["overall"]
    assert overall["img_r1"]["n"] == 2 and overall["txt_r1"]["n"] == 1
    assert overall["txt_r1"]["value"] == 1 and overall["img_r1"]["value"] == 0.5


def test_levels_of_a_column_are_scored_over_the_whole_gallery():
    scores = score(rows([1, 30] * 20, stain=["silver", "other"] * 20), breakdown=["stain"], bootstrap=FAST)
    assert scores["by"]["stain"]["silver"]["img_r1"]["value"] == 1
    assert scores["by"]["stain"]["other"]["img_r10"]["value"] == 0


def test_warnings_name_small_galleries_few_images_shared_texts_and_no_predictions():
    few = " ".join(score(rows([1, 2, 3, 1]), bootstrap=FAST)["warnings"])
    assert "4 pictures only" in few and "chance alone has R@10" in few
    shared = [row | {"caption": f"text {i // 2}"} for i, row in enumerate(rows([1] * 60))]
    assert any("describe several pictures" in text for text in score(shared, bootstrap=FAST)["warnings"])
    nothing = score([], bootstrap=FAST)
    assert nothing["overall"]["r_mean"]["value"] is None and "no predictions" in nothing["warnings"][0]


def test_what_is_missing_or_twice_is_named():
    with pytest.raises(InputError, match="has no img"):
        score([{"id": "a", "image_id": "x", "caption": "y"}])
    with pytest.raises(InputError, match="there twice"):
        score(rows([1]) * 2)
    assert np.isfinite(score(rows([1, 1]), bootstrap=FAST)["overall"]["r_mean"]["value"])


def test_a_shortlist_that_is_shorter_than_the_recalls_ask_for_is_said():
    sizes = {"pictures": 140, "texts": 280, "shared": 0}
    assert "match 10 or more" in short_list_notes(sizes | {"matched": 5})[0]
    assert short_list_notes(sizes | {"matched": 10}) == short_list_notes(sizes | {"matched": 0}) == []
    assert short_list_notes({"pictures": 4, "texts": 4, "shared": 0, "matched": 4}) == []


def test_what_matching_changes_is_told_only_where_enough_was_matched():
    """Of five matched candidates R@10 is R@5: an order that is not worse had a smaller mean R, and was called worse."""
    beyond = rows([41 if itc > 5 else itc for itc in range(1, 41)], itc=list(range(1, 41)))
    short, full, unmatched = (score(beyond, bootstrap=FAST, matched=matched) for matched in (5, 10, 0))
    assert "matched_gain" not in short and not any("worse than" in text for text in short["warnings"])
    assert any("match 10 or more" in text for text in short["warnings"])
    assert full["matched_gain"]["difference"] < 0 and "matched_gain" not in unmatched
    assert [scores["gallery"]["matched"] for scores in (short, full, unmatched)] == [5, 10, 0]
