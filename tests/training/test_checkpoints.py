"""What a checkpoint holds comes back bit for bit."""

import pytest
import torch

from blipvqa.runs.run import RunError
from blipvqa.training.checkpoints import load_checkpoint, remove_orphans, restore, save_checkpoint


def parts(seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    momentum = torch.nn.Linear(3, 2).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer, {"momentum.weight": momentum.weight, "queue": torch.randn(4, 3).bfloat16()}


def test_remembered_tensors_come_back_bit_for_bit(tmp_path):
    model, optimizer, remembered = parts(1)
    save_checkpoint(tmp_path, 1, model, optimizer, {"step": 1}, 1, remembered)
    other, other_optimizer, blank = parts(2)
    tensors, state, notes = load_checkpoint(tmp_path)
    restore(tensors, other, other_optimizer, blank)
    assert (state, notes) == ({"step": 1}, [])
    assert torch.equal(other.weight, model.weight)
    for name, tensor in remembered.items():
        assert torch.equal(blank[name], tensor) and blank[name].dtype == tensor.dtype
    with pytest.raises(RunError, match=r"remembers other tensors: \['queue'\]"):
        restore(tensors, other, other_optimizer, {"momentum.weight": blank["momentum.weight"]})


def test_notes_without_tensors_are_removed(tmp_path):
    model, optimizer, _ = parts(1)
    save_checkpoint(tmp_path, 1, model, optimizer, {}, 1)
    (tmp_path / "step-00000000.json").write_text("{}")
    remove_orphans(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_a_later_checkpoint_that_cannot_be_read_does_not_push_out_the_good_one(tmp_path):
    """A kill between tensors and note at step 9; training goes on after step 6 and pauses at step 7."""
    model, optimizer, _ = parts(1)
    save_checkpoint(tmp_path, 6, model, optimizer, {"step": 6}, 1)
    (tmp_path / "step-00000009.safetensors").write_bytes(b"half")
    save_checkpoint(tmp_path, 7, model, optimizer, {"step": 7}, 1)
    assert load_checkpoint(tmp_path)[1:] == ({"step": 7}, [])
    assert {path.stem for path in tmp_path.iterdir()} == {"step-00000007"}
