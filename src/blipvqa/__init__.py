"""Fine-tune BLIP on medical visual question answering, and look at what it learnt. `README.md` shows how."""

from blipvqa.bootstrapping.rounds import bootstrap
from blipvqa.captions.predictions import describe
from blipvqa.config.knobs import Config
from blipvqa.config.reading import load_config
from blipvqa.continual.sequence import learn_on
from blipvqa.data.dataset import VQADataset, load_splits
from blipvqa.models.loading import save_model
from blipvqa.pairs.predictions import judge
from blipvqa.retrieval.index import make_index
from blipvqa.retrieval.search import search
from blipvqa.runs.run import Run, run_config
from blipvqa.tasks import collator_for, evaluate, fine_tune, load_model, views
from blipvqa.training.trained import held_out, load_results
from blipvqa.vqa.answering import answer_all
from blipvqa.vqa.asking import ask
from blipvqa.vqa.batches import VQACollator
from blipvqa.vqa.elsewhere import evaluate_elsewhere
from blipvqa.vqa.predictions import predict
from blipvqa.vqa.scores import score

__all__ = [
    "Config",
    "Run",
    "VQACollator",
    "VQADataset",
    "answer_all",
    "ask",
    "bootstrap",
    "collator_for",
    "describe",
    "evaluate",
    "evaluate_elsewhere",
    "fine_tune",
    "held_out",
    "judge",
    "learn_on",
    "load_config",
    "load_model",
    "load_results",
    "load_splits",
    "make_index",
    "predict",
    "run_config",
    "save_model",
    "score",
    "search",
    "views",
]
