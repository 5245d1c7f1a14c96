"""What several pictures, or the turns before, are worth: a config's run beside one that gets less of the same rows.

    python benchmarks/one_or_several.py configs/series-demo.yaml      # beside: the first picture of each row alone
    python benchmarks/one_or_several.py configs/dialogue-demo.yaml    # beside: without the column `history`
    python benchmarks/one_or_several.py configs/pairs-demo.yaml       # beside: the first picture of each pair twice

Same rows, same settings, same seed. The task's headline (exact match, accuracy) on test with 95 % intervals over rows' pictures, and the difference in
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
from blipvqa.tasks import task_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--name", default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_config(options.config, parse_overrides(options.set), options.name)
    with_all, with_less = (answers(one) for one in (config, with_less_of_it(config)))
    text = config.texts[0]
    if [row[text] for row in with_all] != [row[text] for row in with_less]:
        raise SystemExit("the two runs were not asked the same")
    print(table(config, with_all, with_less))


def with_less_of_it(config: Config) -> Config:
    """The same run without turns, where the drawn data has them, or with the first picture of each row alone."""
    if config.data.synthetic.dialogues:
        return with_overrides(config.as_dict(), {"name": f"{config.name}-alone", "data.history": False})
    folder = f"outputs/{config.name}-first-pictures"
    splits = {}
    for split, dataset in load_splits(config).items():
        splits[split] = lines_of(dataset, split)
        for line, row in zip(splits[split], dataset.rows, strict=True):
            first = line["image"][0]
            line |= {"image": [first, first] if config.task == "pairs" else first, "topic": row["topic"]}
            line |= {text: row[text] for text in config.texts}
    write_rows(project_path(folder), splits)
    own = {"name": f"{config.name}-alone", "data.source": folder, "model.picture_places": False}
    return with_overrides(config.as_dict(), own)


def answers(config: Config) -> list[dict]:
    """What the config's run answers on test."""
    fine_tune(config)
    less = {"exchange": False} if config.task == "pairs" else {"grounding": False}
    return evaluate(config, start=False, progress=False, **less).predictions("test")


def table(config: Config, with_all: list[dict], with_less: list[dict]) -> str:
    """A line for all rows and one for each topic, those with p-values that Holm corrected."""
    how = task_of(config).comparing
    topics = rows_by(row["topic"] for row in with_all)
    slices = [np.arange(len(with_all)), *(np.array(rows) for rows in topics.values())]
    groups = BY_IMAGE.groups_of(with_all)
    both = how.counts(with_less, config), how.counts(with_all, config)
    found = [one[how.headline] for one in compare_counts(*both, groups, slices, how.measures, [how.headline])]
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
    return markdown_table(["", how.unit, "with all of it", "with less", "difference", "p"], rows)


if __name__ == "__main__":
    main()
