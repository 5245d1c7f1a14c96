"""A grid of settings, checked whole before its first run: unknown keys, values that fit no knob, runs that are one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from blipvqa.config.kinds import NAME_PATTERN
from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.reading import every_difference, load_config, parse_overrides
from blipvqa.config.recipes import result_settings
from blipvqa.runs.run import has_other_settings


@dataclass(frozen=True)
class Point:
    """One run of a grid."""

    config: Config
    pairs: tuple[str, ...]  # all that is set beside the config file, "key=value" as a shell gives it
    path: str | None  # the config file

    def command(self, program: Sequence[str]) -> list[str]:
        """What starts it; a run that is there already goes on, or is only evaluated."""
        return [*program, *([self.path] if self.path else []), "--name", self.config.name, "--set", *self.pairs]


def plan(path: str | None, grid: Sequence[str], pairs: Sequence[str] = (), name: str | None = None) -> list[Point]:
    """The runs of a grid (`["seed=0,1", "train.learning_rate=1e-4,3e-4"]`: every combination), all checked.

    Values are read as those of `pairs`, which hold for every run; a comma inside quotes or brackets belongs to its
    value. Names say what differs: `demo-seed0-learning_rate1e-4`. Raises ConfigError or RunError for a grid that cannot
    be run as a whole.
    """
    values = parse_grid(grid)
    base = load_config(path, parse_overrides(list(pairs)), name)
    also = [key for key in parse_overrides(list(pairs)) if key in values]
    if also:
        raise ConfigError(f"{', '.join(also)} stands in the grid and beside it: keep one of the two")
    points = []
    for combination in itertools.product(*values.values()):
        own = dict(zip(values, combination, strict=True))
        of_run = (*pairs, *(f"{key}={text}" for key, text in own.items()))
        config = load_config(path, parse_overrides(list(of_run)), _name(base.name, own))
        points.append(Point(config, of_run, path))
    _refuse_the_same(points, base, values)
    # here, not above: they import torch, for whose seconds nobody should wait who has mistyped a key
    from blipvqa.tasks import task_of
    from blipvqa.training.settings import check_settings

    for point in points:
        check_settings(point.config, task_of(point.config))
        has_other_settings(point.config)
    return points


def parse_grid(pairs: Sequence[str]) -> dict[str, list[str]]:
    """{key: the texts of its values}. Raises ConfigError for an empty grid, a key without values or there twice."""
    values: dict[str, list[str]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key, texts = key.strip(), [part.strip() for part in _split(text)]
        if not equals or not key:
            raise ConfigError(f"'{pair}' in the grid is not of the form key=value,value, e.g. seed=0,1,2 (no spaces)")
        if "" in texts:
            raise ConfigError(f"'{pair}' in the grid has an empty value: write '' for an empty text, null for nothing")
        if key in values:
            raise ConfigError(f"'{key}' stands in the grid twice: give all its values at once")
        if key == "name":
            raise ConfigError("'name' in the grid: the sweep names its runs itself; their common part is NAME (--name)")
        values[key] = texts
    if not values:
        raise ConfigError('the grid is empty: give what differs between the runs, e.g. GRID="seed=0,1,2"')
    return values


def _split(text: str) -> list[str]:
    """At commas, but for those inside quotes or brackets."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _name(base: str, own: dict[str, str]) -> str:
    """Readable: each key's last part (all of it where two keys share that) with its value."""
    last = [key.split(".")[-1] for key in own]
    parts = [base]
    for key, text in own.items():
        short = key.split(".")[-1]
        value = re.sub(r"[^A-Za-z0-9._-]+", "-", text.strip("'\"[]{} ")).rstrip("-") or "empty"
        parts.append(f"{short if last.count(short) == 1 else key}{'' if value[0] in '-0123456789' else '-'}{value}")
    name = "-".join(parts)
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"a run of the grid would be called '{name}', of {len(name)} letters: give a shorter NAME")
    return name


def _refuse_the_same(points: Sequence[Point], base: Config, values: dict[str, list[str]]) -> None:
    """Raises ConfigError where two runs would compute the same, or get one name, and for a key that changes nothing."""
    by_result: dict[str, Config] = {}
    names: set[str] = set()
    for point in points:
        other = by_result.setdefault(str(result_settings(point.config)), point.config)
        if other is not point.config:
            keys = every_difference({**other.as_dict(), "name": ""}, {**point.config.as_dict(), "name": ""})
            why = f"{', '.join(keys)} changes nothing there" if keys else "their values are the same"
            raise ConfigError(f"runs '{other.name}' and '{point.config.name}' of the grid are one: {why}")
        if point.config.name in names:
            raise ConfigError(f"two runs of the grid would be called '{point.config.name}': their values look alike")
        names.add(point.config.name)
    for key in (key for key, texts in values.items() if len(texts) == 1):
        without = load_config(
            points[0].path, parse_overrides([p for p in points[0].pairs if _key(p) != key]), base.name
        )
        if result_settings(without) == result_settings(points[0].config):
            raise ConfigError(
                f"'{key}' in the grid has one value, which changes nothing: leave it out, or give several. Runs that "
                "are finished are left out by themselves"
            )


def _key(pair: str) -> str:
    return pair.partition("=")[0].strip()
