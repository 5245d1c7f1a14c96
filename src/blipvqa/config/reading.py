"""From a YAML file and overrides to a `Config`, and what differs between two of them.

Notable:
- Overrides may be dotted, nested, or both; a mapping is merged into what the file says.
- `settings_difference` says what changed between two runs; `SAFE_TO_CHANGE` names what a resumed run may change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path, project_root
from blipvqa.config.plain_yaml import parse_yaml
from blipvqa.config.problems import checked_config, section_names

NO_PROJECT = (
    " There is no project here or above: set BLIPVQA_ROOT to the folder that holds configs/ and notebooks/, in a "
    "notebook by %env BLIPVQA_ROOT=/its/path in the first cell."
)
# A resumed run may differ in these: they do not change what one optimizer step computes.
SAFE_TO_CHANGE = (
    "name",
    "fresh",
    "reference_curve",
    "train.max_minutes",
    "train.log_every",
    "train.workers",
    "train.keep_checkpoints",
    "train.tracker",
    "train.patience",
    "generate",
    "caption.num_beams",
    "caption.max_length",
    "caption.min_length",
    "caption.repetition_penalty",
    "caption.beams_by",
    "caption.sample",
    "caption.top_p",
    "caption.top_k",
    "caption.terms",
    "data.cache_dir",
    "data.breakdown",
    "data.subset",  # as the next one
    "data.validation_seed",
    "data.revision",  # rows are compared one by one
    "model.revision",  # commits are compared where weights are left as they were
)

NEXT_PAIR = re.compile(rf"\s+(?=(?:[A-Za-z_]\w*(?:\.[\w-]+)+|{'|'.join(Config.model_fields)})\s*=)")


def read_yaml(text: str, name: str) -> Any:
    """Plain YAML values of `text`; `name` is what an error calls it."""
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{name} is not plain YAML: {error}") from None


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["train.epochs=3", …]`, values read as YAML, as `--set` gives them; or several in one text, as `make run SET=`.

    In one text, a pair begins where a space is followed by a knob's name and `=`: values may hold spaces and braces.
    """
    overrides: dict[str, Any] = {}
    for pair in (one for text in pairs for one in NEXT_PAIR.split(text.strip())):
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"override '{pair}' is not of the form key=value, e.g. train.epochs=3")
        value = read_yaml(text, f"the value of override '{key}'")
        if key in overrides and overrides[key] != value:
            raise ConfigError(f"override '{key}' is given twice, as {overrides[key]!r} and {value!r}: keep one")
        overrides[key] = value
    return overrides


def merge_overrides(tree: dict, overrides: dict[str, Any]) -> dict:
    """`tree` with `overrides`, whose keys may be dotted, nested, or both: `{"train": {"epochs": 1}}` says the same as
    `train.epochs: 1`.

    A mapping is merged key by key into what stands there; an empty one empties a knob that is a mapping (`data.where`).
    Raises ConfigError where a key is no key, or stands twice.
    """
    places: set[str] = set()
    return _merged(tree, overrides, "", section_names() | {""}, places)


def _merged(tree: dict, overrides: dict[str, Any], section: str, sections: set[str], places: set[str]) -> dict:
    """`tree`, which is the dotted `section` of the config, with `overrides`. `places` are the knobs set so far."""
    merged = dict(tree)
    for key, value in overrides.items():
        first, dot, rest = str(key).partition(".") if _parts_names(section, sections) else (str(key), "", "")
        if not first or (dot and not rest):
            raise ConfigError(f"key '{key}' has an empty part, expected e.g. train.epochs")
        place = f"{section}.{first}" if section else first
        value = {rest: value} if dot else value
        if isinstance(value, dict) and (value or place in sections):
            before = merged.get(first, {})
            if not isinstance(before, dict) and place not in sections:
                before = {}  # a knob that takes a mapping too, as `model.name`
            if not isinstance(before, dict):
                raise ConfigError(f"key '{place}' stands for a section, but the config has {before!r:.60} there")
            value = _merged(before, value, place, sections, places)
        elif place in places:
            raise ConfigError(f"key '{place}' is set twice, dotted and nested: keep one")
        else:
            places.add(place)
        merged[first] = value
    return merged


def _parts_names(section: str, sections: set[str]) -> bool:
    """Whether a dot in the keys of `section` parts names. Inside a knob that is a mapping it belongs to the name: of a
    column, for instance. `data.without` holds the knobs of `data`."""
    return section.replace("data.without", "data", 1) in sections


def load_config(
    path: str | Path | None = None, overrides: dict[str, Any] | None = None, name: str | None = None
) -> Config:
    """The config of a YAML file (None: all defaults) with overrides; `name` defaults to the file's stem.

    Raises ConfigError that lists every unknown key, wrong type and impossible value at once.
    """
    tree: dict = {}
    if path is not None:
        file = project_path(path)
        try:
            text = file.read_text(encoding="utf-8-sig")
            if "\0" in text:  # UTF-16 without a mark
                raise UnicodeError
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text, so save it as UTF-8"
            more = "" if (project_root() / "configs").is_dir() else NO_PROJECT
            raise ConfigError(f"config '{path}' cannot be read: {reason}. Configs lie in configs/.{more}") from None
        tree = read_yaml(text, f"config '{path}'")
        tree = {} if tree is None else tree
        if not isinstance(tree, dict):
            raise ConfigError(f"config '{path}' must be a mapping of keys to values, found {type(tree).__name__}")
        tree.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "-", file.stem))
    if name:
        overrides = {**(overrides or {}), "name": name}
    return with_overrides(tree, overrides, f"config '{path}'" if path else "config")


def with_overrides(tree: dict, overrides: dict[str, Any] | None, where: str = "config") -> Config:
    """The config of a tree of settings with overrides, dotted or nested. Raises ConfigError as `load_config`."""
    return checked_config(merge_overrides(merge_overrides({}, tree), overrides or {}), where)


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """{dotted key: value} of a tree of settings; an empty mapping is a value."""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def settings_difference(old: dict, new: dict) -> dict[str, tuple]:
    """Dotted keys whose values differ between two `Config.as_dict()` trees, but for `SAFE_TO_CHANGE`.

    More epochs are safe under a constant schedule only: a cosine's every step depends on their number.
    """
    differences, safe = every_difference(old, new), SAFE_TO_CHANGE
    if old.get("train", {}).get("schedule") == "constant" == new.get("train", {}).get("schedule"):
        safe += ("train.epochs",)
    return {
        key: values for key, values in differences.items() if not any(key == s or key.startswith(s + ".") for s in safe)
    }


def every_difference(old: dict, new: dict) -> dict[str, tuple]:
    """Every dotted key whose values differ between two `Config.as_dict()` trees, in alphabetical order."""
    before, after = flatten(_with_defaults(old)), flatten(_with_defaults(new))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    }


def _with_defaults(tree: dict) -> dict:
    """A stored config with the defaults of knobs that are younger than it."""
    try:
        return Config.model_validate(tree).as_dict()
    except ValidationError:
        return tree
