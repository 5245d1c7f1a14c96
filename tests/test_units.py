"""What intervals are drawn over is named as what it is: patients are no pictures, in every task's warnings and tables."""

import pytest

from blipvqa import captions, pairs, retrieval, vqa
from blipvqa.captions import tables as caption_tables
from blipvqa.captions.scores import score as score_captions
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.grouping import few_levels_notes
from blipvqa.pairs import tables as pair_tables
from blipvqa.pairs.scores import score as score_pairs
from blipvqa.retrieval import tables as retrieval_tables
from blipvqa.retrieval.scores import score as score_searches
from blipvqa.vqa import tables as question_tables
from blipvqa.vqa.scores import score as score_answers

SEARCH = {"rank": 1, "itc_rank": 1, "exchanged": 2, "itc_exchanged": 2, "nearest": []}
OWN = {  # of each task: what a row says beside its ids
    vqa: {"question": "is it?", "answer": "yes", "prediction": "yes", "score": -0.1, "yes_probability": 0.9},
    captions: {"prediction": "a gland", "references": ["a gland"]},
    retrieval: {"caption": "a gland", "img": SEARCH, "txt": SEARCH, "match": 0.9, "match_other": 0.1},
    pairs: {"sentence": "both", "label": "true", "prediction": "true", "probability": 0.9, "order": "not named"},
}
SCORED = {
    vqa: (score_answers, question_tables.metrics_table, "questions", "images"),
    captions: (score_captions, caption_tables.metrics_table, "pictures", "pictures"),
    retrieval: (score_searches, retrieval_tables.metrics_table, "searches", "pictures"),
    pairs: (score_pairs, pair_tables.metrics_table, "statements", "pairs"),
}


@pytest.mark.parametrize("task", SCORED, ids=lambda task: task.__name__.rpartition(".")[2])
@pytest.mark.parametrize("column", ["image_id", "group_id"])
def test_the_unit_of_intervals_is_told(task, column):
    score, metrics_table, counted, images = SCORED[task]
    rows = [
        {"id": f"test/{i}", "image_id": f"{i:016x}", "group_id": f"patient {i // 2}", **OWN[task]} for i in range(8)
    ]
    rows = [row | {"site": "north"} for row in rows]
    scores = score(rows, breakdown=["site"], bootstrap=Bootstrap(column, resamples=50)) | {"split": "test"}
    number, unit = (8, images) if column == "image_id" else (4, "groups")
    assert scores["group"] == column
    assert f"everything rests on {number} {unit} only: believe the intervals, not the values" in scores["warnings"]
    assert f"site: fewer than 10 {unit} in north (8 on {number}): examples, no facts" in scores["warnings"]
    heading = counted if counted == unit else f"{counted} ({unit})"
    assert f">{heading}</th>" in str(metrics_table(scores))


def test_levels_that_are_too_few_are_counted_where_there_are_many():
    levels = {f"level {i}": {"n": 3, "groups": 2} for i in range(8)} | {"large": {"n": 90, "groups": 30}}
    (note,) = few_levels_notes("site", levels, "groups")
    assert note.endswith("level 4 (3 on 2) and 3 more: examples, no facts") and "large" not in note
