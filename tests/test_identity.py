"""A run is its settings and its data, not its name: what was made of others is refused with the difference."""

import json
import shutil

import pytest
from conftest import TINY, VQA_RAD_SAMPLE

from blipvqa import Run, evaluate, evaluate_elsewhere, fine_tune, load_config, load_results, load_splits, run_config
from blipvqa.__main__ import main
from blipvqa.config.knobs import ConfigError
from blipvqa.config.reading import with_overrides
from blipvqa.runs.identity import read_rows
from blipvqa.runs.lock import lock
from blipvqa.runs.run import RunError
from blipvqa.tasks import write_report
from blipvqa.vqa.stress import stress

PLACES = (("first", "train"), ("own", "validation"))
OWN = {key: value for key, value in TINY.items() if key != "data.synthetic"}


@pytest.fixture
def own(root):
    """A config of real pictures with no validation file: the cut is made of train's images."""
    shutil.copytree(VQA_RAD_SAMPLE, root / "own")
    (root / "own" / "test.jsonl").unlink()
    return lambda **changes: load_config(
        None, OWN | {"data.source": "own", "data.validation_share": 0.4, **changes}, "own"
    )


def change_rows(root, change):
    file = root / "own" / "train.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(change(lines)) + "\n", encoding="utf-8")


def two_more(lines):
    """The same pictures, two questions more on the first: the shares move, and with them the cut."""
    row = json.loads(lines[0])
    return [*(json.dumps({**row, "question": f"is this picture {i} of them?"}) for i in range(2)), *lines]


def test_rows_added_after_training_are_refused_at_every_door(root, own):
    config = own()
    fine_tune(config)
    evaluate(config, progress=False, resamples=20)
    run = Run(config.folder)
    before = {path.name: path.read_bytes() for path in run.folder.glob("*.json*")}
    change_rows(root, two_more)
    for door in (fine_tune, evaluate, stress, load_results):
        with pytest.raises(RunError, match=r"added to (train|validation)"):
            door(config)
    with pytest.raises(RunError, match="was scored on other data than there is now"):
        write_report(run, load_splits(config))
    assert {path.name: path.read_bytes() for path in run.folder.glob("*.json*")} == before


def test_rows_that_the_start_had_learnt_are_told(root, own):
    """Another seed cuts another validation: the run began with weights that had learnt it, and nothing said so."""
    first = own(seed=1)
    fine_tune(first)
    evaluate(first, progress=False, resamples=20)
    (root / "outputs" / "own").rename(root / "outputs" / "first")
    fine_tune(own(**{"model.name": "outputs/first/model"}))
    run = evaluate(own(**{"model.name": "outputs/first/model"}), progress=False, resamples=20)
    told = [line for line in run.metrics("validation")["warnings"] if "learnt by run 'first'" in line]
    learnt, held_out = (set(read_rows(run.folder.parent / name)[split].values()) for name, split in PLACES)
    assert len(told) == 1 and told[0].startswith(f"validation: {len(learnt & held_out)} of {len(held_out)} rows were")
    set_of = with_overrides(own(seed=5).as_dict(), {"name": "other"})
    elsewhere = evaluate_elsewhere(run.config, set_of, "validation", progress=False, resamples=5)
    assert any("learnt by run 'first'" in line for line in elsewhere["warnings"])
    assert not any(
        "learnt by run" in line for line in Run(root / "outputs" / "first").metrics("validation")["warnings"]
    )


def test_new_data_is_evaluated_when_asked_for_and_the_scores_say_so(root, own):
    config = own()
    fine_tune(config)
    change_rows(root, two_more)
    evaluate(config, new_data=True, progress=False, resamples=20)
    results = load_results(config)
    assert results.scores["data"]["changes"]
    assert results.scores["warnings"][0].startswith("Evaluated as new data: it is not as it was in training")
    assert "Evaluated as new data" in write_report(results.run, results.splits).read_text(encoding="utf-8")


def test_fresh_moves_the_run_of_other_data_aside(root, own):
    fine_tune(own())
    change_rows(root, two_more)
    run = fine_tune(own(fresh=True))
    assert run.row_changes(json.loads((run.folder / "data.json").read_text())) == []
    assert [path.name for path in (root / "outputs").glob("own.2*")]


def test_an_interrupted_run_does_not_go_on_with_other_rows(root, own):
    fine_tune(own(**{"train.max_minutes": 1e-9}))
    change_rows(
        root, lambda lines: [lines[0].replace('"yes"', '"no"').replace('"answer": "', '"answer": "x'), *lines[1:]]
    )
    with pytest.raises(RunError, match=r"1 row of (train|validation) altered"):
        fine_tune(own())


def test_a_name_with_another_run_s_config_is_refused_and_nothing_is_overwritten(root, own, tiny, capsys):
    config = own()
    fine_tune(config)
    evaluate(config, progress=False, resamples=20)
    before = {path.name: path.read_bytes() for path in config.folder.glob("*.json*")}
    for door in (evaluate, stress, load_results):
        with pytest.raises(
            ConfigError, match=r"trained with other settings:\n(.*\n)*  data.validation_share: 0.4 -> 0.1"
        ):
            door(tiny("own"))
    (root / "drawn.yaml").write_text("{}\n")
    for command in ("evaluate", "report", "stress"):
        assert main([command, "drawn.yaml", "--name", "own"]) == 2
        assert "trained with other settings" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in config.folder.glob("*.json*")} == before


def test_a_run_is_evaluated_by_its_name_with_its_own_settings(root, own):
    fine_tune(own())
    assert run_config("own").data == own().data
    assert run_config("own", overrides={"generate.num_beams": 3}).generate.num_beams == 3
    with pytest.raises(ConfigError, match=r"seed: 0 -> 7"):
        run_config("own", overrides={"seed": 7})
    with pytest.raises(RunError, match="there is no run 'demo'"):
        run_config(None)
    with pytest.raises(ConfigError, match="is no run's name"):
        run_config("../own")
    assert main(["evaluate", "--name", "own"]) == 0
    assert main(["report", "--name", "own"]) == 0


def test_a_moved_data_folder_is_the_same_data_and_a_renamed_run_folder_the_same_run(root, own):
    fine_tune(own())
    (root / "own").rename(root / "moved")
    (root / "outputs" / "own").rename(root / "outputs" / "renamed")
    config = run_config("renamed", overrides={"data.source": "moved"})
    assert evaluate(config, progress=False, resamples=20).name == "renamed"


def test_nothing_is_written_beside_a_running_training(root, own):
    config = own()
    fine_tune(config)
    evaluate(config, progress=False, resamples=20)
    splits = load_splits(config)
    with lock(config.folder):
        for door in (evaluate, stress):
            with pytest.raises(RunError, match="is being written by"):
                door(config)
        with pytest.raises(RunError, match="is being written by"):
            write_report(Run(config.folder), splits)
