"""What `test_sequence_kills.py` starts: `write_points.py` with what several runs lead to, learning on and CapFilt.

Each phase is killed before every so-manyth of its writes, whatever stage that lies in, and started again.
"""

import sys

import write_points
from write_points import SMALL

from blipvqa import bootstrap, learn_on, load_config

STAGES = [
    {"name": "he", "data.synthetic": {"stains": ["hematoxylin and eosin"], "seed": 1}},
    {"name": "silver", "data.synthetic": {"stains": ["silver"], "seed": 2}},
]
LEARNING = SMALL | {
    "train.epochs": 1,
    "train.checkpoint_every": 2,
    "train.samples": 0,
    "continual.stages": STAGES,
    "continual.methods": ["plain", "replay"],
    "continual.replay": 0.5,
}
PAIRS = {"images": {"train": 6, "validation": 3, "test": 3}, "size": 32}
BOOTSTRAPPING = SMALL | {
    "task": "pretrain",
    "train.epochs": 1,
    "train.batch_size": 6,
    "train.samples": 0,
    "retrieval": {"queue": 12, "momentum": 0.9, "rerank": 0},
    "caption.max_length": 30,
    "data.synthetic": PAIRS | {"caption_noise": 0.4},
    "bootstrap.clean": {"synthetic": PAIRS | {"seed": 1}},
    "bootstrap.threshold": 0.0,
}
del BOOTSTRAPPING["train.metric"]


def learning():
    learn_on(load_config(None, LEARNING, "learning"), resamples=20, progress=False)


def bootstrapping():
    bootstrap(load_config(None, BOOTSTRAPPING, "kept"), resamples=20, progress=False)


write_points.PHASES = {"learning": learning, "bootstrapping": bootstrapping}

if __name__ == "__main__":
    write_points.main(*sys.argv[1:])
