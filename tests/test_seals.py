"""What stands in a run folder is what was written there: an edited, cut off or exchanged file is refused by name."""

import json
import shutil
from contextlib import suppress

import pytest

from blipvqa import Run, evaluate, fine_tune, load_results, load_splits
from blipvqa.__main__ import main
from blipvqa.board import write_board
from blipvqa.comparison import write_comparison
from blipvqa.errors import DamagedFile
from blipvqa.models.folders import ModelError
from blipvqa.runs.run import RunError
from blipvqa.runs.seeds import scored
from blipvqa.tasks import write_report
from blipvqa.vqa.calibration import read_calibration
from blipvqa.vqa.stress import stress

TASKS = ("vqa", "caption", "retrieval", "pretrain", "pairs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A root with a trained and evaluated run of each task, called as its task. Read only."""
    from conftest import TINY

    from blipvqa import load_config

    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIPVQA_ROOT", str(root))
        for task in TASKS:
            config = load_config(None, TINY | {"task": task, "train.epochs": 1, "retrieval.queue": 48}, task)
            fine_tune(config)
            evaluate(config, progress=False, resamples=10)
    return root


@pytest.fixture
def run(trained, root):
    """`run(task)`: a copy of the run of a task, in a root of its own."""
    shutil.copytree(trained, root, dirs_exist_ok=True)
    return lambda task: Run(root / "outputs" / task)


@pytest.mark.parametrize("content", ["[]", "\x00\xff"])
def test_a_damaged_file_is_named_at_every_door(run, content):
    own = run("vqa")
    config, splits = own.config, load_splits(own.config)
    for name in ("state.json", "data.json", "environment.json", "metrics-test.json", "history.jsonl", "samples.jsonl"):
        file = own.folder / name
        before = file.read_bytes()
        file.write_bytes(content.encode("latin-1") + b"\n")
        with pytest.raises(DamagedFile, match=f"'vqa/{name}' is damaged"):
            write_report(own, splits)
        for door in (lambda: fine_tune(config), lambda: load_results(config)):
            with suppress(DamagedFile):  # which need not every file
                door()
        file.write_bytes(before)


@pytest.mark.parametrize("task", TASKS)
def test_settings_that_were_edited_or_cut_off_are_refused(run, task):
    file = run(task).folder / "config.yaml"
    text = file.read_text()
    for other in (text.replace("seed: 0", "seed: 1"), text[: len(text) // 2]):
        file.write_text(other)
        for verb in ("evaluate", "report", "push"):
            more = ("--repo", "a/b") if verb == "push" else ()
            assert main([verb, "--name", task, *more]) == 2
        with pytest.raises(DamagedFile, match=r"config\.yaml"):
            _ = run(task).config
    assert "config.yaml" in write_board().read_text()


@pytest.mark.parametrize("task", TASKS)
def test_numbers_and_answers_that_were_edited_or_exchanged_are_refused(run, task):
    own = run(task)
    metrics, predictions = own.folder / "metrics-test.json", own.folder / "predictions-test.jsonl"
    numbers, lines = metrics.read_text(), predictions.read_text()
    scores = json.loads(numbers)
    first = next(iter(scores["overall"].values()))
    first["value"] = 0.99
    metrics.write_text(json.dumps(scores))
    with pytest.raises(DamagedFile, match=r"metrics-test\.json"):
        load_results(own.config)
    metrics.write_text(numbers)
    predictions.write_text("".join(lines.splitlines(keepends=True)[1:]))
    for door in (lambda: load_results(own.config), lambda: scored(own), lambda: own.predictions("test")):
        with pytest.raises(RunError, match="is not what metrics-test"):
            door()
    evaluate(own.config, progress=False, resamples=10)
    assert predictions.read_text() == lines


@pytest.mark.parametrize("task", TASKS)
def test_another_model_in_the_model_s_place_is_refused(run, task, trained):
    own = run(task)
    config = own.config.model_copy(update={"name": "other", "seed": 5})
    other = fine_tune(config)
    shutil.rmtree(own.model_folder)
    shutil.copytree(other.model_folder, own.model_folder)
    for door in (lambda: evaluate(own.config), lambda: fine_tune(own.config)):
        with pytest.raises(RunError, match="is not what training wrote there"):
            door()
    assert main(["push", "--name", task, "--repo", "a/b"]) == 2
    shutil.rmtree(own.model_folder)
    with pytest.raises(RunError, match="has no model"):
        fine_tune(own.config)


@pytest.mark.parametrize("task", TASKS)
def test_stored_answers_that_were_edited_are_made_again(run, task):
    own = run(task)
    file = own.folder / "answers" / "test.jsonl"
    lines = file.read_text()
    file.write_text(lines.replace('"id": "test/0"', '"id": "test/0", "edited": true', 1))
    evaluate(own.config, progress=False, resamples=10)
    assert file.read_text() == lines


def test_scores_of_weights_that_were_trained_further_are_no_scores_of_the_run(tiny):
    config = tiny("longer", train__schedule="constant", train__epochs=1)
    fine_tune(config)
    evaluate(config, progress=False, resamples=10)
    stress(config, kinds=["blur"], strengths=(1,), progress=False)
    longer = tiny("longer", train__schedule="constant", train__epochs=3, train__metric="exact_match")
    run = fine_tune(longer)
    if run.state["best"]["epoch"] == 1:
        pytest.skip("the first epoch stayed the best")
    assert "Not evaluated on a held-out split yet" in (run.model_folder / "README.md").read_text()
    with pytest.raises(RunError, match="with other weights than it has now"):
        load_results(longer)
    evaluate(longer, progress=False, resamples=10)
    page = write_report(run, load_splits(longer)).read_text()
    assert "run with weights that the run no longer has" in page


def test_a_page_shows_the_settings_that_the_answers_were_made_with(run):
    own = run("caption")
    assert main(["evaluate", "--name", "caption", "--set", "caption.num_beams=1"]) == 0
    assert own.config.caption.num_beams == 3
    assert own.scored_config("test").caption.num_beams == 1
    assert "1 beams" in (own.model_folder / "README.md").read_text()
    assert '"num_beams": 1' in json.dumps(json.loads(scored(own).recipe)).replace("caption.num_beams", "num_beams")


def test_a_calibration_that_was_edited_is_refused(run):
    folder = run("vqa").model_folder
    content = json.loads((folder / "calibration.json").read_text())
    content["yes_no"]["temperature"] *= 2
    (folder / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="changed after it was written"):
        read_calibration(folder)


@pytest.mark.parametrize("task", TASKS[1:])
def test_what_is_of_questions_refuses_other_tasks(run, task, tmp_path):
    own, questions = run(task), run("vqa")
    with pytest.raises(RunError, match=f"is of task {task}, expected vqa"):
        stress(own.config)
    for pair in ((own, questions), (questions, own)):
        with pytest.raises(RunError, match="no measure in common"):
            write_comparison(*pair)
    for form, ending in (("lmms-eval", "jsonl"), ("medevalkit", "json"), ("table", "csv")):
        output = tmp_path / f"x.{ending}"
        assert main(["predictions", "--name", task, "--form", form, "--output", str(output)]) == 2
        assert not output.exists()
