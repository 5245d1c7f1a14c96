"""Things that captions name: a list of terms with their synonyms, looked for as whole words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.config.paths import project_path
from blipvqa.data.synthetic_captions import TERMS as DRAWN
from blipvqa.text import words

Terms = Mapping[str, Sequence[str]]  # a term: its synonyms
NO_TERMS: Terms = MappingProxyType({})
SIDES = frozenset({"left", "right"})


def load_terms(config: Config) -> dict[str, list[str]]:
    """The terms of the file `caption.terms`; the drawn data brings its own. Empty where there are none.

    A line is `term`, or `term: synonym, synonym`; lines that begin with # are comments.
    """
    if config.caption.terms is None:
        return {term: list(synonyms) for term, synonyms in DRAWN.items()} if config.data.source == "synthetic" else {}
    try:
        lines = project_path(config.caption.terms).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"caption.terms '{config.caption.terms}' cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
            ": give a text file with one term a line, and its synonyms after a colon"
        ) from None
    terms: dict[str, list[str]] = {}
    for line in lines:
        term, _, synonyms = line.partition(":")
        if term.strip() and not term.startswith("#"):
            terms[term.strip()] = [synonym.strip() for synonym in synonyms.split(",") if synonym.strip()]
    if not terms:
        raise ConfigError(f"caption.terms '{config.caption.terms}' holds no term")
    return terms


class Finder:
    """Finds terms in texts, by words: "fat" is not in "fatty"."""

    def __init__(self, terms: Terms):
        self.patterns = {
            term: [f" {' '.join(words(text))} " for text in (term, *synonyms)] for term, synonyms in terms.items()
        }

    def named(self, text: str) -> set[str]:
        """The terms that a text names, itself or by a synonym."""
        padded = f" {' '.join(words(text))} "
        return {term for term, patterns in self.patterns.items() if any(pattern in padded for pattern in patterns)}


def side(texts: Sequence[str]) -> str | None:
    """ "left" or "right" where the texts name one of the two and never the other."""
    named = {word for text in texts for word in words(text)} & SIDES
    return next(iter(named)) if len(named) == 1 else None
