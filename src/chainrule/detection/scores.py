"""What a score is, and the check that every array of scores passes once.

A score is a log-likelihood in nats: low is odd. `-inf` is legal (the model calls the row
impossible) and so is `inf`; NaN is no score, and an error that names the row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError

__all__ = [
    "Booleans",
    "Floats",
    "as_column_scores",
    "as_flags",
    "as_p_values",
    "as_scores",
    "check_generator",
]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_NATS = "log-likelihoods in nats"
_P_VALUES = "numbers between 0 and 1, as conformal_p_values returns them"


def as_scores(values: Any, name: str = "scores", *, first_row: int = 0) -> Floats:
    """`values` (an array, tensor, Series or sequence of numbers) as float64, (rows,).

    Raises `ChainruleError` where they are not one number a row, or where one is NaN; rows are
    counted from `first_row`.
    """
    scores = _one_a_row(_numbers(values, name, _NATS), name)
    bad = np.flatnonzero(np.isnan(scores))
    if len(bad):
        raise ChainruleError(
            f"{name}: row {first_row + int(bad[0])} is NaN{_more(len(bad))}; a log-likelihood is a number, "
            "or -inf for an impossible row. Look at that row, and at the model that scored it."
        )
    return scores


def as_column_scores(
    values: Any, rows: int | None, names: tuple[str, ...] | None = None, *, first_row: int = 0
) -> Floats:
    """Log p of each column of each row as float64, (rows, columns); errors as in `as_scores`."""
    scores = _numbers(values, "column scores", _NATS)
    expected = ("rows" if rows is None else rows, "columns" if names is None else len(names))
    fits = scores.ndim == 2 and scores.shape[1] > 0
    if not fits or any(e != n for e, n in zip(expected, scores.shape, strict=True) if isinstance(e, int)):
        raise ChainruleError(
            f"column scores have shape {scores.shape}; expected ({expected[0]}, {expected[1]})."
        )
    bad = np.argwhere(np.isnan(scores))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        where = f"column {column if names is None else names[column]!r}"
        raise ChainruleError(f"column scores: row {first_row + row}, {where}, is NaN{_more(len(bad))}.")
    return scores


def as_p_values(values: Any) -> Floats:
    """p-values as float64, (rows,); `ChainruleError` unless each lies between 0 and 1."""
    p = _one_a_row(_numbers(values, "p-values", _P_VALUES), "p-values")
    bad = np.flatnonzero(~((p >= 0) & (p <= 1)))  # NaN is neither
    if len(bad):
        raise ChainruleError(
            f"p-values: row {int(bad[0])} is {p[bad[0]]:g}{_more(len(bad))}; expected {_P_VALUES}."
        )
    return p


def as_flags(values: Any, rows: int | None, name: str, meaning: str) -> Booleans:
    """Labels or alarms as booleans, (rows,).

    - rows: how many there must be, None for any number; meaning: what 1 and 0 stand for, said in errors
    """
    flags = _to_numpy(values)
    if flags.ndim != 1:
        raise ChainruleError(f"{name} have shape {flags.shape}; expected one for each row, (rows,).")
    if rows is not None and len(flags) != rows:
        raise ChainruleError(f"{name} have shape {flags.shape}; expected one for each row, ({rows},).")
    if flags.dtype != np.bool_ and not np.isin(flags, (0, 1)).all():
        odd = next(value for value in flags.tolist() if value not in (0, 1))
        raise ChainruleError(f"{name} hold {odd!r}; expected {meaning}.")
    return flags.astype(np.bool_)


def check_generator(generator: Any) -> None:
    """Raise `ChainruleError` for what draws no numbers, such as a bare seed."""
    if not callable(getattr(generator, "random", None)):
        raise ChainruleError(
            f"generator is of type {type(generator).__name__}; expected a NumPy generator, such as "
            "numpy.random.default_rng(0)."
        )


def _one_a_row(numbers: Floats, name: str) -> Floats:
    if numbers.ndim != 1:
        raise ChainruleError(f"{name} have shape {numbers.shape}; expected one number a row, (rows,).")
    return numbers


def _numbers(values: Any, name: str, expected: str) -> Floats:
    try:
        return _to_numpy(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ChainruleError(f"{name} are not numbers ({error}); expected {expected}.") from None


def _to_numpy(values: Any) -> NDArray[Any]:
    # A tensor is met by what it can do, so that this room needs no torch: it may require a
    # gradient, lie on another device, or be of a type that NumPy does not have.
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    return np.asarray(values)


def _more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1:,} more)"
