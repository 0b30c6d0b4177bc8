"""The errors people see: what was wrong, where, what was expected, what to do.

Every mistake a user can make is a `ChainruleError`, which is a `ValueError`; the command line
prints its message as one line and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["ChainruleError", "NonFiniteLossError", "unknown_name"]


class ChainruleError(ValueError):
    """A mistake in what was asked for or handed in; the message says how to mend it."""


class NonFiniteLossError(ChainruleError):
    """Training met a loss that is NaN or infinite; the message names the step and what to try."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ChainruleError:
    """An error for a misspelt name, with the nearest known ones.

    >>> print(unknown_name("model", "nad", ["nade", "made", "fvsbn"]))
    unknown model 'nad'; did you mean 'nade' or 'made'? Known: fvsbn, made, nade
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    return ChainruleError(f"unknown {kind} {str(name)!r}{hint} Known: {', '.join(known)}")
