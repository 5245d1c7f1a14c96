"""YAML in which a value means what it looks like, for configs, overrides and the `config.yaml` of a run.

Notable:
- `true`, `false`, `null`, whole numbers and decimal numbers are what they are; everything else is text. So `no`, `012`,
  `1_000`, `12:30` and `2024-01-01` stay the text that stands there, where YAML 1.1 makes false, 10, 1000, 750 and a
  date of them. A knob that wants a number refuses such a text by name.
- No tags, no aliases (a few lines of them can expand to gigabytes), and no key twice in a mapping.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

# Without a dot too: 5e-5 is a number to people. YAML 1.1 reads it as text.
DECIMAL = re.compile(
    r"[-+]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
SCHEMA = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789")),
    "float": (DECIMAL, list("-+.0123456789")),
}


class _Reader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}  # none of YAML 1.1's: those of `SCHEMA` are added below

    def compose_node(self, parent, index):
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.YAMLError(f"anchors and aliases (&name, *name) are not allowed, line {line}")
        if getattr(event, "tag", None):
            raise yaml.YAMLError(f"tags ({event.tag}) are not allowed, line {line}: write text in quotes")
        return super().compose_node(parent, index)

    def construct_yaml_float(self, node):
        value = super().construct_yaml_float(node)
        if not value and re.search(r"[1-9]", node.value.lower().partition("e")[0]):
            raise yaml.YAMLError(f"{node.value} is too small for a number, and would be 0")
        return value

    def construct_mapping(self, node, deep=False):
        lines: dict[Any, list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:str"  # a key is a name, also `no` and `1`
                lines.setdefault(key.value, []).append(key.start_mark.line + 1)
        twice = [
            f"key '{key}' stands on lines {' and '.join(map(str, at))}" for key, at in lines.items() if len(at) > 1
        ]
        if twice:
            raise yaml.YAMLError(f"{'; '.join(twice)}: keep one")
        return super().construct_mapping(node, deep)


class _Writer(yaml.SafeDumper):
    """Puts quotes round what either this schema or YAML 1.1 would not read as text."""


_Reader.add_constructor("tag:yaml.org,2002:float", _Reader.construct_yaml_float)
for kind, (pattern, first_characters) in SCHEMA.items():
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", pattern, first_characters)
_Writer.add_implicit_resolver("tag:yaml.org,2002:float", DECIMAL, list("-+.0123456789"))


def parse_yaml(text: str) -> Any:
    """Plain values of `text`: mappings, lists, texts, numbers, true, false and null. Raises ValueError that says where
    it is anything else."""
    try:
        return yaml.load(text, Loader=_Reader)  # a SafeLoader: no objects
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def write_yaml(tree: Any) -> str:
    """The text that `parse_yaml` reads as `tree`, keys in their order."""
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True)
