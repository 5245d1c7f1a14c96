"""Every command of the shell, with its arguments; `__main__` runs them."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = (
    "The steps of the notebooks from a shell: `blipvqa run|train|evaluate|report CONFIG`, or `python -m blipvqa …`."
)
TRAINING = {"train": "fine-tune, or go on with a run", "run": "the notebooks in order, then the report"}
LOOKING = {  # at a trained run, by its name
    "evaluate": "predict and score",
    "report": "write report.html",
    "stress": "notebook 05: the score against corrupted pictures",
}


def parser() -> argparse.ArgumentParser:
    """What the shell's arguments are read by."""
    the_parser = argparse.ArgumentParser(prog="blipvqa", description=DESCRIPTION)
    commands = the_parser.add_subparsers(dest="command", required=True)
    project = commands.add_parser("init", help="lay out configs and notebooks in a folder of your own")
    project.add_argument("folder", type=Path)
    for name, meaning in TRAINING.items():
        command = commands.add_parser(name, help=meaning)
        command.add_argument("config", help="a file of configs/")
        command.add_argument("--name", help="the run's name; by default the config's")
        command.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. train.epochs=3")
    for name, meaning in LOOKING.items():
        command = commands.add_parser(name, help=meaning)
        command.add_argument("config", nargs="?", help="a file of configs/; by default the run's own settings")
        command.add_argument("--name", help="the run's name; by default the config's")
        command.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. generate.num_beams=3")
        if name == "evaluate":
            command.add_argument("--new-data", action="store_true", help="the data is not as it was in training")
            command.add_argument("--on", metavar="CONFIG", help="a config whose data it is asked about instead")
    predict = commands.add_parser("predict", help="answer a table, or a folder of pictures, of your own")
    predict.add_argument("--name", help="the run's name; by default demo")
    predict.add_argument("--input", required=True, help="a table with image and question, or a folder of pictures")
    predict.add_argument("--output", required=True, help="the .csv, .xlsx or .jsonl to write")
    predict.add_argument("--questions", help="for a folder: a text file with one question a line")
    predict.add_argument("--skip", action="store_true", help="leave out rows that cannot be asked, and name them")
    predict.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. generate.uncertain_below=0.5")
    export = commands.add_parser("export", help="a run's model in another form")
    push = commands.add_parser("push", help="a run's model to the Hub: shows what, and sends it with --send")
    for command in (export, push):
        command.add_argument("--name", required=True, help="the run's name")
    export.add_argument("--form", choices=("int8",), default="int8", help="int8: smaller, for a CPU")
    push.add_argument("--repo", required=True, help="owner/name on the Hub; made as a private one")
    push.add_argument("--send", action="store_true", help="send it; without, nothing leaves this machine")
    page = commands.add_parser("page", help="a page on this machine, to ask a run's model about your own pictures")
    page.add_argument("--name", help="the run's name; by default demo")
    page.add_argument("--host", default="127.0.0.1", help="beyond this machine it wants BLIPVQA_PAGE_PASSWORD")
    page.add_argument("--port", type=int, default=7860)
    page.add_argument("--nearest", metavar="RUN", help="a run of task: retrieval, which shows like training pictures")
    page.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. generate.uncertain_below=0.5")
    sequence = commands.add_parser("learn-on", help="data sets learnt one after the other, and what is forgotten")
    sequence.add_argument("config", help="a file of configs/ with continual.stages")
    sequence.add_argument("--name", help="of the folder in outputs/, and what its runs' names begin with")
    sequence.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. continual.methods=[plain]")
    grid = commands.add_parser("sweep", help="a run for each point of a grid of settings")
    grid.add_argument("config", help="a file of configs/")
    grid.add_argument("--name", help="what the runs' names begin with; by default the config's")
    grid.add_argument("--grid", nargs="*", default=[], metavar="KEY=VALUE,VALUE", help="e.g. seed=0,1,2")
    grid.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="for every run, e.g. train.epochs=3")
    grid.add_argument("--devices", metavar="0,1", help="GPUs to run on side by side; by default all")
    together = commands.add_parser("ensemble", help="runs of one recipe answer together, or as one model (--soup)")
    together.add_argument("runs", nargs="+")
    together.add_argument("--name", required=True, help="the folder in outputs/ to write")
    together.add_argument("--soup", choices=("uniform", "greedy"), help="the mean of their weights, as one model")
    compare = commands.add_parser("compare", help="two runs side by side")
    compare.add_argument("runs", nargs=2)
    transfer = commands.add_parser("transfer", help="every run asked about every set: a table")
    transfer.add_argument("--runs", nargs="+", required=True, metavar="NAME")
    transfer.add_argument("--on", nargs="+", required=True, metavar="CONFIG", help="configs, for their data")
    others = commands.add_parser("score", help="predictions of another program (lmms-eval, MedEvalKit, a table)")
    others.add_argument("config", help="a file of configs/, for its data")
    others.add_argument("--predictions", required=True, help="the .json, .jsonl or .csv")
    others.add_argument("--name", required=True, help="the folder in outputs/ to write")
    others.add_argument("--split", help="by default test, or validation")
    others.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. data.source=folder")
    hand = commands.add_parser("predictions", help="a run's predictions in the form of another program")
    hand.add_argument("--name", required=True)
    hand.add_argument("--form", required=True, help="lmms-eval, medevalkit or table")
    hand.add_argument("--output", required=True)
    shards = commands.add_parser("shards", help="any source as parquet files, which are read at a million rows")
    shards.add_argument("source", help="what data.source of a config may be: tars, a folder of tables, a Hub id")
    shards.add_argument("folder", help="where to write; the same command goes on after a kill")
    shards.add_argument("--workers", type=int, help="processes that write; by default one a core")
    shards.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. data.on_error=skip")
    commands.add_parser("board", help="every run of outputs/ on one page")
    commands.add_parser("clean-cache", help="remove resized images and drawn data").add_argument("config", nargs="?")
    return the_parser
