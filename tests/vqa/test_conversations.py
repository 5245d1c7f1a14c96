"""How much of a score needs the conversation: cases made by hand, and a run's own answers."""

import json
from html import escape

from blipvqa import evaluate, fine_tune, load_results, views
from blipvqa.data.history import Turn
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.vqa.baselines import blind_predictions
from blipvqa.vqa.conversations import as_own_turns, score_history, turn_partners, with_turns
from blipvqa.vqa.review import write_review
from blipvqa.vqa.turns import conversation

BOOTSTRAP = Bootstrap(resamples=200)


def row(number, image, about, answer, question="what colour is it?"):
    turns = [Turn(question="what is there?", answer=about)] if about else None
    return {"id": f"test/{number}", "image_id": image, "question": question, "answer": answer, "history": turns}


def pictures(count):
    """Of each picture one question after two conversations with two answers, and one without any."""
    rows = []
    for i in range(count):
        rows += [
            row(3 * i, f"p{i}", "fat", "white"),
            row(3 * i + 1, f"p{i}", "vessel", "red"),
            row(3 * i + 2, f"p{i}", None, "yes", "is it tissue?"),
        ]
    return rows


def answered(rows, said):
    return [one | {"prediction": text, "score": -1.0} for one, text in zip(rows, said, strict=True)]


def reads(one):
    turns = one["history"]
    return {"fat": "white", "vessel": "red"}[turns[-1]["answer"]] if turns else "yes"


def judged(rows, answer):
    """The scores of a model that answers `answer(row)`."""
    partners = turn_partners(rows, 0)
    own = answered(rows, [answer(one) for one in rows])
    dropped = [rows[i] | {"history": None} for i in with_turns(rows)]
    exchanged = [rows[i] | {"history": rows[j]["history"]} for i, j in partners.items()]
    without = as_own_turns(rows, answered(dropped, [answer(one) for one in dropped]))
    others = as_own_turns(rows, answered(exchanged, [answer(one) for one in exchanged]), seed=0)
    return score_history(own, without, others, BOOTSTRAP)


def test_a_row_gets_the_turns_of_the_same_question_about_its_picture_with_another_answer():
    partners = turn_partners(pictures(4), seed=0)
    assert partners == {3 * i + k: 3 * i + 1 - k for i in range(4) for k in (0, 1)}
    elsewhere = [row(0, "a", "fat", "white"), row(1, "b", "fat", "white"), row(2, "c", "vessel", "red")]
    assert turn_partners(elsewhere, seed=0)[0] == turn_partners(elsewhere, seed=0)[1] == 2
    alone = [row(0, "a", "fat", "white"), row(1, "a", "vessel", "red", "what size is it?")]
    assert turn_partners(alone, seed=0) == {0: 1, 1: 0}  # no such question: any other conversation
    assert turn_partners(alone[:1], seed=0) == turn_partners([row(0, "a", None, "x")], seed=0) == {}


def test_who_reads_the_turns_follows_them_and_who_does_not_loses_nothing():
    rows = pictures(40)
    reader, guesser = judged(rows, reads), judged(rows, lambda one: "white")
    assert reader["own"]["exact_match"]["value"] == 1 and reader["own"]["exact_match"]["n"] == 80
    for name in ("dropped", "exchanged"):
        gap = reader["gap"][name]
        assert (gap["difference"], gap["n"], gap["real"]) == (1, 80, True) and gap["low"] > 0.9
        assert reader["sensitivity"][name]["value"] == 1
        assert guesser["gap"][name]["difference"] == 0 and guesser["sensitivity"][name]["value"] == 0
    assert reader["followed"]["value"] == 1 and guesser["followed"]["value"] == 0 and guesser["stayed"]["value"] == 1


def test_whoever_follows_the_turns_may_say_any_of_several_right_answers():
    rows = [one | {"answers": [one["answer"], f"rather {one['answer']}"]} for one in pictures(20)]
    reader = judged(rows, lambda one: f"rather {reads(one)}")
    assert reader["followed"]["value"] == 1 and reader["followed"]["n"] == 40
    alike = [row(0, "a", "fat", "white"), row(1, "a", "vessel", "red") | {"answers": ["red", "white"]}]
    others = as_own_turns(alike, answered(alike, ["white", "white"]), seed=0)
    assert score_history(answered(alike, ["white", "white"]), others, others, BOOTSTRAP)["followed"]["n"] == 0


def test_who_never_sees_a_picture_reads_the_turns_too():
    train, test = pictures(20), pictures(30)[60:]
    for name in ("whole_question", "question_words"):
        said = blind_predictions(train, test)[name]
        assert [row["prediction"] for row in said] == [row["answer"] for row in test]
    unheard = [row(0, "z", "gland", "red")]
    assert (
        blind_predictions([*train, row(99, "y", "nerve", "red")], unheard)["whole_question"][0]["prediction"] == "red"
    )


def test_without_another_conversation_the_numbers_are_null():
    scores = judged([row(0, "a", "fat", "white")], reads)
    assert scores["exchanged"]["exact_match"] == {"value": None, "n": 0, "groups": 0, "low": None, "high": None}
    assert scores["gap"]["exchanged"]["difference"] is None and scores["followed"]["value"] is None
    unknown = judged([row(0, "a", "fat", "white"), row(1, "b", "vessel", "red")], reads)
    assert unknown["followed"]["value"] is None and unknown["gap"]["exchanged"]["difference"] == 1


def test_a_run_measures_it_and_its_pages_say_it(tiny):
    drawn = {"images": {"train": 8, "validation": 3, "test": 4}, "size": 48, "dialogues": True}
    config = tiny("talk", data__synthetic=drawn, data__max_question_tokens=60, train__epochs=1)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=20)
    scores = json.loads((run.folder / "metrics-test.json").read_text(encoding="utf-8"))
    turns = sum(bool(line["history"]) for line in run.predictions("test"))
    for name in ("own", "dropped", "exchanged"):
        assert scores["history"][name]["exact_match"]["n"] == turns > 0
    assert scores["grounding"]["shuffled"]["overall"]["exact_match"]["n"] == len(run.predictions("test"))
    page = views(config).report(load_results(config))
    assert "Does it need the conversation?" in page and "another conversation in its place" in page
    after = next(line for line in run.predictions("test") if line["history"])
    assert escape(conversation(after)[:60]) in page
    sheet = write_review(run.predictions("test"), run.folder).read_text(encoding="utf-8-sig")
    assert conversation(after) in sheet and sheet.startswith("id,image,conversation,question")
