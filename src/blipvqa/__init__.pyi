from .bootstrapping.rounds import bootstrap
from .captions.predictions import describe
from .config.knobs import Config
from .config.reading import load_config
from .continual.sequence import learn_on
from .data.dataset import VQADataset, load_splits
from .models.loading import save_model
from .pairs.predictions import judge
from .retrieval.index import make_index
from .retrieval.search import search
from .runs.run import Run, run_config
from .tasks import collator_for, evaluate, fine_tune, load_model, views
from .training.trained import held_out, load_results
from .vqa.answering import answer_all
from .vqa.asking import ask
from .vqa.batches import VQACollator
from .vqa.elsewhere import evaluate_elsewhere
from .vqa.predictions import predict
from .vqa.scores import score

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
