"""Where a GPU would be waited for, counted on a device that is none (`device_of_its_own`), with file and line of each."""

import pytest
from device_of_its_own import pretend_device, table

from blipvqa import fine_tune
from blipvqa.runs.files import read_lines

# of a step between two readings. What retrieval draws on the device decides which texts are read together, and so
# what is computed; that is read once.
STEPS = {"vqa": 0, "caption": 0, "retrieval": 1, "pretrain": 1}


def trained(tiny, task: str, **overrides):
    """What happened on the device while a tiny run of `task` was trained and validated, without a log step."""
    images = {"train": 8, "validation": 4, "test": 4}
    settings = {"train__epochs": 1, "train__log_every": 1000, "data__synthetic": {"images": images, "size": 48}}
    config = tiny(task=task, retrieval__queue=24, **settings | overrides)
    with pretend_device() as seen:
        run = fine_tune(config)
    return run, seen


def of(seen, *functions: str, but: tuple[str, ...] = ()):
    """The waits that were called from any of these functions, and from none of `but`."""
    return [w for w in seen.waits if set(functions) & set(w.called_from) and not set(but) & set(w.called_from)]


@pytest.mark.parametrize("task", STEPS)
def test_a_step_waits_for_nothing_but_what_it_draws(tiny, task):
    run, seen = trained(tiny, task)
    steps = run.state["step"]
    waits = of(seen, "_step", but=("_scale",))
    assert len(waits) == STEPS[task] * steps, f"\n{table(waits)}"
    readings = of(seen, "read")  # after the first step and at the epoch's end
    assert len(readings) == min(steps, 2), f"\n{table(readings)}"
    encoders = ("encode", "encode_questions", "picture_states", "text_features", "match_logits")
    encoding = of(seen, *encoders, but=("_step", "_scale"))  # mean and std are sent once
    assert not encoding, f"\n{table(encoding)}"
    assert run.history[-1]["train_loss"] > 0


def test_writing_an_answer_waits_for_no_token_and_ranking_for_what_it_ranks(tiny):
    _, seen = trained(tiny, "vqa", train__epochs=0, generate__method="generate")
    writing = of(seen, "write_one_by_one")
    assert not writing, f"\n{table(writing)}"
    answered = of(seen, "_answer")
    batches = len(of(seen, "_generated"))  # a batch's tokens are read, then its scores
    assert len(answered) <= 5 * batches, f"\n{table(answered)}"


def test_a_step_that_is_no_number_is_left_out_on_the_device_and_counted_when_it_is_read(tiny, monkeypatch):
    from blipvqa.training.loop import FineTuning

    step = FineTuning._step

    def poisoned(self, batches, *rest):
        if self.progress.step == 1:
            for batch in batches:
                batch["pixel_values"] = batch["pixel_values"].float() * float("nan")
        return step(self, batches, *rest)

    monkeypatch.setattr(FineTuning, "_step", poisoned)
    run, _ = trained(tiny, "vqa", train__nonfinite="skip")
    assert run.history[-1]["skipped_steps"] == 1
    assert read_lines(run.folder / "history.jsonl")[-1]["train_loss"] > 0
    with pytest.raises(FloatingPointError, match=r"step 2: loss nan.*train/"):
        trained(tiny, "vqa", name="raise")
