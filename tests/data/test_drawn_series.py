"""Drawn pairs and series: reproducible, balanced, and with questions that no single picture answers."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from blipvqa import load_splits
from blipvqa.data import synthetic_several
from blipvqa.data.split_names import SourceError
from blipvqa.data.synthetic_several import NUMBERS, ORDER, SLICES, random_pictures


@pytest.fixture(scope="module", params=["pairs", "series"])
def drawn(request):
    kind = request.param
    return kind, [random_pictures(kind, 32, np.random.default_rng([5, i])) for i in range(60)]


def test_the_same_seed_draws_the_same_and_slices_are_of_one_tissue(drawn):
    kind, rows = drawn
    again, questions = random_pictures(kind, 32, np.random.default_rng([5, 7]))
    assert questions == rows[7][1]
    assert [one.tobytes() for one in again] == [one.tobytes() for one in rows[7][0]]
    assert {len(pictures) for pictures, _ in rows} == {2 if kind == "pairs" else SLICES}
    means = np.array([[np.asarray(one).mean((0, 1)) for one in pictures[:2]] for pictures, _ in rows])
    spread = np.abs(means[:, 0] - means[:, 1]).mean()
    assert spread > 8 if kind == "pairs" else spread < 8


def test_no_question_is_asked_twice_and_no_answer_is_a_good_guess(drawn):
    _, rows = drawn
    by_topic = defaultdict(Counter)
    for _, questions in rows:
        assert len({q["question"] for q in questions}) == len(questions)
        for q in questions:
            by_topic[q["topic"]][q["answer"]] += 1
    guessed = {topic: max(counts.values()) / sum(counts.values()) for topic, counts in by_topic.items()}
    assert max(guessed.values()) < 0.66, guessed
    assert len(by_topic) == (6 if "both" in by_topic else 3)


def test_the_first_slice_of_a_series_leaves_its_answers_open(monkeypatch):
    """How large a thing is in it says nothing of growing; that it is there says no more than that."""
    drawn = []
    monkeypatch.setattr(synthetic_several, "draw_slices", lambda scene, sizes, *_: drawn.append((scene, sizes)))
    by_size, present = defaultdict(set), defaultdict(Counter)
    for i in range(400):
        _, questions = random_pictures("series", 32, np.random.default_rng([6, i]))
        scene, sizes = drawn[-1]
        for q in questions:
            place = next(place for place, kind in scene.objects.items() if kind in q["question"])
            assert len(sizes[place]) == SLICES
            seen = [size for size in sizes[place] if size]
            if q["topic"] == "grows":
                by_size[round(seen[0], 6)].add(q["answer"])
                assert (q["answer"] == "yes") == (seen[-1] > seen[0])
            else:
                right = ORDER[sizes[place].index(seen[0])] if q["topic"] == "appears" else NUMBERS[len(seen) - 1]
                assert q["answer"] == right
                present[q["topic"], sizes[place][0] > 0][q["answer"]] += 1
    assert list(by_size.values()) == [{"yes", "no"}]
    for topic in ("appears", "slices"):
        counts = [present[topic, there] for there in (True, False)]
        guessed = sum(max(of.values()) for of in counts) / sum(sum(of.values()) for of in counts)
        assert guessed < 0.56, (topic, counts)  # by the best guess that the first slice allows


def test_they_are_loaded_as_rows_of_several_pictures(tiny):
    synthetic = {"images": {"train": 3, "validation": 1, "test": 1}, "size": 48, "pictures": "series"}
    data = load_splits(tiny(data__synthetic=synthetic))["train"]
    assert {len(row["image_ids"]) for row in data.rows} == {4}
    assert len({row["image_id"] for row in data.rows}) == 3 and "box" not in data.columns
    assert data.breakdown == ["topic"]
    with pytest.raises(SourceError, match="pictures: series is not drawn for task: caption, expected one"):
        load_splits(tiny(data__synthetic=synthetic, task="caption"))
