"""Where a GPU would be waited for, counted on a device that is none (`device_of_its_own`), with file and line of each."""

import pytest
from device_of_its_own import pretend_device, table

from blipvqa import fine_tune
from blipvqa.runs.files import read_lines

TASKS = ("vqa", "caption", "retrieval", "pretrain", "pairs")


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


@pytest.mark.parametrize("task", TASKS)
def test_a_step_between_two_readings_waits_for_nothing(tiny, task):
    run, seen = trained(tiny, task)
    steps = run.state["step"]
    waits = of(seen, "_step", but=("_scale",))
    assert not waits, f"\n{table(waits)}"
    readings = [w for w in seen.waits if "readings.py" in w.line]  # after the first step and at the epoch's end
    assert len(readings) == min(steps, 2), f"\n{table(readings)}"
    encoders = ("encode", "encode_questions", "picture_states", "text_features", "match_logits")
    encoding = of(seen, *encoders, but=("_step", "_scale"))  # mean and std are sent once
    assert not encoding, f"\n{table(encoding)}"
    assert run.history[-1]["train_loss"] > 0


@pytest.mark.parametrize(
    "settings",
    [{"num_beams": 3}, {"method": "rank", "closed_yes_no": True}],
    ids=["beams", "ranked"],
)
def test_answers_are_written_and_ranked_without_a_wait_but_for_what_the_last_ones_are(tiny, settings):
    """While a batch needs values the next one is begun; of the last, which has none, three things are read."""
    overrides = {"generate__batch_size": 4, "generate__max_new_tokens": 20}
    _, seen = trained(tiny, "vqa", train__epochs=0, **overrides, **{f"generate__{k}": v for k, v in settings.items()})
    answered = of(seen, "go_on", but=("beam_search",))
    assert len(answered) <= (6 if "closed_yes_no" in settings else 3), f"\n{table(answered)}"
    waits, tokens = of(seen, "write_one_by_one", "beam_search"), seen.operations.count("topk")
    assert len(waits) <= tokens / 10, f"{tokens} tokens\n{table(waits)}"


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"sample": True}], ids=["beams", "drawn"])
def test_captions_are_written_with_a_wait_a_batch_at_most(tiny, settings):
    """Beams that go on to the longest length are waited for there, once a batch."""
    _, seen = trained(tiny, "caption", train__epochs=0, **{f"caption__{k}": v for k, v in settings.items()})
    waits, tokens = of(seen, "write_one_by_one", "beam_search"), seen.operations.count("topk")
    assert tokens > 10 and len(waits) <= (tokens / 10 if "num_beams" in settings else 0), f"{tokens}\n{table(waits)}"
    described = of(seen, "go_on", but=("beam_search",))
    assert len(described) <= 3, f"\n{table(described)}"


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
