"""Things that captions name: a list of terms with their synonyms, looked for as whole words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path
from blipvqa.data.synthetic_captions import TERMS as DRAWN
from blipvqa.text import says_something, words

Terms = Mapping[str, Sequence[str]]  # a term: its synonyms
NO_TERMS: Terms = MappingProxyType({})
SIDES = frozenset({"left", "right"})
# In a name they would be dropped, and "fibre; fiber" be looked for as two words; so would a mark between two spaces.
SEPARATORS = frozenset(",;:\t|，；：、")


def load_terms(config: Config) -> dict[str, list[str]]:
    """The terms of the file `caption.terms`; the drawn data brings its own. Empty where there are none.

    A line is `term`, or `term: synonym, synonym`; lines that begin with # are comments. Raises ConfigError for a file
    that cannot be read or names nothing, and for a line without a term, with other separators, or with a name that
    stands there already: one name cannot mean two things.
    """
    if config.caption.terms is None:
        return {term: list(synonyms) for term, synonyms in DRAWN.items()} if config.data.source == "synthetic" else {}
    file = f"caption.terms '{config.caption.terms}'"
    try:
        lines = project_path(config.caption.terms).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
            ": give a text file with one term a line, and its synonyms after a colon"
        ) from None
    terms: dict[str, list[str]] = {}
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        term, _, after = line.partition(":")
        synonyms = [synonym.strip() for synonym in after.split(",") if synonym.strip()]
        for name in (term.strip(), *synonyms):
            _check_name(name, number, line_of, file)
        terms[term.strip()] = synonyms
    if not terms:
        raise ConfigError(f"{file} holds no term")
    return terms


def _check_name(name: str, number: int, line_of: dict[str, int], file: str) -> None:
    if not says_something(name):
        raise ConfigError(f"{file}, line {number}: found {name!r} for a term or synonym, expected a word")
    if SEPARATORS & set(name) or not all(map(says_something, name.split())):
        raise ConfigError(
            f"{file}, line {number}: found {name!r} for a term or synonym; "
            "a line is `term`, or `term: synonym, synonym`"
        )
    before = line_of.setdefault(" ".join(words(name)), number)
    if before < number:
        raise ConfigError(
            f"{file}, line {number}: {name!r} stands in line {before} already; leave it in one of the two"
        )


class Finder:
    """Finds terms in texts, by whole words: "fat" is not in "fatty", nor "gland" in "glands" unless it is a synonym.

    Of terms that lie within each other the longest counts: who names a cell wall names no cell.
    """

    def __init__(self, terms: Terms):
        self.patterns = [
            (f" {' '.join(words(name))} ", term) for term, synonyms in terms.items() for name in (term, *synonyms)
        ]

    def named(self, text: str) -> set[str]:
        """The terms that a text names, itself or by a synonym."""
        padded = f" {' '.join(words(text))} "
        spans = [
            (match.start(), match.start() + len(pattern), term)
            for pattern, term in self.patterns
            if pattern in padded
            for match in re.finditer(f"(?={re.escape(pattern)})", padded)  # ahead: two may share the space between them
        ]
        return {
            term
            for start, end, term in spans
            if not any(a <= start and end <= b and b - a > end - start for a, b, _ in spans)
        }


def side(texts: Sequence[str]) -> str | None:
    """ "left" or "right" where the texts name one of the two and never the other."""
    named = {word for text in texts for word in words(text)} & SIDES
    return next(iter(named)) if len(named) == 1 else None
