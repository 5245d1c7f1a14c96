"""What several pictures, or the turns before, are worth: a config's run beside one that gets less of the same rows.

    python benchmarks/one_or_several.py configs/series-demo.yaml      # beside: the first picture of each row alone
    python benchmarks/one_or_several.py configs/dialogue-demo.yaml    # beside: without the column `history`

Same rows, same settings, same seed. Exact match on test with 95 % intervals over rows' pictures, and the difference in
pairs, all together and by topic. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

import numpy as np

from blipvqa import Config, evaluate, fine_tune, load_config, load_splits
from blipvqa.config.paths import project_path
from blipvqa.config.reading import parse_overrides, with_overrides
from blipvqa.continual.rows import lines_of, write_rows
from blipvqa.numbers.bootstrap import BY_IMAGE
from blipvqa.numbers.comparison import adjusted, compare_counts
from blipvqa.numbers.grouping import rows_by
from blipvqa.pages.cards import markdown_table
from blipvqa.pages.wording import interval, number
from blipvqa.vqa.measures import MEASURES, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--name", default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_config(options.config, parse_overrides(options.set), options.name)
    with_all, with_less = (answers(one) for one in (config, with_less_of_it(config)))
    if [row["question"] for row in with_all] != [row["question"] for row in with_less]:
        raise SystemExit("the two runs were not asked the same questions")
    print(table(with_all, with_less))


def with_less_of_it(config: Config) -> Config:
    """The same run without turns, where the drawn data has them, or with the first picture of each row alone."""
    if config.data.synthetic.dialogues:
        return with_overrides(config.as_dict(), {"name": f"{config.name}-alone", "data.history": False})
    folder = f"outputs/{config.name}-first-pictures"
    splits = {}
    for split, dataset in load_splits(config).items():
        splits[split] = lines_of(dataset, split)
        for line, row in zip(splits[split], dataset.rows, strict=True):
            line |= {"image": line["image"][0], "topic": row["topic"]}
    write_rows(project_path(folder), splits)
    own = {"name": f"{config.name}-alone", "data.source": folder, "model.picture_places": False}
    return with_overrides(config.as_dict(), own)


def answers(config: Config) -> list[dict]:
    """What the config's run answers on test."""
    fine_tune(config)
    return evaluate(config, grounding=False, start=False, progress=False).predictions("test")


def table(with_all: list[dict], with_less: list[dict]) -> str:
    """A line for all questions and one for each topic, those with p-values that Holm corrected."""
    topics = rows_by(row["topic"] for row in with_all)
    slices = [np.arange(len(with_all)), *(np.array(rows) for rows in topics.values())]
    groups = BY_IMAGE.groups_of(with_all)
    both = counts(with_less), counts(with_all)
    found = [one["exact_match"] for one in compare_counts(*both, groups, slices, MEASURES, ["exact_match"])]
    found = [found[0], *adjusted(found[1:])]
    rows = [
        [
            name,
            one["n"],
            number(one, "b"),
            number(one, "a"),
            f"{number(one, 'difference', sign=True)} [{interval(one, sign=True)}]",
            number(one, "p_holm"),
        ]
        for name, one in zip(["all", *topics], found, strict=True)
    ]
    return markdown_table(["", "questions", "with all of it", "with less", "difference", "p"], rows)


if __name__ == "__main__":
    main()
