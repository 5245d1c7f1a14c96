"""A run with patients: its predictions carry the group that the cut used, and its intervals draw that group."""

import json

from blipvqa import evaluate, fine_tune, load_splits


def test_intervals_draw_the_groups_that_the_cut_used(folder, tiny):
    lines = [
        {"image": f"images/{i // 2}.png", "question": f"is it {i}?", "answer": ("yes", "no")[i % 2], "id": f"p{i // 8}"}
        for i in range(40)
    ]
    lines[9]["id"] = "p0"  # one of p1's pictures stands under p0 too
    lines[39]["id"] = None
    for split, some in (("train", lines[:24]), ("test", lines[24:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in some), encoding="utf-8")
    config = tiny(data__source="mine", data__group_column="id", train__epochs=1)
    splits = load_splits(config)
    sides = [{row["group_id"] for row in splits[split].rows} for split in ("train", "validation", "test")]
    assert sides[0] | sides[1] == {"p0", "p2"} and not sides[0] & sides[1]
    assert sides[2] == {"p3", "p4"}  # the row without a patient shares its picture with p4's
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=50, grounding=False, start=False)
    predictions = run.predictions("test")
    assert [row["group_id"] for row in predictions] == [row["group_id"] for row in splits["test"].rows]
    assert {row["id (data)"] for row in predictions} == {"p3", "p4", None}
    assert run.metrics("test")["group"] == "group_id"
