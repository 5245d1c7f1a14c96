"""Published sets as their authors give them, as a folder and as a zip: recognised, said, and read as the same rows."""

import json
import zipfile

import pytest
from small_sources import config_of, png, splits_of

from blipvqa.data.split_names import SourceError
from blipvqa.tasks import fine_tune


def picture(folder, name, seed):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(seed))


def slake(folder):
    for split, numbers in (("train", range(6)), ("validate", range(6, 8)), ("test", range(8, 10))):
        lines = []
        for i in numbers:
            picture(folder, f"imgs/xmlab{i}/source.jpg", i)
            for language, question in (("en", f"What organ is {i}?"), ("zh", f"什么器官 {i}")):
                lines.append(
                    {
                        "img_id": i,
                        "img_name": f"xmlab{i}/source.jpg",
                        "question": question,
                        "answer": "Lung",
                        "q_lang": language,
                        "answer_type": "OPEN",
                        "triple": ["vhead", "_", "_"],
                        "qid": i,
                    }
                )
        (folder / f"{split}.json").write_text(json.dumps(lines, ensure_ascii=False), encoding="utf-8")
    return {"train": 12, "validation": 4, "test": 4}, "SLAKE", "What organ is 0?"


def vqa_rad(folder):
    lines = []
    for i in range(8):
        picture(folder, f"VQA_RAD Image Folder/synpic{i}.jpg", i)
        lines.append(
            {
                "qid": str(i),
                "phrase_type": "test_freeform" if i > 5 else "freeform",
                "image_name": f"synpic{i}.jpg",
                "image_organ": "HEAD",
                "question": f"How many lesions in {i}?",
                "answer": 3 if i % 2 else "Yes",
                "answer_type": "CLOSED ",
            }
        )
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(lines))
    return {"train": 5, "validation": 1, "test": 2}, "VQA-RAD", "How many lesions in 0?"


def pathvqa(folder):
    for split, numbers in (("train", range(5)), ("val", range(5, 7)), ("test", range(7, 9))):
        lines = []
        for i in numbers:
            picture(folder, f"images/{split}/{split}_{i:04d}.jpg", i)
            lines.append(
                {
                    "answer_type": "other",
                    "img_id": f"{split}_{i:04d}",
                    "label": {"in the canals": 1},
                    "question_id": i,
                    "question_type": "where",
                    "sent": f"Where is {i}?",
                }
            )
        (folder / "qas").mkdir(exist_ok=True)
        (folder / "qas" / f"{split}_vqa.json").write_text(json.dumps(lines))
        (folder / "qas" / f"{split}_vqa.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/run'\ntR.")
    return {"train": 5, "validation": 2, "test": 2}, "PathVQA", "Where is 0?"


def vqa_v2(folder):
    for split, numbers in (("train", range(5)), ("val", range(5, 7))):
        asked, answered = [], []
        for i in numbers:
            picture(folder, f"{split}2014/COCO_{split}2014_{i:012d}.jpg", i)
            asked.append({"image_id": i, "question": f"Is it {i}?", "question_id": i * 1000})
            answers = [
                {"answer": "yes" if k < 7 else "no", "answer_confidence": "yes", "answer_id": k} for k in range(10)
            ]
            answered.append(
                {
                    "question_type": "is it",
                    "multiple_choice_answer": "yes",
                    "answers": answers,
                    "image_id": i,
                    "answer_type": "yes/no",
                    "question_id": i * 1000,
                }
            )
        subtype = {"data_subtype": f"{split}2014"}
        (folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json").write_text(
            json.dumps({"questions": asked, **subtype})
        )
        (folder / f"v2_mscoco_{split}2014_annotations.json").write_text(
            json.dumps({"annotations": answered, **subtype})
        )
    (folder / "v2_OpenEnded_mscoco_test2015_questions.json").write_text(json.dumps({"questions": []}))
    return {"train": 5, "validation": 2}, "VQA v2", "Is it 0?"


def llava(folder):
    lines = []
    for i in range(6):
        picture(folder, f"images/{i}.jpg", i)
        turns = [("human", f"<image>\nWhat is {i}?"), ("gpt", f"It is {i}."), ("human", "And where?"), ("gpt", "Left.")]
        lines.append(
            {"id": str(i), "image": f"{i}.jpg", "conversations": [{"from": who, "value": text} for who, text in turns]}
        )
    (folder / "llava_med_instruct.json").write_text(json.dumps(lines))
    return {"train": 10, "validation": 2}, "LLaVA", "What is 0?"


def imagefolder(folder):
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        for i in numbers:
            picture(folder, f"{split}/{i}.png", i)
        table = "file_name,question,answer\n" + "".join(f"{i}.png,what is {i}?,it\n" for i in numbers)
        (folder / split / "metadata.csv").write_text(table)
    return {"train": 4, "validation": 1, "test": 3}, "imagefolder", "what is 0?"


def imagefolder_of_one_table(folder):
    lines = []
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        for i in numbers:
            picture(folder, f"{split}/{i}.png", i)
            lines.append({"file_name": f"{split}/{i}.png", "question": f"what is {i}?", "answer": "it"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"train": 4, "validation": 1, "test": 3}, "imagefolder", "what is 0?"


def imagefolder_of_deep_names(folder):
    """Before, both were train: test's pictures too."""
    lines = ["file_name,question,answer"]
    for split, numbers in (("train", range(5)), ("test", range(5, 8))):
        for i in numbers:
            picture(folder, f"data/ct/{split}/{i}.png", i)
            lines.append(f"./ct/{split}/{i}.png,what is {i}?,it")
    (folder / "data" / "metadata.csv").write_text("\n".join(lines))
    return {"train": 4, "validation": 1, "test": 3}, "imagefolder", "what is 0?"


def plain_table(folder):
    for i in range(6):
        picture(folder, f"images/{i}.png", i)
    (folder / "train.csv").write_text(
        "image,question,answer\n" + "".join(f"images/{i}.png,what is {i}?,it\n" for i in range(6))
    )
    return {"train": 5, "validation": 1}, "", "what is 0?"


LAYOUTS = [slake, vqa_rad, pathvqa, vqa_v2, llava, imagefolder, imagefolder_of_one_table]
LAYOUTS += [imagefolder_of_deep_names, plain_table]


def zipped(folder, file, top=""):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, top + path.relative_to(folder).as_posix())
        packed.writestr("__MACOSX/._x", b"")
    return file


@pytest.mark.parametrize("write", LAYOUTS)
def test_a_layout_is_recognised_said_and_read(folder, tmp_path, write):
    for file in (folder / "images").iterdir():
        file.unlink()
    (folder / "images").rmdir()
    counts, name, first = write(folder)
    splits = splits_of()
    assert {split: len(data) for split, data in splits.items()} == counts
    assert [note for note in splits.notes if note.startswith(f"layout recognised: {name}")] or not name
    rows = [row for data in splits.values() for row in data.rows]
    assert first in {row["question"] for row in rows}
    assert len({row["image_id"] for row in rows}) == len(
        {row["question"].strip("?").split()[-1] for row in rows if row["question"] != "And where?"}
    )
    for top in ("", "Set1.0/"):
        packed = splits_of(data__source=str(zipped(folder, tmp_path / "set.zip", top)))
        assert {split: data.rows for split, data in packed.items()} == {
            split: data.rows for split, data in splits.items()
        }
        assert packed["train"].image(0).tobytes() == splits["train"].image(0).tobytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for place in [path for path in folder.iterdir() if path.is_dir() and path.name != "qas"]:
        if not list(place.glob("metadata.*")):
            place.rename(elsewhere / place.name)
    if list(elsewhere.iterdir()):
        moved = splits_of(data__image_root=str(elsewhere))
        assert moved["train"].rows == splits["train"].rows


def test_columns_of_a_layout_may_be_named(folder):
    slake(folder)
    splits = splits_of(data__columns={"img_name": "image"}, data__where={"q_lang": "en"})
    assert len(splits["train"]) == 6 and splits["train"].image_path(0) == "xmlab0/source.jpg"


def test_numbers_in_vqa_rad_are_answers(folder):
    vqa_rad(folder)
    assert {row["answer"] for row in splits_of()["train"].rows} == {"3", "Yes"}


def test_pickles_of_pathvqa_are_not_read_and_how_to_convert_is_said(folder, tmp_path):
    pathvqa(folder)
    for file in (folder / "qas").glob("*.json"):
        file.unlink()
    with pytest.raises(SourceError, match=r"programs and are not read.*python -c \"import json, pickle"):
        splits_of()


def test_ten_answers_come_along(folder):
    vqa_v2(folder)
    row = splits_of()["train"].rows[0]
    assert (row["answer"], row["answers"]) == ("yes", ["yes"] * 7 + ["no"] * 3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda turns: turns.pop(), "its conversations are no turns"),
        (lambda turns: turns[0].update(value="<video>\nDoes it beat?"), "its question shows a <video>"),
        (lambda turns: turns[2].update(value="<image>\nAnd here?"), "its questions show 2 times <image>, and `image` "),
        (lambda turns: turns[1].update(value="<image> It is."), "its answer holds <image>"),
    ],
)
def test_a_conversation_of_other_turns_is_named(folder, change, problem):
    llava(folder)
    file = folder / "llava_med_instruct.json"
    lines = json.loads(file.read_text())
    change(lines[3]["conversations"])
    file.write_text(json.dumps(lines))
    with pytest.raises(SourceError, match=f"element 4 of llava_med_instruct.json: {problem}"):
        splits_of()


def written(path, members, **settings):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **settings) as packed:
        for name, content in members:
            packed.writestr(name, content)


TABLE = ("train.csv", "image,question,answer\n" + "".join(f"{i}.png,what {i}?,it\n" for i in range(4)))
PICTURES = [(f"{i}.png", png(i)) for i in range(4)]
BAD_ZIPS = {
    "way out": ([TABLE, ("../x.png", b"")], "leads out of the zip"),
    "absolute": ([TABLE, ("/x.png", b"")], "leads out of the zip"),
    "drive": ([TABLE, ("C:/x.png", b"")], "leads out of the zip"),
    "zip inside": ([TABLE, ("more.ZIP", b"PK")], "a zip inside the zip"),
    "bomb": ([TABLE, ("big.png", b"\0" * 20_000_000)], "packs so well"),
    "parquet": ([("train.parquet", b"PAR1")], "unpack the zip"),
    "no table": (PICTURES, "holds no <split>.parquet.*found: 0.png"),
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_a_zip_that_is_none_of_pictures_and_tables_is_refused(folder, name):
    members, message = BAD_ZIPS[name]
    written(folder / "x.zip", members)
    with pytest.raises(SourceError, match=message):
        splits_of(data__source=str(folder / "x.zip"))


def test_a_damaged_zip_or_member_is_named(folder):
    (folder / "x.zip").write_bytes(b"PK nonsense")
    with pytest.raises(SourceError, match=r"x.zip does not read as a zip file"):
        splits_of(data__source=str(folder / "x.zip"))
    written(folder / "x.zip", [TABLE, *PICTURES])
    content = (folder / "x.zip").read_bytes()
    place = content.index(b"2.png") + 60
    (folder / "x.zip").write_bytes(content[:place] + bytes(20) + content[place + 20 :])
    with pytest.raises(ValueError, match=r"line 4 of train.csv: '2.png' in x.zip is damaged"):
        splits_of(data__source=str(folder / "x.zip"))


def test_pictures_of_a_folder_s_table_may_lie_in_a_zip(folder):
    written(folder / "pictures.zip", PICTURES)
    (folder / TABLE[0]).write_text(TABLE[1])
    splits = splits_of(data__image_root=str(folder / "pictures.zip"))
    assert splits["train"].image(0).size == (20, 20)
    assert not (folder / "0.png").exists()


def test_the_layout_is_printed_by_training_and_stored(folder, capsys):
    vqa_v2(folder)
    run = fine_tune(config_of(train__epochs=1, name="v2"))
    assert "layout recognised: VQA v2" in capsys.readouterr().out
    stored = json.loads((run.folder / "environment.json").read_text())["notes"]
    assert any(note.startswith("layout recognised: VQA v2") for note in stored)
