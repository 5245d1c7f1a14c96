"""BLIP's retrieval, against the authors' own code (`tests/reference/blip-tiny-itm`, `blip-tiny-retrieval`) and plain
transformers."""

import json

import pytest
import torch
from conftest import REFERENCE
from safetensors.torch import load_file
from transformers import BlipForImageTextRetrieval

from blipvqa import load_model, save_model
from blipvqa.models import cpu
from blipvqa.models.contrast import (
    Queue,
    belong_together,
    draw_negatives,
    exponential_noise,
    negative_weights,
    soft_targets,
)
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.models.towers import Grid

ITM, TRAINING = REFERENCE / "blip-tiny-itm", REFERENCE / "blip-tiny-retrieval"
MATCHING = json.loads((ITM / "expected.json").read_text())
EXPECTED = json.loads((TRAINING / "expected.json").read_text())
CLS, SEP = 2, 3
TOWERS = {
    "visual_encoder": "vision_model",
    "vision_proj": "vision_proj",
    "text_encoder": "text_encoder",
    "text_proj": "text_proj",
}


@pytest.fixture(params=["usual", "onednn"])
def everywhere(request, monkeypatch):
    """The tiny models' products are too small for oneDNN: once as they are, once with all of them there."""
    if request.param == "onednn":
        monkeypatch.setattr(cpu, "WORTH_IT", 0)
        monkeypatch.setattr(cpu, "ROW_WORTH_IT", 0)


@pytest.fixture
def matcher(everywhere):
    return BlipForRetrieval.from_pretrained(ITM).eval()


def pictures(folder=TRAINING):
    return load_file(folder / "images.safetensors")["pixel_values"]


def close(ours, expected, atol=1e-5):
    torch.testing.assert_close(ours, torch.as_tensor(expected), atol=atol, rtol=0)


def learner():
    """The reference's model before its first step: momentum at 0.9 of the weights, and its queue."""
    model = BlipForRetrieval.from_pretrained(TRAINING).train()
    contrast = model.start_contrast(EXPECTED["queue_size"], EXPECTED["momentum"])
    for copied in contrast.towers.tensors().values():
        copied.mul_(0.9)
    state = load_file(TRAINING / "state.safetensors")
    contrast.queue.pictures.copy_(state["image_queue"].T)
    contrast.queue.texts.copy_(state["text_queue"].T)
    contrast.queue.ids.copy_(state["idx_queue"].expand(2, -1).T)
    contrast.queue.next.copy_(state["ptr_queue"][0])
    return model


def batch_of(step):
    """Its pairs over the distinct pictures, in the order in which they come."""
    distinct = list(dict.fromkeys(step["image_index"]))
    return {
        "input_ids": torch.tensor(step["input_ids"]),
        "attention_mask": torch.tensor(step["attention_mask"]),
        "pixel_values": pictures()[distinct],
        "image_index": torch.tensor([distinct.index(i) for i in step["image_index"]]),
        "image_ids": torch.tensor(step["idx"]),
        "grown": step["alpha"] / 0.4,
    }


def norm(parameters):
    return torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item()


def check_gradients(model, expected):
    for theirs, ours in TOWERS.items():
        assert norm(getattr(model, ours).parameters()) == pytest.approx(expected[theirs], rel=1e-5)
    assert norm(model.itm_head.parameters()) == pytest.approx(expected["itm_head"], rel=1e-5)
    assert model.temp.grad.item() == pytest.approx(expected["temp"], rel=1e-5)


def check_momentum(model, expected):
    for theirs, ours in TOWERS.items():
        copied = list(model.contrast.towers.copies[ours].parameters())
        assert sum(p.sum().item() for p in copied) == pytest.approx(expected[theirs]["sum"], rel=1e-5)
        assert sum(p.abs().sum().item() for p in copied) == pytest.approx(expected[theirs]["abs_sum"], rel=1e-5)


def test_matching_and_similarity_of_every_pair_equal_the_authors(matcher):
    states = matcher.picture_states(pictures(ITM))
    ids, mask = torch.tensor(MATCHING["input_ids_cls"]), torch.tensor(MATCHING["attention_mask"])
    images, texts = matcher.picture_features(states), matcher.text_features(ids, mask)
    close(images, MATCHING["image_features"])
    close(texts, MATCHING["text_features"])
    close(images @ texts.T, MATCHING["itc"])
    index = torch.arange(3).repeat_interleave(5)
    logits = matcher.match_logits(states, ids.repeat(3, 1), mask.repeat(3, 1), index)
    close(logits.view(3, 5, 2), MATCHING["itm_logits_enc"])
    close(logits.softmax(1)[:, 1].view(3, 5), MATCHING["itm_probability_enc"])


def test_neither_padding_on_either_side_nor_the_order_of_pairs_counts(matcher):
    states = matcher.picture_states(pictures(ITM))
    long = max(map(len, MATCHING["texts"])) + 2
    ids = torch.tensor([[0] * (long - len(t) - 2) + [CLS, *t, SEP] for t in MATCHING["texts"]])
    close(matcher.text_features(ids, (ids != 0).long()), MATCHING["text_features"])
    order = torch.tensor([[2, 4], [0, 0], [2, 1], [1, 3], [0, 4], [2, 4]])
    logits = matcher.match_logits(states, ids[order[:, 1]], ids[order[:, 1]] != 0, order[:, 0])
    close(logits, torch.tensor(MATCHING["itm_logits_enc"])[order[:, 0], order[:, 1]])


def test_two_training_steps_equal_the_authors(everywhere):
    model = learner()
    for step in EXPECTED["steps"]:
        check_momentum(model, step["momentum_before"])
        out = model(**batch_of(step))
        assert model.temp.item() == pytest.approx(step["temp"], abs=1e-6)
        assert out.loss_itc.item() == pytest.approx(step["loss_ita"], abs=1e-5)
        assert out.loss_itm.item() == pytest.approx(step["loss_itm"], abs=1e-5)
        assert out.loss_per_row.mean().item() == pytest.approx(out.loss.item(), abs=1e-6)
        close(out.itm_logits, step["itm_logits"])
        check_momentum(model, step["momentum_after"])
        queue = model.contrast.queue
        close(queue.pictures.T, step["image_queue_after"])
        close(queue.texts.T, step["text_queue_after"])
        assert queue.ids[:, 0].tolist() == step["idx_queue_after"][0] and queue.next.item() == step["pointer_after"]
        model.zero_grad()
        out.loss.backward()
        check_gradients(model, step["grad_norm"])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= EXPECTED["lr"] * parameter.grad


@pytest.mark.parametrize("step", EXPECTED["steps"], ids=["first", "second"])
def test_targets_and_the_weights_negatives_are_drawn_from_equal_the_authors(step):
    queue = load_file(TRAINING / "state.safetensors")
    if step is EXPECTED["steps"][1]:
        first = EXPECTED["steps"][0]
        queue = {
            "image_queue": torch.tensor(first["image_queue_after"]),
            "text_queue": torch.tensor(first["text_queue_after"]),
            "idx_queue": torch.tensor(first["idx_queue_after"]),
        }
    ids = torch.tensor(step["idx"])
    slow_pictures, slow_texts = (torch.tensor(step[f"momentum_{kind}_features"]) for kind in ("image", "text"))
    of_all = torch.cat([ids, queue["idx_queue"][0]])
    positive = belong_together(ids, of_all, of_all)
    close(positive / positive.sum(1, keepdim=True), step["sim_targets"])
    to_texts = slow_pictures @ torch.cat([slow_texts.T, queue["text_queue"]], 1) / step["temp"]
    to_pictures = slow_texts @ torch.cat([slow_pictures.T, queue["image_queue"]], 1) / step["temp"]
    close(soft_targets(to_texts, positive, step["alpha"]), step["sim_i2t_targets"])
    close(soft_targets(to_pictures, positive, step["alpha"]), step["sim_t2i_targets"])
    images, texts = torch.tensor(step["image_features"]), torch.tensor(step["text_features"])
    excluded = positive[:, : len(ids)]
    close(negative_weights(texts @ images.T / step["temp"], excluded), step["weights_t2i"])
    close(negative_weights(images @ texts.T / step["temp"], excluded), step["weights_i2t"])


@pytest.mark.parametrize("clamp", EXPECTED["temp_clamp"], ids=["high", "low"])
def test_the_temperature_is_clamped_before_a_step(clamp):
    model = learner()
    model.temp.data.fill_(clamp["temp_before"])
    out = model(**batch_of(EXPECTED["steps"][0]))
    assert model.temp.item() == pytest.approx(clamp["temp_after"])
    assert out.loss_itc.item() == pytest.approx(clamp["loss_ita"], rel=1e-5)


def test_a_batch_of_one_picture_has_no_negatives_and_trains_similarity_alone():
    model = learner()
    batch = batch_of(EXPECTED["steps"][0])
    alone = batch | {"pixel_values": batch["pixel_values"][:1], "image_index": torch.zeros(4, dtype=torch.long)}
    out = model(**alone | {"image_ids": torch.full((4,), 5)})
    assert out.loss_itm == 0 and out.loss_itc.isfinite()
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters()) and norm(model.itm_head.parameters()) == 0


def test_negatives_are_drawn_as_often_as_their_weights_say():
    weights = torch.tensor([[0.0, 0.1, 0.3, 0.6]]).repeat(8000, 1)
    columns = draw_negatives(weights, exponential_noise((8000, 4), 1, torch.device("cpu")))
    close(torch.bincount(columns, minlength=4) / 8000, [0.0, 0.1, 0.3, 0.6], atol=0.02)


@pytest.mark.parametrize("batch", [1, 4, 5, 12, 30])
def test_any_batch_fits_the_queue_and_what_overflowed_stays_out(batch):
    """The queue of 12 against a list of everything that came."""
    queue, came = Queue(12, 3, 0, torch.device("cpu")), [-100] * 12
    for start in range(0, 90, batch):
        ids = torch.arange(start, start + batch)
        features = ids[:, None].float().expand(-1, 3)
        queue.add(features, features, torch.stack([ids, ids + 1000], 1))
        came += ids.tolist()
        assert sorted(queue.ids[:, 0].tolist()) == came[-12:]
    written = queue.ids[:, 0] != -100
    assert (queue.pictures[written, 0].long() == queue.ids[written, 0]).all()
    assert (queue.ids[written, 1] == queue.ids[written, 0] + 1000).all()
    queue.add(torch.full((1, 3), float("inf")), torch.ones(1, 3), torch.tensor([[7, 8]]))
    assert queue.pictures.isfinite().all() and (queue.ids == -100).all(1).sum() >= 1


def test_an_export_is_the_parents_and_gives_its_numbers_and_keeps_the_temperature(matcher, tmp_path):
    with torch.no_grad():
        matcher.temp.fill_(0.0321)
    matcher.start_contrast(queue=8)
    matcher.save_pretrained(tmp_path)
    plain, notes = BlipForImageTextRetrieval.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values())
    again, notes = BlipForRetrieval.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(notes.values()) and again.temp.item() == pytest.approx(0.0321)
    ids, mask = torch.tensor(MATCHING["input_ids_cls"]), torch.tensor(MATCHING["attention_mask"])
    close(plain.eval()(ids, pictures(ITM), use_itm_head=False, attention_mask=mask)[0], MATCHING["itc"])
    enc = ids.clone()
    enc[:, 0] = 210
    logits = plain(enc, pictures(ITM)[[1] * 5], attention_mask=mask)[0]
    close(logits, MATCHING["itm_logits_enc"][1])


def test_a_folder_without_temperature_and_momentum_begins_with_the_authors(matcher):
    assert matcher.temp.item() == pytest.approx(0.07)
    contrast = matcher.start_contrast(queue=6, seed=3)
    online, copies = matcher.vision_proj.weight, contrast.tensors()["momentum.vision_proj.weight"]
    assert torch.equal(online, copies) and online.data_ptr() != copies.data_ptr()
    close(contrast.queue.texts.norm(dim=1), torch.ones(6))
    assert not torch.equal(contrast.queue.texts, contrast.queue.pictures)
    assert torch.equal(matcher.start_contrast(queue=6, seed=3).queue.texts, contrast.queue.texts)
    assert not any("momentum" in name or "queue" in name for name in matcher.state_dict())


def test_looking_at_a_loss_in_eval_mode_changes_nothing():
    model = learner().eval()
    before = {name: tensor.clone() for name, tensor in model.contrast.tensors().items()}
    with torch.no_grad():
        model(**batch_of(EXPECTED["steps"][0]))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.contrast.tensors().items())


def test_load_model_takes_the_class_from_task_and_folder(tiny, root):
    config = tiny(task="retrieval")
    model, processor = load_model("scratch", config, texts=["dense tissue", "pale tissue"])
    with torch.no_grad():
        model.temp.fill_(0.0321)
    save_model(model, processor, root / "exported")
    for again in (load_model(str(root / "exported")), load_model(str(root / "exported"), config)):
        assert type(again[0]) is BlipForRetrieval and again[0].temp.item() == pytest.approx(0.0321)
    _, notes = BlipForImageTextRetrieval.from_pretrained(root / "exported", output_loading_info=True)
    assert not any(notes.values())


def test_a_picture_of_many_texts_makes_no_row_wide(matcher):
    """Hard negatives crowd at a few pictures: their tokens stand in several rows, of about an average's width."""
    lengths, pictures_of = torch.randint(3, 9, (60,)), torch.tensor([2] * 50 + [0] * 8 + [1] * 2)
    mask = torch.arange(8) < lengths[:, None]
    grid, rows = Grid.of_mask(mask).in_even_rows(pictures_of, 4)
    average = int(lengths.sum()) / 3
    assert grid.width < average + 8 and sorted(set(rows.tolist())) == [0, 1, 2]
    tokens = torch.arange(int(lengths.sum()))[:, None].float().expand(-1, 4)
    assert torch.equal(grid.collect(grid.spread(tokens, 2)), tokens)
    assert torch.equal(rows[grid.row], pictures_of.repeat_interleave(lengths))
