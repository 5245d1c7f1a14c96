"""What CapFilt is for: pre-training on noisy, on filtered, on bootstrapped captions, and what follows from each.

Equal steps, and the same clean pairs in all three. Then retrieval on clean pairs without fine-tuning, and questions with
few labels, each with 95 % intervals over pictures and a paired comparison with the noisy captions (for questions also
with a model that was not pre-trained). Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from blipvqa import Config, Run, bootstrap, evaluate, fine_tune, load_config, load_splits
from blipvqa.bootstrapping.folder import card_of, write_folder
from blipvqa.bootstrapping.rounds import Bootstrapped
from blipvqa.bootstrapping.stages import clean_config, plan
from blipvqa.config.paths import project_path
from blipvqa.config.reading import parse_overrides, with_overrides
from blipvqa.numbers.bootstrap import BY_IMAGE
from blipvqa.numbers.comparison import compare_counts
from blipvqa.pages.cards import markdown_table
from blipvqa.pages.wording import interval, number
from blipvqa.retrieval import measures as retrieval
from blipvqa.runs.files import write_text
from blipvqa.vqa import measures as questions

KEEPS = {  # which texts of the source and of the captioners each variant trains on, beside the clean pairs
    "noisy": lambda text: text["origin"] == "web",
    "filtered": lambda text: text["origin"] == "web" and text["kept"],
    "bootstrapped": lambda text: text["kept"],
}
NONE = "not pre-trained"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/capfilt-demo.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500, help="of each pre-training, to the nearest epoch")
    parser.add_argument("--labels", type=int, nargs="*", default=[100, 300], help="pictures with questions")
    parser.add_argument("--epochs", type=int, default=30, help="of the fine-tuning on questions")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    result = bootstrap(load_config(options.config, parse_overrides(options.set)), progress=False)
    lines = [f"# {result.config.name}: noisy, filtered, bootstrapped", ""]
    for seed in options.seeds:
        starts = {variant: pretrained(result, variant, seed, options.steps) for variant in KEEPS}
        lines += [f"## Retrieval on clean pairs, seed {seed}", "", retrieval_table(starts), ""]
        for pictures in options.labels:
            runs = {NONE: answering(result.config, None, NONE, seed, pictures, options.epochs)}
            for variant, run in starts.items():
                runs[variant] = answering(result.config, run, variant, seed, pictures, options.epochs)
            lines += [f"## Questions on {pictures} pictures, seed {seed}", "", question_table(runs), ""]
        write_text(result.config.folder / "table.md", "\n".join(lines))  # what there is so far
    print("\n".join(lines))


def pretrained(result: Bootstrapped, variant: str, seed: int, steps: int) -> Run:
    """The model pre-trained on a variant's texts, searched through without fine-tuning."""
    source = f"outputs/{result.config.name}/table-{variant}"
    texts = [{**text, "kept": KEEPS[variant](text)} for text in result.texts]
    clean = load_splits(clean_config(result.config))
    card = card_of(result.config, texts, clean["train"], result.rounds[-1]["threshold"])
    write_folder(project_path(source), texts, result.data["train"], clean, result.config, card)
    rows = len(clean["train"]) + sum(text["kept"] for text in texts)
    anew = plan(result.config)[-1].anew
    own = {"name": f"{result.config.name}-table-{variant}-seed{seed}", "seed": seed, "data.source": source}
    config = with_overrides(anew.as_dict(), own)
    an_epoch = -(-rows // config.train.batch_size)
    config = with_overrides(config.as_dict(), {"train.epochs": max(1, round(steps / an_epoch))})
    fine_tune(config)
    return evaluate(config, start=False, progress=False)


def answering(config: Config, start: Run | None, variant: str, seed: int, pictures: int, epochs: int) -> Run:
    """A model fine-tuned on the questions of a few pictures, from a pre-trained one or from scratch."""
    synthetic = {"images": {"train": pictures, "validation": 80, "test": 140}, "size": 96, "seed": 2}
    own = {
        "task": "vqa",
        "name": f"{config.name}-table-{variant.replace(' ', '-')}-vqa{pictures}-seed{seed}",
        "seed": seed,
        "bootstrap": {},
        "train": {"epochs": epochs, "metric": "exact_match", "questions_per_image": 16, "evaluate_questions": 200},
        "model.name": "scratch" if start is None else f"outputs/{start.name}/model",
    }
    tree = config.as_dict() | {"data": {"synthetic": synthetic}, "bootstrap": {}}
    run = fine_tune(with_overrides(tree, own))
    return evaluate(run.config, grounding=False, start=False, progress=False)


def retrieval_table(runs: dict[str, Run]) -> str:
    """Mean R and R@1 both ways of each run, and what mean R gains over the noisy captions."""
    head = ["captions", "steps", "mean R", "picture by text, R@1", "text by picture, R@1", "mean R, minus noisy"]
    return _table(head, runs, ("r_mean", "img_r1", "txt_r1"), retrieval, "noisy", steps=True)


def question_table(runs: dict[str, Run]) -> str:
    """Exact match of each run, minus that of the model that was not pre-trained, and of the noisy captions."""
    head = ["pre-trained on", "exact match", f"minus {NONE}", "minus noisy"]
    return _table(head, runs, ("exact_match",), questions, NONE, "noisy")


def _table(head: list[str], runs: dict[str, Run], names: tuple[str, ...], module, *others: str, steps=False) -> str:
    rows = []
    for variant, run in runs.items():
        overall = run.metrics("test")["overall"]
        cells = [f"{number(overall[name])} [{interval(overall[name])}]" for name in names]
        differences = [_difference(runs[other], run, names[0], module) for other in others]
        rows.append([variant, *([run.state["step"]] if steps else []), *cells, *differences])
    return markdown_table(head, rows)


def _difference(a: Run, b: Run, name: str, module) -> str:
    if a.name == b.name:
        return "–"
    rows = a.predictions("test")
    counted = [module.counts(run.predictions("test")) for run in (a, b)]
    groups, everything = BY_IMAGE.groups_of(rows), [np.arange(len(rows))]
    (compared,) = compare_counts(*counted, groups, everything, module.MEASURES, [name])
    entry = compared[name]
    return f"{number(entry, 'difference', sign=True)} [{interval(entry, sign=True)}], p {number(entry, 'p')}"


if __name__ == "__main__":
    main()
