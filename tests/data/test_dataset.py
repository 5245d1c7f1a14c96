"""From rows to batches: every question once an epoch, few images and many questions, nothing padded into the loss."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from same_run import tensors_of

from blipvqa import load_model, load_splits
from blipvqa.config.knobs import ConfigError
from blipvqa.data.augmentation import LightAugment
from blipvqa.data.batches import batch_loader, epoch_order, epoch_plan, whole_image_batches
from blipvqa.vqa.batches import VQACollator, collator_for, prepare_question

IMAGES = st.lists(st.integers(0, 30), min_size=1, max_size=200).map(lambda ids: [str(i) for i in ids])


@given(IMAGES, st.integers(1, 10), st.integers(0, 5))
def test_every_question_comes_exactly_once_an_epoch(image_ids, together, epoch):
    order = epoch_order(image_ids, together, seed=0, epoch=epoch)
    assert sorted(order) == list(range(len(image_ids)))


def test_questions_of_an_image_come_together_and_epochs_differ():
    image_ids = [str(i // 6) for i in range(120)]
    order = epoch_order(image_ids, 6, seed=0, epoch=0)
    assert all(len({image_ids[i] for i in order[k : k + 6]}) == 1 for k in range(0, 120, 6))
    assert order == epoch_order(image_ids, 6, seed=0, epoch=0)
    assert order != epoch_order(image_ids, 6, seed=0, epoch=1)
    assert order != epoch_order(image_ids, 6, seed=1, epoch=0)
    assert epoch_order(image_ids, 6, 0, 0, shuffle=False) == list(range(120))


@given(st.integers(1, 150), st.integers(4, 40), st.none() | st.integers(1, 20), st.integers(1, 4))
def test_processes_share_every_step_without_repeats(count, batch_size, micro, processes):
    if count < processes:
        with pytest.raises(ValueError, match="cannot be shared"):
            epoch_plan(list(range(count)), batch_size, micro, 0, processes)
        return
    plans = [epoch_plan(list(range(count)), batch_size, micro, rank, processes) for rank in range(processes)]
    seen = []
    for step in zip(*plans, strict=True):
        shares = [[i for batch in batches for i in batch] for _, batches in step]
        assert {total for total, _ in step} == {sum(map(len, shares))}
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert all(len(batch) <= (micro or count) for _, batches in step for batch in batches)
        seen += [i for share in shares for i in share]
    assert sorted(seen) == list(range(count))


@given(IMAGES, st.integers(1, 40))
def test_prediction_batches_hold_every_row_once(image_ids, batch_size):
    batches = whole_image_batches(image_ids, batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(image_ids)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)


@pytest.fixture
def parts(tiny):
    config = tiny()
    splits = load_splits(config)
    model, processor = load_model("scratch", config)
    return config, splits, model, processor


def test_a_batch_as_the_model_wants_it(parts):
    config, splits, model, processor = parts
    tokenizer, data = processor.tokenizer, splits["train"]
    chosen = [0, 1, 9, 2, 17]
    batch = collator_for(processor, config)(data.__getitems__(chosen))
    assert next(iter(batch)) == "input_ids"  # accelerate takes the batch's size from its first tensor
    assert batch["pixel_values"].dtype == torch.uint8
    assert len(batch["pixel_values"]) == len({data.rows[i]["image_id"] for i in chosen})
    for q, i in enumerate(chosen):
        torch.testing.assert_close(batch["pixel_values"][batch["image_index"][q]], data.pixels(i))
        real = batch["attention_mask"][q].bool()
        ids = batch["input_ids"][q][real].tolist()
        assert (tokenizer.decode(ids[:1]), ids[-1]) == ("[ENC]", tokenizer.sep_token_id)
        assert tokenizer.decode(ids[1:-1]) == tokenizer.decode(
            tokenizer(prepare_question(data.rows[i]["question"])).input_ids[1:-1]
        )
    assert batch["attention_mask"].sum(1).max() == batch["input_ids"].shape[1]  # no longer than the longest
    answers, labels = batch["decoder_input_ids"], batch["labels"]
    assert (answers[:, 0] == tokenizer.bos_token_id).all()
    assert model.config.text_config.bos_token_id == tokenizer.bos_token_id == len(tokenizer) - 2
    assert ((labels == -100) == (answers == tokenizer.pad_token_id)).all()
    assert (labels[labels != -100] == answers[labels != -100]).all()


def test_padding_is_not_learnt(parts):
    """An answer's loss does not depend on how much padding its batch brings."""
    config, splits, model, processor = parts
    collate = collator_for(processor, config)
    items = splits["train"].__getitems__(list(range(12)))
    together = model(**collate(items)).loss_per_answer
    alone = torch.cat([model(**collate([item])).loss_per_answer for item in items])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_cut_texts_are_counted(parts):
    _config, splits, _, processor = parts
    data = splits["train"]
    lengths = [len(processor.tokenizer(prepare_question(row["question"])).input_ids) for row in data.rows]
    collate = VQACollator(processor, max_question_tokens=8, max_answer_tokens=3)
    assert collate.count_cut(data.rows)["question"] == sum(n > 8 for n in lengths) > 0
    batch = collate(data.__getitems__(list(range(20))))
    assert batch["input_ids"].shape[1] == 8
    assert batch["labels"].shape[1] == 3
    real = batch["attention_mask"].sum(1) - 1
    assert (
        batch["input_ids"].gather(1, real[:, None]) == processor.tokenizer.sep_token_id
    ).all()  # cut, and still ended


def test_questions_are_prepared_as_the_authors_do():
    assert prepare_question('What is "This" (arrow)?  Say: #1; *now*!') == "what is this arrow? say 1 now"


@given(st.text(max_size=60))
def test_preparing_twice_changes_nothing(text):
    once = prepare_question(text)
    assert once == once.strip()
    assert not set('.!"()*#:;~') & set(once)
    assert prepare_question(once) == once


@given(text=st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=400))
def test_any_text_makes_a_batch(finished_processor, text):
    items = [
        {"image_id": "a", "question": text, "answer": text, "pixels": torch.zeros(3, 32, 32, dtype=torch.uint8)}
    ] * 2
    batch = VQACollator(finished_processor)(items)
    assert batch["input_ids"].shape[1] <= 35
    assert batch["labels"].shape[1] <= 40
    assert len(batch["pixel_values"]) == 1


@pytest.fixture(scope="module")
def finished_processor(finished):
    return load_model(str(finished[0] / "outputs" / "tiny" / "model"))[1]


def test_augmentation_is_light_repeatable_and_never_mirrors():
    pixels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    pixels[:, :, :16] = 200  # left
    changed = [LightAugment(0, epoch)(pixels, "a") for epoch in range(20)]
    assert all((image[:, :, :4].float().mean() > image[:, :, -16:].float().mean()) for image in changed)
    assert len({image.numpy().tobytes() for image in changed}) == 20
    torch.testing.assert_close(LightAugment(0, 3)(pixels, "a"), changed[3])
    assert changed[0].dtype == torch.uint8


def test_workers_deliver_the_same_batches(parts):
    config, splits, _, processor = parts
    collate = collator_for(processor, config)
    rows = list(range(len(splits["train"])))
    random.Random(0).shuffle(rows)
    batches = [rows[i : i + 16] for i in range(0, 64, 16)]
    for one, two in zip(
        batch_loader(splits["train"], collate, batches), batch_loader(splits["train"], collate, batches, 2), strict=True
    ):
        assert one.keys() == two.keys()
        torch.testing.assert_close(tensors_of(one), tensors_of(two))


def test_a_breakdown_by_a_column_that_no_split_has_is_refused(tiny):
    """Left out in silence, the axis would be missing from every table, and a typing error would pass for a choice."""
    with pytest.raises(
        ConfigError, match=r"data\.breakdown: no split has a further column 'organs'; there is only box, "
    ):
        load_splits(tiny(data__breakdown=["topic", "organs"]))
    assert load_splits(tiny(data__breakdown=["topic"]))["test"].breakdown == ["topic"]
