"""Published sets in which something does not fit together: named, and never guessed."""

import csv
import json

import pytest
from small_sources import jsonl, png, rows, splits_of

from blipvqa.data.split_names import SourceError


def questions(count=8):
    return [
        {"question_id": i, "image_id": i, "image": f"images/{i}.png", "question": f"what {i}?"} for i in range(count)
    ]


def annotations(count=8):
    return [
        {"question_id": i, "image_id": i, "answers": [{"answer": f"a{i}"}] * 3, "multiple_choice_answer": f"a{i}"}
        for i in range(count)
    ]


def write_vqa_v2(folder, asked, answered):
    (folder / "train_questions.json").write_text(json.dumps({"questions": asked}))
    (folder / "train_annotations.json").write_text(json.dumps({"annotations": answered}))


def write_csv(path, lines):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


MISFITS = {
    "annotated twice": (
        lambda q, a: a.append({**a[0], "multiple_choice_answer": "b"}),
        "1 question and 2 annotations",
    ),
    "asked twice": (lambda q, a: q.append({**q[0], "question": "another?"}), "2 questions and 1 annotation"),
    "no id": (lambda q, a: [each.pop("question_id") for each in (*q, *a)], "found nothing"),
    "no id but null": (lambda q, a: [each.update(question_id=None) for each in (*q, *a)], "found nothing"),
    "a list as id": (lambda q, a: [each.update(question_id=[1]) for each in (q[0], a[0])], "found a list"),
    "a number and its digits": (lambda q, a: q[0].update(question_id="0"), "has no annotation"),
    "of another picture": (lambda q, a: a[0].update(image_id=7), "is of image_id 0, its annotation of another"),
    "answers that are a number": (lambda q, a: a[0].update(answers=5), "column answers: found a number"),
    "no object": (lambda q, a: q.insert(0, "what?"), "it is no JSON object"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_question_and_an_annotation_that_do_not_fit_are_named(folder, name):
    """Before, the last annotation of a number counted, and all questions without one had the answer of one another."""
    change, problem = MISFITS[name]
    asked, answered = questions(), annotations()
    change(asked, answered)
    write_vqa_v2(folder, asked, answered)
    with pytest.raises(SourceError, match=f"element 1 of train_questions.json: .*{problem}"):
        splits_of()


def test_a_key_that_stands_twice_is_named_in_both_files(folder):
    for asked, answered in (('"question": "b?", ', ""), ("", '"multiple_choice_answer": "b", ')):
        write_vqa_v2(folder, questions(), annotations())
        for name, more in (("train_questions.json", asked), ("train_annotations.json", answered)):
            text = (folder / name).read_text()
            (folder / name).write_text(text.replace('"question_id": 0', f'{more}"question_id": 0', 1))
        with pytest.raises(SourceError, match=r"element 1 of train_questions.json: .*a key stands twice"):
            splits_of()


def test_one_answer_as_text_is_one_answer_and_further_annotations_are_counted(folder):
    """Before, "yes" became the answers y, e and s."""
    write_vqa_v2(folder, questions(6), [{**each, "answers": "yes"} for each in annotations(8)])
    splits = splits_of()
    assert splits["train"].rows[0]["answers"] == ["yes"]
    assert "train_annotations.json: 2 of its annotations belong to no question" in splits.notes


def test_two_files_of_a_layout_for_one_split_are_refused_by_name(folder):
    lines = [{"file_name": f"images/{i}.png", "question": f"what {i}?", "answer": "yes"} for i in range(6)]
    write_csv(folder / "metadata.csv", lines)
    jsonl(folder / "metadata.jsonl", lines)
    with pytest.raises(SourceError, match=r"train is in several files: metadata.csv and metadata.jsonl"):
        splits_of()
    (folder / "metadata.jsonl").unlink()
    for place in ("train", "val", "validation"):
        write_csv(folder / place / "metadata.csv", [{**lines[0], "file_name": "0.png"}])
    with pytest.raises(SourceError, match=r"train is in several files: metadata.csv and train/metadata.csv"):
        splits_of()
    (folder / "metadata.csv").unlink()
    with pytest.raises(SourceError, match=r"validation is in several files: val/metadata.csv and validation/metadata"):
        splits_of()
    for place in ("train", "val", "validation"):
        (folder / place / "metadata.csv").unlink()
    for name in ("train_vqa.json", "training_qa.json"):
        (folder / "qas").mkdir(exist_ok=True)
        (folder / "qas" / name).write_text(json.dumps([{"image": "0", "sent": "what?", "label": {"a": 1}}]))
    with pytest.raises(SourceError, match=r"train is in several files: qas/train_vqa.json and qas/training_qa.json"):
        splits_of()


def test_tables_that_are_no_part_of_a_layout_are_listed(folder):
    """Before, a `train.jsonl` beside `metadata.csv` was left aside without a word."""
    lines = [{"file_name": f"images/{i}.png", "question": f"what {i}?", "answer": "yes"} for i in range(6)]
    write_csv(folder / "metadata.csv", lines)
    jsonl(folder / "train.jsonl", rows(4))
    assert "not read, since they are no part of this layout: train.jsonl" in splits_of().notes


def test_a_second_column_that_may_name_the_picture_is_not_taken_in_silence(folder):
    """Before, the rows' own column `image` won over `file_name`."""
    lines = [
        {"file_name": f"images/{i}.png", "image": "images/9.png", "question": f"what {i}?", "answer": "yes"}
        for i in range(6)
    ]
    write_csv(folder / "metadata.csv", lines)
    with pytest.raises(SourceError, match=r"line 2 of metadata.csv: columns image and file_name may both name"):
        splits_of()
    splits = splits_of(data__columns={"file_name": "image"})
    assert len({row["image_id"] for split in splits.values() for row in split.rows}) == 6


def test_a_number_that_is_none_is_no_answer_in_vqa_rad(folder):
    """Python writes NaN into JSON; before, the answer was the word "nan"."""
    lines = [{"image_name": f"{i}.png", "question": "How many?", "answer": 2} for i in range(6)]
    lines[2]["answer"] = float("nan")
    (folder / "VQA_RAD.json").write_text(json.dumps(lines))
    with pytest.raises(SourceError, match=r"element 3 of VQA_RAD.json: column answer: found a number"):
        splits_of()


def test_a_row_of_an_imagefolder_without_a_name_is_named_and_hides_no_other(folder):
    """Before, what came after it was lost, or the error was "generator raised StopIteration"."""
    names = ["train/0.png", "train/1.png", None, "train/2.png", "test/3.png"]
    for number, name in enumerate(names):
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(png(number))
    lines = [{"file_name": name, "question": "where?", "answer": "here"} for name in names]
    del lines[2]["file_name"]
    jsonl(folder / "metadata.jsonl", lines)
    with pytest.raises(ValueError, match=r"row train/2: line 3 of metadata.jsonl: there is no image"):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert {split: len(data) for split, data in splits.items()} == {"train": 2, "validation": 1, "test": 1}
