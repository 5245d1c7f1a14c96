"""Where a GPU would be waited for, counted on a device that is none (`device_of_its_own`), with file and line of each."""

import pytest
from device_of_its_own import pretend_device, table

from blipvqa import fine_tune

STEPS = {"vqa": 17, "caption": 16, "retrieval": 34, "pretrain": 42}  # waits a step


def trained(tiny, task: str, **overrides):
    """What happened on the device while a tiny run of `task` was trained and validated, without a log step."""
    images = {"train": 8, "validation": 4, "test": 4}
    settings = {"train__epochs": 1, "train__log_every": 1000, "data__synthetic": {"images": images, "size": 48}}
    config = tiny(task=task, retrieval__queue=24, **settings | overrides)
    with pretend_device() as seen:
        run = fine_tune(config)
    return run, seen


def of_steps(seen):
    """The waits of the steps alone: not of what follows an epoch."""
    return [wait for wait in seen.waits if "_epoch" in wait.called_from]


@pytest.mark.parametrize("task", STEPS)
def test_a_step_waits_no_more_often_than_it_did(tiny, task):
    run, seen = trained(tiny, task)
    waits = of_steps(seen)
    assert len(waits) <= STEPS[task] * run.state["step"], f"\n{table(waits)}"
