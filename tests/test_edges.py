"""Where something odd was taken without a word, or noticed only after slow work: each is refused first, by name."""

import json
import shutil
from contextlib import suppress

import pytest

from blipvqa import Run, answer_all, evaluate, fine_tune, load_config, load_model, load_splits
from blipvqa.__main__ import main
from blipvqa.captions import pictures as captions
from blipvqa.captions.predictions import described
from blipvqa.captions.terms import Finder
from blipvqa.comparison import write_comparison
from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path, project_root
from blipvqa.config.reading import parse_overrides
from blipvqa.config.recipes import recipe
from blipvqa.data.split_names import SourceError
from blipvqa.ensemble import soup
from blipvqa.errors import InputError
from blipvqa.retrieval import pictures as retrieval
from blipvqa.retrieval.index import make_index
from blipvqa.retrieval.search import search
from blipvqa.runs import files
from blipvqa.runs.lock import lock
from blipvqa.runs.names import move_aside
from blipvqa.runs.run import RunError, named_run, run_config
from blipvqa.sharing import export_int8, push
from blipvqa.tasks import write_report
from blipvqa.transfer import write_transfer
from blipvqa.vqa.scoring_others import score_others


@pytest.mark.parametrize("place", ["missing/place", "file"])
def test_a_root_that_is_no_folder_is_refused(root, monkeypatch, place):
    (root / "file").write_text("")
    monkeypatch.setenv("BLIPVQA_ROOT", str(root / place))
    with pytest.raises(InputError, match=f"BLIPVQA_ROOT is '.*{place}', which is no folder"):
        project_path("outputs")
    assert not (root / "missing").exists()


def test_a_root_in_the_home_folder_is_found(root, monkeypatch):
    (root / "project").mkdir()
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("BLIPVQA_ROOT", "~/project")
    assert project_root() == (root / "project").resolve()


def test_a_table_of_runs_is_refused_before_the_first_is_asked(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("blipvqa.transfer.evaluate_elsewhere", lambda *pair, **_: asked.append(pair))
    with pytest.raises(ValueError, match="'two' is of task caption"):
        write_transfer([tiny("one"), tiny("two", task="caption")], [tiny("set")])
    assert not asked


@pytest.mark.parametrize(
    "key",
    [
        "train.epochs",
        "train.batch_size",
        "train.log_every",
        "generate.batch_size",
        "generate.max_new_tokens",
        "data.synthetic.seed",
        "data.synthetic.images.train",
        "model.lora.rank",
        "model.scratch.layers",
        "bootstrap.captions",
        "retrieval.queue",
        "seed",
    ],
)
def test_a_count_beyond_sense_is_refused_by_its_key(root, key):
    for text in ("100000000000000000000", "1e20", f"1{'0' * 400}"):
        with pytest.raises(ConfigError, match=rf"  {key}: Input should be less than"):
            load_config(None, parse_overrides([f"{key}={text}"]))


@pytest.mark.parametrize("text", ["1e-400", "-1e-400", "1e-320", "1e39", "1e400", f"1{'0' * 400}", ".inf", ".nan"])
def test_a_number_that_32_bits_do_not_hold_is_refused(root, text):
    """1e-400 was read as 0.0, and 1e39 became infinity in the optimizer."""
    with pytest.raises(ConfigError, match=r"train\.weight_decay"):
        load_config(None, parse_overrides([f"train.weight_decay={text}"]))


def test_zero_has_no_sign(root):
    """-0.0 equals 0.0, but is written as another text: seeds of one recipe were two recipes."""
    one, two = (load_config(None, {"train.weight_decay": zero}) for zero in (0.0, -0.0))
    assert recipe(one) == recipe(two)


def test_answers_in_the_precision_of_training_are_one_recipe_however_it_is_said(root):
    said, unsaid, other = (
        load_config(None, {"train.precision": "fp32", "generate.precision": precision})
        for precision in ("fp32", None, "bf16")
    )
    assert recipe(said) == recipe(unsaid) != recipe(other)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin1"])
def test_a_config_in_another_coding_is_named_as_such(root, coding):
    (root / "mine.yaml").write_bytes("data: {source: über}\n".encode(coding))
    with pytest.raises(ConfigError, match=r"it is not UTF-8 text.* save it as UTF-8"):
        load_config("mine.yaml")


@pytest.mark.parametrize("name", ["con", "NUL", "a.", "COM1", "lpt9.old", "aux.txt"])
def test_a_name_that_windows_refuses_is_refused(root, name):
    with pytest.raises(ConfigError, match=rf"'{name}' can be no folder on Windows"):
        load_config(None, name=name)


def test_a_run_has_one_name(tiny, finished, root):
    """By two names, a run was compared, pooled and put together with itself, and two processes held its two locks."""
    outputs = root / "outputs"
    shutil.copytree(finished[0] / "outputs" / "tiny", outputs / "tiny")
    (outputs / "other").symlink_to(outputs / "tiny")
    for name in ("../outputs/tiny", "tiny/", "outputs/tiny", "tiny ", str(outputs / "tiny")):
        for command in (["compare", "tiny", name], ["ensemble", "tiny", name, "--name", "both"]):
            assert main(command) == 2
        with pytest.raises(ConfigError, match="is no run's name"):
            named_run(name)
    for name, why in (
        ("Tiny", "is 'tiny' in outputs/ but for upper and lower case"),
        ("other", "is a link to run 'ti"),
    ):
        for door in (named_run, run_config, lambda name: fine_tune(tiny(name)), lambda name: soup(["tiny", "x"], name)):
            with pytest.raises(ConfigError, match=f"name: '{name}' {why}"):
                door(name)
    with lock(outputs / "tiny"):
        elsewhere = root / "elsewhere"
        elsewhere.symlink_to(outputs / "tiny")
        with pytest.raises(RunError, match="is being written by"), lock(elsewhere):
            pass
    assert "This is run" in write_comparison(Run(outputs / "tiny"), Run(outputs / "other")).read_text()


def test_what_others_predicted_is_not_replaced_by_what_others_did(tiny, folder):
    rows = [{"image": f"images/{i}.png", "question": f"q {i}?", "answer": f"a {i}"} for i in range(9)]
    for split, part in (("train", rows[:6]), ("test", rows[6:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    for name in ("one", "two"):
        told = [{"id": f"test/{i}", "prediction": f"{name} {i}"} for i in range(3)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    config = tiny("others", data__source="mine")
    score_others(config, folder / "one.jsonl", resamples=10)
    with pytest.raises(RunError, match=r"'others' holds other predictions:\n  model\.name: .*one\.jsonl.*two\.jsonl"):
        score_others(config, folder / "two.jsonl", resamples=10)
    assert score_others(config, folder / "one.jsonl", resamples=10).predictions("test")[0]["prediction"] == "one 0"


@pytest.mark.usefixtures("permissions_count")
def test_a_run_folder_that_may_not_be_written_is_said_before_its_model_is_asked(tiny, finished, root, monkeypatch):
    """All was answered first, and the error named a temporary file."""
    folder = root / "outputs" / "tiny"
    shutil.copytree(finished[0] / "outputs" / "tiny", folder)
    config = run_config("tiny")
    folder.chmod(0o555)
    monkeypatch.setattr("blipvqa.vqa.evaluation.StoredAnswers", None)  # to ask is a TypeError
    for door in (evaluate, fine_tune, lambda config: export_int8(Run(config.folder))):
        with pytest.raises(RunError, match=r"run 'tiny': its folder cannot be written \(Permission denied\)"):
            door(config)
    assert main(["report", "--name", "tiny"]) == 2
    folder.chmod(0o755)


def test_a_model_is_not_taken_away_while_it_is_trained(done):
    """An export of int8 could hold older weights under the digest of newer ones."""
    run = Run(done.folder)
    for door in (export_int8, lambda run: push(run, "someone/else")):
        with lock(run.folder), pytest.raises(RunError, match="is being written by"):
            door(run)


def test_texts_that_a_model_wrote_are_marked_as_hits_and_references_and_told_where_they_are_scored(tiny, folder):
    """A search for texts brought them up, and a run was scored against them, as if a person had written them."""
    rows = [{"image": f"images/{i}.png", "caption": f"thing {i}", "origin": "synthetic"} for i in range(6)]
    rows += [{**rows[0], "origin": "human"}, {**rows[1], "caption": "a person's", "origin": "human"}]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = make_index(fine_tune(tiny(task="retrieval", data__source="mine", train__epochs=0)), "test", progress=False)
    shown = str(retrieval.hits("x", search(index, folder / "images" / "0.png", of="texts")))
    assert [name for name in [*(f"thing {i}" for i in range(6)), "a person's"] if f"{name}</b> <b>SYN" in shown] == [
        f"thing {i}"
        for i in range(1, 6)  # 0 was said by a person, too
    ]
    config = tiny("described", task="caption", data__source="mine", train__epochs=0)
    splits = load_splits(config)
    assert "test: 6 of 8 texts were written by a model (origin: synthetic): scores on test say" in str(splits.notes)
    rows = splits["test"].rows
    both = described(
        rows, [i for i, row in enumerate(rows) if row["image_id"] == rows[1]["image_id"]], {"prediction": ""}
    )
    shown = str(captions.prediction_card(splits["test"], both, Finder({})))
    assert "thing 1 <b>SYNTHETIC" in shown and shown.count("SYNTHETIC") == 1


@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval"])
def test_words_that_the_vocabulary_lacks_are_told(tiny, folder, task):
    """A test split in another script was scored as if the model could have read and written it."""
    texts = {"vqa": ("question", "answer"), "caption": ("caption",), "retrieval": ("caption",)}[task]
    for split, letter in (("train", "a"), ("test", "ж")):
        rows = [
            {"image": f"images/{i}.png"} | {text: f"{letter * (i % 2)}a {i % 3}" for text in texts} for i in range(6)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny(task=task, data__source="mine", train__epochs=0)
    fine_tune(config)
    warnings = str(evaluate(config, progress=False, resamples=10).metrics("test")["warnings"])
    for text in texts:
        assert (
            f"test: 3 of 6 in column {text} hold what the model's vocabulary has no word for, such as 'жa 1'"
            in warnings
        )


@pytest.mark.parametrize("point", [2, 9])
def test_ctrl_c_at_any_write_leaves_what_was_there_and_a_second_start_goes_on(tiny, finished, root, monkeypatch, point):
    """A kill runs no `finally`; Ctrl-C does, and none of them may take away what stands there."""
    shutil.copytree(finished[0] / "outputs", root / "outputs")
    run, own = Run(root / "outputs" / "tiny"), root / "own.csv"
    before, config = run.metrics("test"), run.config
    load_splits(config)["test"].image(0).save(root / "0.png")
    own.write_text("image,question\n0.png,what is this?\n0.png,is it?\n")
    doors = {
        "evaluate": lambda: evaluate(config, progress=False, resamples=50),
        "report": lambda: write_report(run, load_splits(config)),
        "export": lambda: export_int8(run),
        "predict": lambda: answer_all(config, own, root / "said.csv", progress=False),
    }
    for name, door in doors.items():
        operations = []

        def stop(_operation, path, operations=operations):
            operations.append(path)
            if len(operations) == point:
                raise KeyboardInterrupt

        monkeypatch.setattr(files, "before_operation", stop)
        with suppress(KeyboardInterrupt):
            door()
        monkeypatch.setattr(files, "before_operation", None)
        assert len(operations) >= min(point, 2), name
        load_model(str(run.model_folder))
        door()
        assert run.metrics("test")["overall"] == before["overall"]
    load_model(str(run.folder / "model-int8"))
    assert len((root / "said.csv").read_text(encoding="utf-8-sig").splitlines()) == 3


@pytest.mark.parametrize("text", ["\u2800", "\u3164\uffa0", "\u115f \u1160", "\u200b", "\u0301", "\u202e"])
@pytest.mark.parametrize("column", ["question", "answer"])
def test_letters_that_show_nothing_are_no_answer(tiny, folder, column, text):
    """To Unicode a Hangul filler is a letter: such an answer was trained on, and shown as nothing."""
    rows = [{"image": f"images/{i}.png", "question": f"q {i}?", "answer": f"a {i}"} for i in range(4)]
    rows[2][column] = text
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SourceError, match=rf"row train/2: .*column {column}: the text is empty"):
        load_splits(tiny(data__source="mine"))


def test_two_folders_of_one_second_are_moved_aside(root, monkeypatch):
    monkeypatch.setattr("blipvqa.runs.names.time.strftime", lambda _: "20261126-220000")
    for content in ("one", "two"):
        (root / "run").mkdir()
        (root / "run" / "what.txt").write_text(content)
        aside = move_aside(root / "run")
        assert (aside / "what.txt").read_text() == content
    assert sorted(path.name for path in root.iterdir()) == ["run.20261126-220000", "run.20261126-220000-1"]
