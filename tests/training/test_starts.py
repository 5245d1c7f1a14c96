"""What a run's beginning had learnt is found by the weights that it began with, and told wherever scores are shown."""

import shutil

import pytest
from conftest import TINY, VQA_RAD_SAMPLE

from blipvqa import Run, evaluate, fine_tune, load_config, load_splits
from blipvqa.pages.html import escape
from blipvqa.runs.seals import read_sealed, write_sealed
from blipvqa.tasks import write_report
from blipvqa.training.starts import learnt_before

OWN = {key: value for key, value in TINY.items() if key != "data.synthetic"} | {"train.epochs": 1}


@pytest.fixture
def own(root):
    """`own(name, **changes)`: a config of real pictures whose validation is cut of train's, by the seed."""
    shutil.copytree(VQA_RAD_SAMPLE, root / "own")
    (root / "own" / "test.jsonl").unlink()

    def make(name, **changes):
        settings = OWN | {"data.source": "own", "data.validation_share": 0.4}
        return load_config(None, settings | {key.replace("__", "."): value for key, value in changes.items()}, name)

    return make


def told(config):
    """Who is said to have learnt rows of validation."""
    lines = learnt_before(config, load_splits(config), "validation")
    return [line.split("learnt by run ")[1].split(",")[0] for line in lines]


def test_a_start_is_known_wherever_its_folder_lies_now(root, own):
    """A copied export, a run that was renamed, and one that was trained anew under its name said nothing, or of the
    wrong run."""
    outputs, first = root / "outputs", own("first", seed=1)
    fine_tune(first)
    shutil.copytree(outputs / "first" / "model", root / "copy")
    config = own("later", model__name="copy")
    assert told(config) == ["'first'"]  # before training
    fine_tune(config)
    assert told(config) == ["'first'"]
    third = own("third", model__name="outputs/later/model", seed=1, data__validation_seed=3)
    fine_tune(third)
    assert set(told(third)) == {"'first'", "'later'"}  # from start to start
    (outputs / "first").rename(outputs / "renamed")
    shutil.rmtree(root / "copy")
    assert told(config) == ["'renamed'"]
    fine_tune(own("first", seed=0))  # of the rows that `later` was trained on
    other = own("other", model__name="outputs/first/model")
    assert told(other) == []  # the same cut
    fine_tune(other)
    (outputs / "first").rename(outputs / "aside")
    fine_tune(own("first", seed=1))
    assert told(other) == []  # it did not begin with this one


def test_a_start_that_took_no_step_learnt_nothing_and_a_soup_began_as_its_members_did(root, own):
    fine_tune(own("first", seed=1, train__epochs=0))
    later = own("later", model__name="outputs/first/model")
    fine_tune(later)
    assert told(later) == []
    fine_tune(own("second", seed=1))
    fine_tune(own("member", model__name="outputs/second/model"))
    file = root / "outputs" / "later" / "state.json"
    state = {key: value for key, value in read_sealed(file).items() if "sha256" not in key}
    write_sealed(file, state | {"soup": ["member"], "start": None})  # as a soup is written
    assert told(later) == ["'second'"]


@pytest.mark.parametrize("task", ["vqa", "caption", "retrieval"])
def test_scores_page_and_card_say_it(root, own, task):
    settings = {"task": task} | ({} if task == "vqa" else {"data__columns": {"question": "caption"}})
    fine_tune(own("first", seed=1, **settings))
    config = own("later", model__name="outputs/first/model", **settings)
    fine_tune(config)
    run = evaluate(config, progress=False, resamples=10)
    (line,) = learnt_before(config, load_splits(config), "validation")
    assert line in run.metrics("validation")["warnings"]
    write_report(Run(run.folder), load_splits(config))
    assert str(escape(line)) in (run.folder / "report.html").read_text("utf-8")
    assert "learnt by run 'first'" in (run.model_folder / "README.md").read_text("utf-8")
