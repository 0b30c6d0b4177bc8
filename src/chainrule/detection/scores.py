"""What a score is, and the check that every array of scores passes once.

A score is a log-likelihood in nats: low is odd. `-inf` is legal (the model calls the row
impossible) and so is `inf`; NaN is no score, and an error that names the row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ChainruleError

__all__ = ["Booleans", "Floats", "as_column_scores", "as_labels", "as_scores"]

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def as_scores(values: Any, name: str = "scores", *, first_row: int = 0) -> Floats:
    """`values` (an array, tensor, Series or sequence of numbers) as float64, (rows,).

    Raises `ChainruleError` where they are not one number a row, or where one is NaN; rows are
    counted from `first_row`.
    """
    scores = _numbers(values, name)
    if scores.ndim != 1:
        raise ChainruleError(f"{name} have shape {scores.shape}; expected one number a row, (rows,).")
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
    scores = _numbers(values, "column scores")
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


def as_labels(values: Any, rows: int) -> Booleans:
    """Labels as booleans, (rows,): 1 or True is an anomaly, 0 or False a normal row."""
    labels = _to_numpy(values)
    if labels.shape != (rows,):
        raise ChainruleError(f"labels have shape {labels.shape}; expected one for each score, ({rows},).")
    if labels.dtype != np.bool_ and not np.isin(labels, (0, 1)).all():
        odd = next(value for value in labels.tolist() if value not in (0, 1))
        raise ChainruleError(f"labels hold {odd!r}; expected 1 for an anomaly and 0 for a normal row.")
    return labels.astype(np.bool_)


def _numbers(values: Any, name: str) -> Floats:
    try:
        return _to_numpy(values).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ChainruleError(f"{name} are not numbers ({error}); expected log-likelihoods in nats.") from None


def _to_numpy(values: Any) -> NDArray[Any]:
    # A tensor is met by what it can do, so that this room needs no torch: it may require a
    # gradient, lie on another device, or be of a type that NumPy does not have.
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    return np.asarray(values)


def _more(count: int) -> str:
    return "" if count == 1 else f" (and {count - 1:,} more)"
