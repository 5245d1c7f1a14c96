"""Learning on, over seeds: what each method keeps of earlier data sets (`docs/results.md`).

    python benchmarks/continual.py configs/continual-demo.yaml --seeds 0 1 2 --set continual.methods="[plain, replay]"

Each seed draws its own weights, order and memory; data sets are the same. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

from blipvqa import learn_on, load_config
from blipvqa.config.reading import parse_overrides
from blipvqa.continual.measures import MEASURES
from blipvqa.continual.report import write_report
from blipvqa.continual.tables import TITLES
from blipvqa.numbers.spread import spread
from blipvqa.pages.cards import markdown_table
from blipvqa.pages.wording import NOTHING, number


def cell(values: list[float | None]) -> str:
    """Mean and standard deviation over seeds."""
    over = spread(values)
    return NOTHING if over["value"] is None else f"{number(over)} ± {number(over, 'sd')}"


def summary(results: list[dict], own: bool) -> str:
    """A line a method, over the seeds that there are."""
    rows = []
    for method in results[0]["methods"]:
        scored = [result["methods"][method]["own" if own else "measures"] for result in results]
        scored = [one["measures"] for one in scored] if own else scored
        rows.append((TITLES[method], *(cell([one[name]["value"] for one in scored]) for name in MEASURES)))
    return markdown_table(["", *(how.title for how in MEASURES.values())], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--name", default="bench-continual")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    results = []
    for seed in options.seeds:
        own = parse_overrides(options.set) | {"seed": seed}
        learnt = learn_on(load_config(options.config, own, f"{options.name}-seed{seed}"), progress=False)
        write_report(learnt)
        results.append(learnt.scores)
        print(f"\n{len(results)} seeds, mean ± standard deviation\n\n{summary(results, own=False)}", flush=True)
        print(f"\nover answers of one stage alone\n\n{summary(results, own=True)}", flush=True)


if __name__ == "__main__":
    main()
