"""What the CPU has to do for a training step before a GPU can compute it, in milliseconds of its own time.

The model has BLIP's 12 layers a tower and the batch 64 questions, but its states are 16 numbers wide: what is left is
the work of asking for operations, which is as large at full size. Time of this process alone, so that others on the
machine do not count; the collator's share, which loader processes take over on a GPU, stands beside it.

    OMP_NUM_THREADS=1 python benchmarks/host.py [TASK …]
"""

import os
import statistics
import sys
import tempfile
import time

import torch

os.environ.setdefault("BLIPVQA_ROOT", tempfile.mkdtemp())

from blipvqa import load_config
from blipvqa.data.dataset import load_splits
from blipvqa.models.loading import load_model
from blipvqa.tasks import task_of
from blipvqa.training.task import Place

SETTINGS = {
    "data.synthetic": {"images": {"train": 24, "validation": 4, "test": 4}, "size": 48},
    "model.name": "scratch",
    "model.image_size": 16,
    "model.scratch": {"hidden_size": 16, "layers": 12, "heads": 2, "patch_size": 8, "vocabulary": 300},
    "retrieval.queue": 512,
}
STEPS = 15


def of_task(name: str) -> tuple[float, float]:
    """Milliseconds of the collator and of the rest of a step, the middle of STEPS."""
    torch.manual_seed(0)
    config = load_config(None, SETTINGS | {"task": name}, "host")
    task, data = task_of(config), load_splits(config)["train"]
    model, processor = load_model("scratch", config, data.texts)
    model.train()
    task.remembered(model, config)
    collate, items = task.collator(processor, config), data.__getitems__(list(range(min(64, len(data)))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    collating, stepping = [], []
    for number in range(STEPS):
        began = time.process_time()
        batch = collate(items)
        collated = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        task.losses(model, batch, Place(number, STEPS, number)).per_row.sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        collating.append(collated - began)
        stepping.append(time.process_time() - collated)
    return 1000 * statistics.median(collating), 1000 * statistics.median(stepping)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("vqa", "caption", "retrieval", "pretrain"):
        collating, stepping = of_task(name)
        print(f"{name:10} collator {collating:6.1f} ms   step {stepping:6.1f} ms")
