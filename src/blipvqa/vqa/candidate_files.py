"""A file of candidates, `generate.candidates`: one answer a line. It is known by what it holds, not by its name."""

from __future__ import annotations

from blipvqa.config.knobs import ConfigError
from blipvqa.config.paths import project_path
from blipvqa.training.stored import content_digest


def candidates_in(name: str) -> list[str]:
    """The answers in a file of candidates. Raises ConfigError where it cannot be read, or holds none."""
    try:
        lines = project_path(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"generate.candidates '{name}' cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}): give "
            "'train', or a text file with one answer a line"
        ) from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise ConfigError(f"generate.candidates '{name}' holds no answer")
    return texts


def digest_of_candidates(name: str) -> str | None:
    """A digest of the answers in a file of candidates, in whatever order; None of the train answers, which the data's
    own digests tell of, and of a file that is not here, as where a model was copied without it."""
    if name == "train":
        return None
    try:
        return content_digest(sorted(set(candidates_in(name))))
    except ConfigError:
        return None
