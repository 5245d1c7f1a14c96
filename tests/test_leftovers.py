"""Where nothing was said although something was off: each is refused, or told, by name."""

import csv
import errno
import json
import shutil

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from blipvqa import evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.bootstrapping.rounds import SUMMARY, load_bootstrapped
from blipvqa.captions import pictures as captions
from blipvqa.comparison import write_comparison
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import parse_overrides
from blipvqa.data import synthetic
from blipvqa.data.own_pictures import own_dataset, picture_names, rows_of_pictures
from blipvqa.data.split_names import SourceError
from blipvqa.errors import DamagedFile
from blipvqa.models.folders import ModelError
from blipvqa.pages.cards import markdown_table, plain
from blipvqa.retrieval import pictures as retrieval
from blipvqa.retrieval.index import make_index
from blipvqa.retrieval.search import Hit
from blipvqa.runs.run import Run, RunError
from blipvqa.sharing import export_int8
from blipvqa.training.trained import load_results
from blipvqa.transfer import write_transfer
from blipvqa.vqa.pictures import said_of


def test_a_checkpoint_of_another_run_is_refused_by_name(tiny):
    """Tensors of the same shapes: it went on from them, and exported the other run's training as this one's."""
    stopped = [tiny(name, seed=seed, train__max_minutes=1e-6) for name, seed in (("one", 1), ("two", 2))]
    one, two = (fine_tune(config).folder / "checkpoints" for config in stopped)
    own = two.rename(two.with_name("own"))
    shutil.copytree(one, two)
    with pytest.raises(RunError, match=r"'two/checkpoints' is of another run, 'one', by:\n  seed: 1, here 2\nPut"):
        fine_tune(stopped[1])
    shutil.rmtree(two)
    own.rename(two)
    assert fine_tune(stopped[1]).state["step"] == 2


def test_an_int8_export_of_a_shorter_training_is_refused(tiny):
    settings = {"train__schedule": "constant", "model__name": "scratch"}
    run = fine_tune(tiny(train__epochs=1, **settings))
    folder = export_int8(run)
    load_model(str(folder))
    fine_tune(tiny(train__epochs=2, **settings))
    with pytest.raises(
        ModelError, match=r"made of other weights than 'model' beside it holds now\. Make it again: make exp"
    ):
        load_model(str(folder))
    load_model(str(export_int8(run)))


def test_terms_and_a_base_model_that_changed_after_training_are_told_and_refused_on_pages(tiny, root):
    (root / "terms.txt").write_text("gland\n")
    captions = {"task": "caption", "caption__terms": "terms.txt", "train__epochs": 0}
    one, two = (fine_tune(tiny(f"base{seed}", seed=seed, **captions)).model_folder for seed in (1, 2))
    shutil.copytree(one, root / "base")
    config = tiny("run", model__name="base", **captions)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=10)
    assert not [line for line in run.metrics("test")["warnings"] if "terms" in line or "before training" in line]
    (root / "terms.txt").write_text("gland: glands\nfat\n")
    shutil.copy(two / "model.safetensors", root / "base")
    with pytest.raises(RunError, match=r"scored on test with another file caption\.terms than there is now"):
        load_results(config)
    warnings = evaluate(config, progress=False, resamples=10).metrics("test")["warnings"]
    assert warnings[0].startswith("caption.terms: the file is not the one of the training")
    assert warnings[1].startswith("The numbers before training are of other weights than this run began with")
    load_results(config)


def test_features_of_an_index_that_were_edited_are_refused(tiny):
    run = fine_tune(tiny(task="retrieval", train__epochs=0))
    make_index(run, "test", progress=False)
    part = run.folder / "index" / "texts-000000.safetensors"
    with safe_open(part, "pt") as file:
        header, features = file.metadata(), file.get_tensor("features")
    save_file({"features": features.flip(0)}, part, header)
    with pytest.raises(
        RunError, match=r"'tiny/index/texts-000000\.safetensors' holds other features or names than were"
    ):
        make_index(run, "test", progress=False)
    part.unlink()
    assert make_index(run, "test", progress=False).text_features.equal(features)


def write_table(file, rows):
    with open(file, "w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def rows_of(pictures, **more):
    return [{"image": f"images/{i}.png", "question": f"what is {i}?", "answer": f"it is {i}", **more} for i in pictures]


def test_patients_that_differ_in_case_and_outer_spaces_are_one(tiny, folder):
    """They stood in train and in test, and no note said so."""
    write_table(folder / "train.csv", rows_of(range(4), patient="P1") + rows_of(range(4, 8), patient="Q"))
    write_table(folder / "validation.csv", rows_of(range(8, 10), patient="R"))
    write_table(folder / "test.csv", rows_of(range(10, 12), patient="p1 "))
    notes = load_splits(tiny(data__source="mine", data__group_column="patient")).notes
    assert "1 of the 1 test groups stand in train too: test scores are flattered by what was memorized" in notes
    assert any(
        note.startswith("1 value of patient is written in several ways (upper and lower case, spaces") for note in notes
    )
    assert not any("stand under several values" in note for note in notes)
    splits = load_splits(tiny(data__source="mine", data__group_column="patient", data__split="regroup"))
    assert {row["group_id"] for row in splits["train"].rows} == {"Q"}


def test_a_split_column_that_says_otherwise_and_rows_that_stand_twice_are_told(tiny, folder):
    rows = rows_of(range(6), split="train") + rows_of(range(6, 8), split="Test") + rows_of([0, 0, 1], split="train")
    write_table(folder / "train.csv", rows)
    notes = load_splits(tiny(data__source="mine", data__validation_share=0.2)).notes
    assert any(
        "column 'split (data)' calls rows those of another split (2 of test), and they stay in" in n for n in notes
    )
    train = [note for note in notes if "stand there before with the same picture, question and answer, and" in note]
    assert [note[:22] for note in train] == ["train: 3 of 9 rows sta"]
    assert train[0].endswith("(first: train/0 and train/8)")


def test_a_folder_that_is_called_like_a_picture_is_named(tiny, folder):
    (folder / "images" / "scan.png").mkdir()
    names = picture_names(folder, tiny().data)
    raw = rows_of_pictures(folder, names, [{} for _ in names])
    _, left_out, notes = own_dataset(raw, folder, tiny(), ())
    assert "folders that are called like pictures, and are none: images/scan.png" in notes and not left_out


@pytest.mark.parametrize("place", ["", "train/"])
def test_folders_of_classes_are_told_how_to_become_questions(tiny, root, place):
    for name in ("benign", "malignant"):
        (root / "mine" / place / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(root / "mine" / place / name / "1.png")
    with pytest.raises(
        SourceError, match=rf"a head 'image,question,answer' .* '{place}benign/1\.png,what is shown\?,benign'"
    ):
        load_splits(tiny(data__source="mine"))
    with pytest.raises(
        SourceError, match=rf"a head 'image,caption' and a line a picture, such as '{place}benign/1\.png,ben"
    ):
        load_splits(tiny(data__source="mine", task="caption"))


def test_a_disk_that_fills_while_data_is_drawn_is_one_clear_error(tiny, monkeypatch):
    def full(*_args, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(synthetic.pq, "write_table", full)
    with pytest.raises(SourceError, match=r"data\.cache_dir 'outputs/cache' \(No space left on device\): make room"):
        load_splits(tiny())
    monkeypatch.undo()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"rounds": []}', "edited"])
def test_a_damaged_summary_of_bootstrapped_captions_is_named(tiny, damage):
    config = tiny("boot", task="pretrain")
    config.folder.mkdir(parents=True)
    content = json.dumps({"config": config.as_dict(), "rounds": [], "sha256_of_the_rest": "0"})
    (config.folder / SUMMARY).write_text(content if damage == "edited" else damage)
    with pytest.raises(DamagedFile, match=r"'boot/bootstrap\.json' is damaged"):
        load_bootstrapped(config)


def test_texts_that_a_model_wrote_are_marked_in_every_gallery(tiny, folder):
    """A run on the folder that a bootstrap left showed them as if people had written them."""
    rows = [{"image": f"images/{i}.png", "caption": f"thing {i}", "origin": "synthetic"} for i in range(6)]
    write_table(folder / "train.csv", [*rows, {**rows[0], "caption": "a person's", "origin": "human"}])
    data = load_splits(tiny(data__source="mine", task="caption"))["train"]
    for grid in (captions.sample_grid, retrieval.sample_grid):
        assert str(grid(data, 20)).count("<b>SYNTHETIC, written by a model</b>") == sum(
            row["origin"] == "synthetic" for row in data.rows
        )
    hit = Hit("0.png", 0.5, None, (data.rows[0],), lambda: data.image(0))
    assert "thing 0 <b>SYNTHETIC" in str(retrieval.hits("a thing", [hit]))
    assert said_of(hit) == ["thing 0 (SYNTHETIC, written by a model)"]


def test_settings_that_look_like_others_are_named(root):
    with pytest.raises(ConfigError, match=r"unknown key with U\+0435 CYRILLIC SMALL LETTER IE, did you mean seed\?"):
        load_config(None, {"s\u0435ed": 3})
    assert parse_overrides(["data.source=a train.epochs = 3"]) == {"data.source": "a", "train.epochs": 3}
    impossible = {
        "model.image_size": 10**8,
        "generate.num_beams": 10**9,
        "caption.num_beams": 10**9,
        "train.workers": 10**5,
    }
    with pytest.raises(ConfigError) as error:
        load_config(None, impossible)
    assert all(f"  {key}: Input should be less than or equal to" in str(error.value) for key in impossible)


def test_a_table_of_nothing_is_refused_and_a_run_beside_itself_or_its_copy_is_told(tiny, finished, root):
    for nothing in ([[], [tiny()]], [[tiny()], []]):
        with pytest.raises(ConfigError, match=r"the table has no (runs|sets): name one or more"):
            write_transfer(*nothing)
    shutil.copytree(finished[0] / "outputs" / "tiny", root / "outputs" / "tiny")
    run = Run(root / "outputs" / "tiny")
    assert (
        "This is run &#39;tiny&#39; beside itself, so every difference is 0" in write_comparison(run, run).read_text()
    )
    copied = run.folder.with_name("copied")
    shutil.copytree(run.folder, copied)
    assert "Both runs said the same of all" in write_comparison(run, Run(copied)).read_text()


def test_odd_letters_of_data_stay_in_their_cell_of_a_card():
    assert markdown_table(["a"], [["one\ntwo | three"]]).split("\n")[2:] == ["| one two \\| three |"]
    assert plain("a\u202ecba\u2066 `x`\nb") == "`acba 'x' b`"


def test_a_picture_twice_in_one_list_is_told(tiny, folder):
    rows = [
        {"image": [f"images/{i}.png", f"images/{i // 2 * 2}.png"], "question": "what?", "answer": "x"} for i in range(6)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.copy(folder / "train.jsonl", folder / "validation.jsonl")
    notes = load_splits(tiny(data__source="mine")).notes
    assert "train: 3 rows show the same picture twice in their list (first: train/0)" in notes
