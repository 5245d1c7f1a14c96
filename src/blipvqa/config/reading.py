"""From a YAML file and overrides to a `Config`, and what differs between two of them.

Notable:
- YAML is read as mappings, lists and plain values only: no tags, no aliases.
- `settings_difference` says what changed between two runs; `SAFE_TO_CHANGE` names what a resumed run may change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path

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
    "data.cache_dir",
    "data.breakdown",
)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can expand to gigabytes. Also reads 5e-5 as a number."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*name) are not allowed, line {self.peek_event().start_mark.line + 1}")
        return super().compose_node(parent, index)


_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(text: str, name: str) -> Any:
    """Plain YAML values of `text`; `name` is what an error calls it."""
    try:
        return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader: no tags, no objects
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} is not plain YAML: {' '.join(str(error).split())}") from None


def _set_dotted(tree: dict, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"override '{key}': '{parent}' is not a section")
    tree[last] = value


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """`["train.epochs=3", …]`, values read as YAML, as `make run SET=` and `--set` give them."""
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"override '{pair}' is not of the form key=value, e.g. train.epochs=3")
        overrides[key.strip()] = read_yaml(value, f"the value of override '{key}'")
    return overrides


def load_config(
    path: str | Path | None = None, overrides: dict[str, Any] | None = None, name: str | None = None
) -> Config:
    """The config of a YAML file (None: all defaults) with dotted overrides; `name` defaults to the file's stem.

    Raises ConfigError that lists every unknown key, wrong type and impossible value at once.
    """
    tree: dict = {}
    if path is not None:
        file = project_path(path)
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"config '{path}' cannot be read: {reason}. Configs lie in configs/.") from None
        tree = read_yaml(text, f"config '{path}'")
        tree = {} if tree is None else tree
        if not isinstance(tree, dict):
            raise ConfigError(f"config '{path}' must be a mapping of keys to values, found {type(tree).__name__}")
        tree.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "-", file.stem))
    for key, value in (overrides or {}).items():
        _set_dotted(tree, str(key), value)
    if name:
        tree["name"] = name
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_problems(error, path)) from None


def _problems(error: ValidationError, path) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]") or "config"
        found = "" if problem["type"] in ("extra_forbidden", "value_error") else f" (found {problem['input']!r:.80})"
        message = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {key}: {message.removeprefix('Value error, ')}{found}")
    where = f"config '{path}'" if path else "config"
    return f"{where} has {len(lines)} problem{'s'[: len(lines) > 1]}:\n" + "\n".join(lines)


def _flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def settings_difference(old: dict, new: dict) -> dict[str, tuple]:
    """Dotted keys whose values differ between two `Config.as_dict()` trees, but for `SAFE_TO_CHANGE`.

    More epochs are safe under a constant schedule only: a cosine's every step depends on their number.
    """
    before, after = _flatten(old), _flatten(new)
    safe = SAFE_TO_CHANGE
    if before.get("train.schedule") == "constant" == after.get("train.schedule"):
        safe += ("train.epochs",)
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not any(key == s or key.startswith(s + ".") for s in safe)
    }
