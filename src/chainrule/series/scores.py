"""How good sampled forecasts are: CRPS and coverage, per value, in the values' own units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.arguments import real_number
from chainrule.errors import ChainruleError

__all__ = ["central_interval", "covered", "crps"]

Values = NDArray[np.float64]


def crps(paths: ArrayLike, truth: ArrayLike) -> Values:
    """Continuous ranked probability score of samples, by its fair estimator; lower is better.

    mean_i |x_i - y| - sum_{i<j} |x_i - x_j| / (m (m - 1)), whose mean does not depend on how many paths there
    are, m (Ferro 2014). In the units of y; for a single certain value it is the absolute error.

    - `paths`: `(m, ...)` with m >= 2; `truth`: `(...)`.

    NaN where either is. Raises `ChainruleError` for other shapes.

    >>> crps([[0.0], [2.0]], [1.0])
    array([0.])
    """
    x, y = _checked(paths, truth)
    m = len(x)
    ordered = np.sort(x, axis=0)
    # In ascending order x_(k) is the greater one of k - 1 pairs and the smaller one of m - k.
    weights = (2 * np.arange(1, m + 1) - m - 1).reshape(-1, *[1] * y.ndim)
    spread = (weights * ordered).sum(0) / (m * (m - 1))
    return np.asarray(np.abs(x - y).mean(0) - spread)


def central_interval(paths: ArrayLike, level: float) -> tuple[Values, Values]:
    """The lower and upper end of the central interval of samples `(m, ...)`, each `(...)`.

    Quantiles at the expected places of order statistics (Weibull's p (m + 1)): a new value from where the
    samples are from lies inside with probability `level`, however few they are, as long as they are enough
    for the level.
    """
    outside = (1 - real_number("level", level, above=0.0, below=1.0)) / 2
    x = np.asarray(paths, dtype=np.float64)
    low, high = np.quantile(x, [outside, 1 - outside], axis=0, method="weibull")
    return np.asarray(low), np.asarray(high)


def covered(paths: ArrayLike, truth: ArrayLike, level: float = 0.9) -> NDArray[Any]:
    """1 where the truth lies in the central interval of the samples, 0 where not, NaN where it is missing.

    Its mean is the coverage, which should be `level`. Shapes and errors as of `crps`.
    """
    x, y = _checked(paths, truth)
    low, high = central_interval(x, level)
    inside = ((low <= y) & (y <= high)).astype(np.float64)
    return np.where(np.isnan(y) | np.isnan(low), np.nan, inside)


def _checked(paths: ArrayLike, truth: ArrayLike) -> tuple[Values, Values]:
    x, y = np.asarray(paths, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.ndim < 1 or len(x) < 2 or x.shape[1:] != y.shape:
        raise ChainruleError(
            f"expected paths of shape (m, ...) with m >= 2 and a truth of shape (...), but got {x.shape} and "
            f"{y.shape}."
        )
    return x, y
