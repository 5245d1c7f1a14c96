"""Ranks among a row's own candidates: cases worked by hand, and a model's ranking against its own losses."""

import json

import numpy as np
import pytest
from PIL import Image

from blipvqa import evaluate, fine_tune, load_config, load_results, views
from blipvqa.data.split_names import SourceError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.ranks import ndcg
from blipvqa.vqa.candidate_ranks import score_candidates

LETTERS = [f"answer {i}" for i in range(12)]


def ranked(rank, number=0, relevance=None):
    """A row whose answer stands at this place among twelve candidates."""
    scores = {LETTERS[0]: -float(rank)} | {letter: -float(i + (i >= rank)) for i, letter in enumerate(LETTERS[1:], 1)}
    return {
        "id": f"test/{number}",
        "image_id": f"p{number}",
        "question": "what is it?",
        "answer": "Answer 0",
        "candidates": LETTERS,
        "scores": [scores[letter] for letter in LETTERS],
        "relevance": relevance,
    }


def values(rows, of="overall"):
    return {name: one["value"] for name, one in score_candidates(rows, Bootstrap(resamples=50))[of].items()}


def test_ranks_of_one_two_and_eleven_by_hand():
    scores = values([ranked(1, 0), ranked(2, 1), ranked(11, 2)])
    assert scores["answer_mrr"] == pytest.approx((1 + 1 / 2 + 1 / 11) / 3)
    assert [scores[f"answer_r{k}"] for k in (1, 5, 10)] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert scores["answer_mean_rank"] == pytest.approx(14 / 3)
    assert scores["answer_ndcg"] is None


def test_ties_go_against_the_answer_and_two_right_candidates_count_by_the_better():
    row = ranked(1) | {"scores": [0.0] * 12}
    assert values([row])["answer_mean_rank"] == 12
    twice = ranked(5) | {"candidates": [*LETTERS[:11], "answer 0."], "scores": [-5.0, *range(-6, -16, -1), 0.0]}
    assert values([twice])["answer_mean_rank"] == 1


def test_an_answer_that_is_no_candidate_has_no_rank_and_is_counted():
    scores = score_candidates([ranked(1), ranked(1, 1) | {"answer": "else"}], Bootstrap(resamples=50))
    assert scores["without"] == 1 and scores["overall"]["answer_mrr"]["n"] == 1
    assert values([ranked(1) | {"answer": "else"}])["answer_mrr"] is None


def test_chance_is_that_of_a_random_order():
    scores = values([ranked(3)], "chance")
    assert scores["answer_mrr"] == pytest.approx(sum(1 / n for n in range(1, 13)) / 12)
    assert (scores["answer_r5"], scores["answer_mean_rank"]) == (pytest.approx(5 / 12), pytest.approx(6.5))
    assert scores["answer_ndcg"] is None
    several = ranked(1) | {"candidates": ["answer 0", "answer 0", "x", "y"], "scores": [0, -1, -2, -3]}
    # of 6 orders of two right ones among four the first stands at 1, 1, 1, 2, 2, 3
    assert values([several], "chance")["answer_mrr"] == pytest.approx((3 + 2 / 2 + 1 / 3) / 6)


def test_ndcg_by_hand():
    relevance = np.array([1.0, 0.5, 0.0, 0.0])
    best = 1 + 0.5 / np.log2(3)
    assert ndcg(np.array([4.0, 3.0, 2.0, 1.0]), relevance) == 1
    assert ndcg(np.array([3.0, 4.0, 2.0, 1.0]), relevance) == pytest.approx((0.5 + 1 / np.log2(3)) / best)
    assert ndcg(np.array([2.0, 4.0, 3.0, 1.0]), relevance) == pytest.approx(0.5 / best)  # only the first two count
    assert ndcg(np.array([1.0, 1.0, 1.0, 1.0]), relevance) == 0  # of equal scores the least relevant is first
    assert ndcg(np.array([1.0, 2.0]), np.zeros(2)) is None
    assert values([ranked(1, relevance=[0.0, 1.0] + [0.0] * 10)])["answer_ndcg"] == 0


@pytest.fixture
def source(root):
    """A tiny source whose rows bring four candidates each."""
    folder = root / "mine"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(
            folder / f"{i}.png"
        )
    rows = [
        {"image": f"{i}.png", "question": "what is it?", "answer": ["fat", "gland"][i % 2]}
        | {"candidates": ["gland", "fat", "a vessel", "no"], "relevance": [1, 0.5, 0, 0]}
        for i in range(6)
    ]
    for split, chosen in (("train", rows[:3]), ("validation", rows[3:4]), ("test", rows[4:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    return folder, rows


def config_of(**overrides):
    from conftest import TINY

    return load_config(None, TINY | {"data.source": "mine", "train.epochs": 1} | overrides, "ranks")


def test_a_run_ranks_the_candidates_of_its_rows_and_its_page_says_so(source):
    config = config_of()
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=20, grounding=False, start=False)
    scores = json.loads((run.folder / "metrics-test.json").read_text(encoding="utf-8"))["candidates"]
    assert scores["without"] == 0 and scores["overall"]["answer_ndcg"]["n"] == 2
    stored = [json.loads(line) for line in (run.folder / "answers/test-candidates.jsonl").read_text().splitlines()]
    of_row = next(row for row in stored if "scores" in row)
    best = of_row["candidates"][int(np.argmax(of_row["scores"]))]
    (source[0] / "words.txt").write_text("\n".join(of_row["candidates"]))
    listed = config_of(**{"generate.method": "rank", "generate.candidates": "mine/words.txt"})
    ranked_run = evaluate(listed, progress=False, resamples=20, grounding=False, start=False)
    predicted = {row["id"]: row["prediction"] for row in ranked_run.predictions("test")}
    assert predicted[of_row["id"]] == best  # as the method rank chooses of the same texts
    assert "The answer among its candidates" in views(config).report(load_results(config))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"candidates": ["fat"]}, "column candidates: 1 of them"),
        ({"candidates": ["fat", 3]}, "column candidates: found a number"),
        ({"candidates": "[fat"}, "column candidates: .* is no list in JSON"),
        ({"relevance": [1, 0]}, "column relevance: found 2 numbers, expected a number for each of 4 candidates"),
        ({"relevance": [1, 0, 0, -1]}, "column relevance: found -1"),
        ({"relevance": 1}, "column relevance: found a number"),
    ],
)
def test_what_are_no_candidates_is_named_by_row(source, wrong, problem):
    folder, rows = source
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[:3], rows[0] | wrong]))
    from blipvqa import load_splits

    with pytest.raises(SourceError, match=f"line 4 of train.jsonl: {problem}"):
        load_splits(config_of())
