"""Drawn conversations: follow-ups that only the turns before them give a meaning, with answers that the scene gives."""

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from blipvqa import load_splits
from blipvqa.data.history import history_of
from blipvqa.data.synthetic_dialogues import FOLLOWING, NOTHING, THINGS, dialogue_scene, dialogues_about
from blipvqa.data.synthetic_questions import PLACES
from blipvqa.vqa.baselines import by_words
from blipvqa.vqa.turns import conversation


@pytest.fixture(scope="module")
def talks():
    """(scene, its rows) of many pictures, without drawing them."""
    rng, boxes = np.random.default_rng(0), dict.fromkeys(PLACES, (0.0, 0.0, 0.5, 0.5))
    return [(scene, dialogues_about(scene, boxes, rng)) for scene in (dialogue_scene(rng) for _ in range(2000))]


def follow_ups(rows):
    return [row for row in rows if row["topic"] in FOLLOWING]


def test_it_is_what_was_spoken_of_last(talks):
    beside = {PLACES[0]: PLACES[1], PLACES[1]: PLACES[0], PLACES[2]: PLACES[3], PLACES[3]: PLACES[2]}
    over = {PLACES[0]: PLACES[2], PLACES[2]: PLACES[0], PLACES[1]: PLACES[3], PLACES[3]: PLACES[1]}
    for scene, rows in talks[:300]:
        place_of, it = {kind: place for place, kind in scene.objects.items()}, None
        for row in rows:
            assert len(history_of(row)) == int(row["turn"]) - 1
            question, answer = row["question"], row["answer"]
            if row["topic"] in ("presence", "location"):
                named = next((kind for kind in place_of if kind in question), None)
                assert (named is None) == (answer == "no")
                it = place_of.get(named, it)
            elif row["topic"] == "structure":
                it = place_of[answer]
            elif row["topic"] == "where":
                assert answer == it
            elif row["topic"] == "half":
                assert (answer == "yes") == (question.split()[4] in it.split())
            elif row["topic"] in ("beside", "over"):
                there = {"beside": beside, "over": over}[row["topic"]][it]
                assert answer == scene.objects.get(there, NOTHING)
                it = there if answer != NOTHING else it


def test_a_follow_up_alone_has_several_answers_in_one_picture(talks):
    answers = defaultdict(set)
    for number, (scene, rows) in enumerate(talks):
        assert len(set(scene.objects.values())) == THINGS
        for row in follow_ups(rows):
            answers[number, row["question"]].add(row["answer"])
    asked_twice = [
        len(answers[number, question])
        for number, (_, rows) in enumerate(talks)
        for question, n in Counter(row["question"] for row in follow_ups(rows)).items()
        if n > 1
    ]
    assert np.mean(np.array(asked_twice) > 1) > 0.6
    asked = [row for _, rows in talks for row in follow_ups(rows)]
    for topic, most in {"where": 0.35, "half": 0.6, "colour": 0.3, "beside": 0.4, "over": 0.4}.items():
        said = Counter(row["answer"] for row in asked if row["topic"] == topic)
        assert max(said.values()) / said.total() < most


def test_the_turns_alone_do_not_answer_what_lies_beside(talks):
    """A model of all words that never sees the picture is little above the commonest answer."""
    rows = [row for _, of_scene in talks for row in of_scene if row["topic"] in ("beside", "over")]
    train, test = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    words = [{**row, "question": f"{conversation(row)} {row['question']}"} for row in train]
    said = by_words(words, [f"{conversation(row)} {row['question']}" for row in test])
    assert np.mean([row["answer"] == answer for row, answer in zip(test, said, strict=True)]) < 0.42


def test_they_are_a_source_like_any_other_with_their_turns_as_history(tiny):
    splits = load_splits(tiny(data__synthetic__dialogues=True))
    rows = splits["train"].rows
    assert {row["turn"] for row in rows} >= {"1", "2", "3", "4"} and splits["train"].breakdown == ["topic", "turn"]
    for row, after in pairwise(rows):
        turns = history_of(after)
        if turns:
            assert turns[-1] == {"question": row["question"], "answer": row["answer"]}
    alone = load_splits(tiny(data__synthetic__dialogues=True, data__history=False))["train"].rows
    assert [row["question"] for row in alone] == [row["question"] for row in rows]
    assert not any(history_of(row) for row in alone)
