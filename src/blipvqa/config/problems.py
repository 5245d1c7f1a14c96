"""What is wrong with a config: every problem in one message, each with its dotted key, and what may have been meant."""

from __future__ import annotations

import difflib
import unicodedata
from typing import Any

from pydantic import BaseModel, ValidationError

from blipvqa.config.kinds import ONE, SEVERAL
from blipvqa.config.knobs import Config, ConfigError

WORDS = {  # pydantic's kind of error: what was expected, in our words
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "list_type": "expected a list, e.g. [a, b]",
    "dict_type": "expected a mapping of keys to values",
    "model_type": "expected a section of keys and values",
    "string_too_short": "expected a text that is not empty; leave the line out for the default",
    "finite_number": "expected a finite number",
}
NO_KEYS = ("[key]", ONE, SEVERAL)  # what pydantic puts into a place beside keys
QUIET = ("extra_forbidden", "value_error")  # kinds whose message says already what stands there


def knob_names(section: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """The dotted names of all knobs and sections."""
    names = []
    for name, field in section.model_fields.items():
        names.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += knob_names(field.annotation, f"{prefix}{name}.")
    return names


def section_names() -> set[str]:
    """The dotted names of what holds other knobs."""
    names = knob_names()
    return {name for name in names if any(other.startswith(f"{name}.") for other in names)}


def checked_config(tree: dict, where: str) -> Config:
    """The config of `tree`, which messages call `where`. Raises ConfigError that lists all that is wrong.

    Knobs that must fit each other are compared only when each is possible by itself. So what is impossible is taken out
    and the rest is checked again, or a misspelt key would hide them.
    """
    lines: list[str] = []
    wrong_keys: list[str] = []
    while True:
        try:
            config = Config.model_validate(tree)
            break
        except ValidationError as error:
            problems = error.errors()
            for problem in problems:
                lines += _lines_of(problem, wrong_keys)
            impossible = [problem["loc"] for problem in problems if problem["type"] not in QUIET]
            wrong_keys += [str(place[-1]) for place in impossible if place]
            shorter = _without(tree, [problem["loc"] for problem in problems])
            tree = shorter if shorter != tree else {}
    if lines:
        raise ConfigError(f"{where} has {len(lines)} problem{'s'[: len(lines) > 1]}:\n" + "\n".join(lines))
    return config


def _lines_of(problem: dict, wrong_keys: list[str]) -> list[str]:
    key = ".".join(str(part) for part in problem["loc"] if part not in NO_KEYS)
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return [f"  {key}: unknown key{_odd_letters(key)}{_meant(key)}"]
    message = WORDS.get(kind, problem["msg"]).removeprefix("Value error, ")
    if value is None and kind not in QUIET:
        message += "; leave the line out for the default"
    elif kind == "string_type" and isinstance(value, int | float):
        message += "; put it in quotes"
    instead = "" if kind in QUIET else f" (found {_shown(value)})"
    # A comparison with a knob that is wrong itself would compare with that knob's default.
    fits = [line for line in message.split("\n") if kind != "value_error" or not any(w in line for w in wrong_keys)]
    return [f"  {key}: {line}{instead}" if key else f"  {line}{instead}" for line in fits]


def _odd_letters(key: str) -> str:
    """ " with U+0435 CYRILLIC SMALL LETTER IE" for what looks like a letter of a knob's name, or like nothing."""
    odd = dict.fromkeys(letter for letter in key if not letter.isascii())
    named = [f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip() for letter in odd]
    return f" with {', '.join(named[:3])}" if named else ""


def _shown(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value!r:.80}"


def _meant(key: str) -> str:
    """ ", did you mean train.epochs?" where a knob has that name elsewhere, or a similar one."""
    names = knob_names()
    *section, last = key.split(".")
    same = [name for name in names if name.split(".")[-1] == last]
    siblings = {name.split(".")[-1]: name for name in names if name.split(".")[:-1] == section}
    short = [name for knob, name in siblings.items() if last == "".join(word[0] for word in knob.split("_"))]
    similar = [siblings[name] for name in difflib.get_close_matches(last, siblings, 1, 0.6)]
    by_last = {name.split(".")[-1]: name for name in names}
    elsewhere = [by_last[name] for name in difflib.get_close_matches(last, by_last, 1, 0.75)]
    meant = same or short or similar or elsewhere or difflib.get_close_matches(key, names, 1, 0.6)
    return f", did you mean {' or '.join(meant[:3])}?" if meant else ""


def _without(tree: dict, places: list[tuple]) -> dict:
    """`tree` without what stands at `places`; a whole section goes where the place is no key of it."""
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for place in places:
        branch, keys = copy, [part for part in place if part not in NO_KEYS]
        if not keys:  # knobs of several sections do not fit each other: nothing more can be seen
            return {}
        for part in keys[:-1]:
            inner = branch.get(part) if isinstance(branch, dict) else None
            if not isinstance(inner, dict):
                keys = [part]
                break
            branch[part] = branch = dict(inner)
        branch.pop(keys[-1], None)
    return copy
