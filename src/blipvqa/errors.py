"""Errors that a person can mend: one message each, in a shell and in a notebook."""

from __future__ import annotations


class UserError(Exception):
    """An error in what a person gave: its message names the thing, what was found, and what to do.

    IPython shows the message alone (`_render_traceback_` is its hook), since our own frames help nobody to mend a
    config or a file; the shell prints it and exits with 2.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class InputError(UserError, ValueError):
    """An argument, a sheet or a row that cannot be used as asked."""


class MissingFile(UserError, FileNotFoundError):
    """A file that a person named is not there."""


class DamagedFile(UserError, ValueError):
    """A file of ours that holds something else than what was written."""


class DivergedError(UserError, FloatingPointError):
    """A loss or gradient that is no number."""
