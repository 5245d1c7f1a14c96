"""Fine-tune BLIP on medical visual question answering, and look at what it learnt. `README.md` shows how."""

from .config import Config, load_config
from .data import VQACollator, VQADataset, load_splits
from .evaluation import evaluate
from .loading import load_model, save_model
from .metrics import score
from .prediction import ask, predict
from .runs import Run
from .training import fine_tune

__all__ = [
    "Config",
    "Run",
    "VQACollator",
    "VQADataset",
    "ask",
    "evaluate",
    "fine_tune",
    "load_config",
    "load_model",
    "load_splits",
    "predict",
    "save_model",
    "score",
]
