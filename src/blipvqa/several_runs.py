"""The commands about several runs: compare, ensemble, sweep, board, transfer.

What brings in torch is imported once all names and settings were read, as in `__main__`.
"""

from __future__ import annotations

import argparse
import sys

from blipvqa.config.paths import project_root
from blipvqa.config.reading import load_config
from blipvqa.runs.run import Run, run_config


def _compare(options: argparse.Namespace) -> int:
    a, b = [Run(config.folder) for config in map(run_config, options.runs)]
    b.predictions(a.evaluated_split)  # raises where there are none
    from blipvqa.comparison import write_comparison

    print(f"open {write_comparison(a, b).relative_to(project_root())}")
    return 0


def _ensemble(options: argparse.Namespace) -> int:
    from blipvqa.first_look import run_with_model

    for name in options.runs:
        run_with_model(name)  # raises where there is none
    from blipvqa.ensemble import ensemble, soup

    if options.soup:
        run = soup(options.runs, options.name, greedy=options.soup == "greedy")
        print(f"{run.name}: the mean of {', '.join(run.state['soup'])}; blipvqa evaluate --name {run.name}")
    else:
        run = ensemble(options.runs, options.name)
        print(f"{run.name}: open {(run.folder / 'report.html').relative_to(project_root())}")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from blipvqa.sweep.grid import plan

    points = plan(options.config, options.grid, options.set, options.name)
    from blipvqa.sweep.running import devices_here, sweep

    outcomes = sweep(points, devices_here(options.devices))
    for outcome in outcomes:
        print(f"{outcome.name}: {outcome.says}")
    failed = sum(not outcome.well for outcome in outcomes)
    if failed:
        print(f"{failed} of {len(outcomes)} runs did not finish; the same command goes on with them", file=sys.stderr)
    _board(options)
    return 1 if failed else 0


def _board(_options: argparse.Namespace) -> int:
    from blipvqa.board import write_board

    print(f"open {write_board().relative_to(project_root())}")
    return 0


def _transfer(options: argparse.Namespace) -> int:
    from blipvqa.first_look import look_at_data, run_with_model

    runs = [run_with_model(name, task="vqa") for name in options.runs]
    sets = [load_config(one) for one in options.on]
    for one in sets:
        look_at_data(one)
    from blipvqa.transfer import write_transfer

    path = write_transfer(runs, sets)
    print(f"open {path.relative_to(project_root())}")
    return 0


SEVERAL_RUNS = {  # by the command's name
    "compare": _compare,
    "ensemble": _ensemble,
    "sweep": _sweep,
    "board": _board,
    "transfer": _transfer,
}
