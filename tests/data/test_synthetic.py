"""The drawn pictures: reproducible, with true boxes, and with questions that only the picture answers."""

import functools
import io
import itertools
import operator
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Image, load_dataset
from PIL import Image as Pillow

from blipvqa import load_splits
from blipvqa.data import formats, synthetic
from blipvqa.data.synthetic import write_synthetic
from blipvqa.data.synthetic_drawing import draw_scene
from blipvqa.data.synthetic_questions import KINDS, PLACES, STAINS, Scene, questions_about, random_scene

SPLITS = {"train": 60, "validation": 10, "test": 20}
SIZE = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "drawn"
    write_synthetic(folder, images=SPLITS, seed=7, size=SIZE)
    return folder


@pytest.fixture(scope="module")
def asked():
    """Train and test questions about many scenes, without drawing them."""
    rng = np.random.default_rng(0)
    boxes = dict.fromkeys(PLACES, (0.0, 0.0, 0.5, 0.5))
    pictures = [questions_about(random_scene(rng), boxes, rng) for _ in range(6000)]
    return functools.reduce(operator.iadd, pictures[:4000], []), functools.reduce(operator.iadd, pictures[4000:], [])


def read(folder, split):
    return pq.read_table(folder / f"{split}-00000-of-00001.parquet").to_pylist()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def first_word(row):
    return row["question"].split()[0]


def is_closed(row):
    return row["answer"] in ("yes", "no")


def majority_score(train, test, key):
    """How many test rows the most frequent train answer of their group gets right."""
    answers = defaultdict(Counter)
    for row in train:
        answers[key(row)][row["answer"]] += 1
    best = {group: counter.most_common(1)[0][0] for group, counter in answers.items()}
    return np.mean([best.get(key(row)) == row["answer"] for row in test])


# The folder


def test_a_reader_of_parquet_sees_images_and_columns(folder, tmp_path):
    names = {split: str(folder / f"{split}-00000-of-00001.parquet") for split in SPLITS}
    data = load_dataset("parquet", data_files=names, cache_dir=str(tmp_path))
    assert list(data) == list(SPLITS)
    assert data["train"].column_names == ["image", "question", "answer", "topic", "box"]
    assert isinstance(data["train"].features["image"], Image)
    row = data["test"][0]
    assert (row["image"].size, row["image"].mode, len(row["box"])) == ((SIZE, SIZE), "RGB", 4)


def test_rows_of_a_picture_follow_one_another_and_repeat_no_question(folder):
    for split, number in SPLITS.items():
        rows = read(folder, split)
        runs = [row["image"]["bytes"] for row in rows]
        assert 1 + sum(a != b for a, b in itertools.pairwise(runs)) == len(set(runs)) == number
        pictures = defaultdict(list)
        for row in rows:
            pictures[row["image"]["bytes"]].append(row["question"])
        assert all(6 <= len(set(asked)) == len(asked) <= 8 for asked in pictures.values())


def test_no_two_pictures_are_equal_within_or_across_splits(folder):
    pictures = {row["image"]["bytes"] for split in SPLITS for row in read(folder, split)}
    assert len(pictures) == sum(SPLITS.values())


def test_the_same_call_gives_the_same_bytes_and_another_seed_other_pictures(folder, tmp_path):
    write_synthetic(tmp_path / "again", images=SPLITS, seed=7, size=SIZE)
    assert files(tmp_path / "again") == files(folder)
    write_synthetic(tmp_path / "other", images=SPLITS, seed=8, size=SIZE)
    assert read(tmp_path / "other", "test")[0]["image"] != read(folder, "test")[0]["image"]


def test_more_pictures_in_one_split_leave_all_others_as_they_were(folder, tmp_path):
    write_synthetic(tmp_path / "more", images={"test": SPLITS["test"], "train": 63}, seed=7, size=SIZE)
    assert read(tmp_path / "more", "test") == read(folder, "test")
    train = read(folder, "train")
    assert read(tmp_path / "more", "train")[: len(train)] == train


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def write_one_then_fail(table, path, **settings):
        if path.name.startswith("test"):
            raise OSError("disk full")
        path.write_bytes(b"")

    monkeypatch.setattr(synthetic.pq, "write_table", write_one_then_fail)
    with pytest.raises(OSError, match="disk full"):
        write_synthetic(tmp_path / "drawn", images={"train": 1, "test": 1}, seed=0, size=32)
    assert list(tmp_path.iterdir()) == []


def test_writing_again_is_harmless_but_never_replaces_something_else(tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()  # an empty folder is as good as none
    write_synthetic(folder, images={"test": 2}, seed=0, size=32)
    before = files(folder)
    write_synthetic(folder, images={"test": 2}, seed=0, size=32)
    with pytest.raises(FileExistsError, match="drawn already exists and holds something else"):
        write_synthetic(folder, images={"test": 2}, seed=1, size=32)
    assert files(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": {}}, "images is empty"),
        ({"images": {"train": 0}}, r"images\['train'\] is 0; expected 1 or more"),
        ({"images": {"../train": 1}}, "images has a split '../train'"),
        ({"seed": -1}, "seed is -1"),
        ({"size": 8}, "size is 8 pixels; expected 32 to 512"),
        ({"size": 5000}, "size is 5000 pixels"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_synthetic(tmp_path / "drawn", **{"images": {"train": 1}, "seed": 0, "size": 32} | wrong)
    assert list(tmp_path.iterdir()) == []


# The pictures


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_is_tight_round_what_was_drawn(kind):
    """Everything that the object changes lies in its box, and the box reaches no further."""
    for number, (stain, place) in enumerate(zip(STAINS, PLACES, strict=True)):
        for size in (95, 96):  # an odd number of pixels has no exact middle
            pictures = []
            for objects in ({}, {place: kind}):
                scene = Scene(stain, crowded=True, pigment="brown", objects=objects, counted=None)
                picture, boxes = draw_scene(scene, size, np.random.default_rng(number))
                pictures.append(np.asarray(picture, dtype=float))
            # The grain after the object differs between the two; its standard deviation is 2.5.
            rows, columns = np.nonzero(np.abs(pictures[1] - pictures[0]).max(axis=-1) > 20)
            drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            box = np.array(boxes[place])
            assert np.abs(box * size - drawn).max() < 1.5  # pixels: those at the edge are half covered
            assert min(box[2:] - box[:2]) >= 0.18  # large enough to be learnt by a small model


def test_boxes_lie_in_the_picture_and_where_the_answer_says(folder):
    places = 0
    for row in read(folder, "train"):
        left, top, right, bottom = row["box"]
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        words = row["question"].replace("?", "").split()
        if row["topic"] == "location" and not is_closed(row):
            said = row["answer"].split()
        elif row["topic"] == "structure" or (row["topic"] == "location" and row["answer"] == "yes"):
            said = words
        else:
            continue
        places += 1
        checks = {"left": right <= 0.5, "right": left >= 0.5, "upper": bottom <= 0.5, "lower": top >= 0.5}
        assert all(holds for word, holds in checks.items() if word in said), row
    assert places > 60


def test_a_question_about_nothing_or_everything_has_the_whole_picture_as_its_box(folder):
    for row in read(folder, "train"):
        about_all = row["topic"] in ("stain", "cellularity")
        absent = row["topic"] in KINDS and row["answer"] == "no"
        whole = row["box"] == [0.0, 0.0, 1.0, 1.0]
        assert whole == (about_all or absent), row


def test_the_vessel_in_the_box_is_red_and_the_fat_white(folder):
    """A box that was mixed up with another object's would not show the right colour."""
    seen = Counter()
    for row in read(folder, "train"):
        if row["topic"] == "structure" and row["answer"] in ("vessel", "fat"):
            picture = Pillow.open(io.BytesIO(row["image"]["bytes"]))
            red, green, blue = np.asarray(picture.crop([round(x * SIZE) for x in row["box"]]), float).T
            signs = {"vessel": red - np.maximum(green, blue) > 90, "fat": np.minimum(green, blue) > 235}
            assert signs[row["answer"]].mean() > 0.25, row["question"]
            seen[row["answer"]] += 1
    assert min(seen["vessel"], seen["fat"]) >= 3


# The questions


def test_questions_have_the_style_of_pathvqa(asked):
    rows = asked[0]
    assert {first_word(row) for row in rows} == {"what", "where", "which", "how", "is", "does", "are"}
    assert len({row["topic"] for row in rows}) <= 12
    for row in rows:
        assert row["question"] == row["question"].lower() and row["question"].endswith("?")
        assert "{" not in row["question"] and "  " not in row["question"]
        assert row["answer"] == row["answer"].lower() and 1 <= len(row["answer"].split()) <= 3


def test_half_of_the_questions_are_yes_no_and_half_of_these_are_yes(asked):
    rows = asked[0]
    closed = [row for row in rows if is_closed(row)]
    assert 0.45 <= len(closed) / len(rows) <= 0.55
    for key in (first_word, lambda row: row["topic"]):
        for group in {key(row) for row in closed}:
            answers = [row["answer"] for row in closed if key(row) == group]
            assert 0.45 <= answers.count("yes") / len(answers) <= 0.55, group


def test_the_answers_of_an_open_question_are_about_equally_frequent(asked):
    for topic in ("structure", "location", "count", "stain", "colour", "cellularity"):
        answers = Counter(row["answer"] for row in asked[0] if row["topic"] == topic and not is_closed(row))
        assert len(answers) >= 2
        assert max(answers.values()) <= 1.35 * min(answers.values()), answers


def test_guessing_without_the_picture_scores_low(asked):
    train, test = asked
    assert majority_score(train, test, first_word) < 0.40
    for word in ("what", "where", "which", "how", "is", "does", "are"):
        assert majority_score(train, [row for row in test if first_word(row) == word], first_word) < 0.56


def test_the_wording_does_not_tell_the_answer(asked):
    """Knowing the very words of a question is worth no more than knowing what is asked."""
    train, test = asked
    asks = majority_score(train, test, lambda row: (row["topic"], is_closed(row)))
    words = majority_score(train, test, lambda row: row["question"])
    assert words <= asks + 0.02


def test_what_another_version_drew_is_not_read_as_this_ones(tiny, monkeypatch):
    before = [row["image_id"] for row in load_splits(tiny())["train"].rows]
    monkeypatch.setattr(formats, "_drawing_digest", lambda: "another")
    monkeypatch.setattr(synthetic, "random_scene", lambda *given: replace(random_scene(*given), stain="silver"))
    after = [row["image_id"] for row in load_splits(tiny())["train"].rows]
    assert before != after
