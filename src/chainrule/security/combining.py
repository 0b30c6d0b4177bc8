"""Several p-values of one image made one, and which ways may be trusted when they depend on each other.

The p-values of several scores of one image come from the same image and the same calibration images, so they
**are** dependent. Then only `"bonferroni"` and `"harmonic"` keep P(p <= a) <= a whatever the dependence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.detection.scores import Floats, as_p_values
from chainrule.errors import ChainruleError, unknown_name

__all__ = ["COMBINATIONS", "combine_p_values"]


def combine_p_values(p_values: Any, method: str = "harmonic") -> Floats:
    """One p-value for each image from K of them, `(N, K)` to `(N,)`, each in (0, 1].

    - `"bonferroni"`: K min p. Valid under **any** dependence.
    - `"harmonic"`: the harmonic mean times the least factor that makes it valid under **any** dependence,
      about ln K (Vovk & Wang 2020, "Combining p-values via averaging", proposition 6; 2 for K = 2). Better
      than Bonferroni's where several are small.
    - `"cauchy"`: Liu & Xie 2020. Valid under independence; under dependence only in the limit of small
      levels, for a wide class of dependences: **approximate**.
    - `"fisher"`: chi-squared of -2 sum ln p. Valid for **independent** p-values alone: for several scores of
      one image it raises far too many false alarms. For p-values of different images of one batch.
    """
    if method not in COMBINATIONS:
        raise unknown_name("way to combine p-values", method, COMBINATIONS)
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 2 or not p.shape[1]:
        raise ChainruleError(f"p-values have shape {p.shape}; expected (images, p-values of each).")
    as_p_values(p.ravel())
    if bool((p == 0).any()):
        raise ChainruleError("a p-value is 0, which no rank test gives; expected numbers above 0.")
    return COMBINATIONS[method](p)


def _bonferroni(p: Floats) -> Floats:
    combined: Floats = np.minimum(1.0, p.shape[1] * p.min(1))
    return combined


def _harmonic(p: Floats) -> Floats:
    mean = p.shape[1] / (1 / p).sum(1)
    combined: Floats = np.minimum(1.0, _harmonic_factor(p.shape[1]) * mean)
    return combined


def _harmonic_factor(count: int) -> float:
    """a_K = (y + K)^2 / ((y + 1) K), y the root of y^2 = K ((y + 1) ln(y + 1) - y)."""
    if count <= 2:
        return float(count)
    low, high = 1e-9, 1.0

    def left_over(y: float) -> float:
        return y * y - count * ((y + 1) * math.log1p(y) - y)

    while left_over(high) < 0:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if left_over(middle) < 0 else (low, middle)
    return (high + count) ** 2 / ((high + 1) * count)


def _cauchy(p: Floats) -> Floats:
    # tan near its pole loses what 1 / (p pi) keeps.
    terms = np.where(p < 1e-9, 1 / (p * math.pi), np.tan((0.5 - np.minimum(p, 1 - 1e-12)) * math.pi))
    mean = terms.mean(1)
    combined: Floats = np.where(
        mean > 1e9, 1 / (np.maximum(mean, 1.0) * math.pi), 0.5 - np.arctan(mean) / math.pi
    )
    return combined


def _fisher(p: Floats) -> Floats:
    from scipy import stats

    combined: Floats = stats.chi2.sf(-2 * np.log(p).sum(1), 2 * p.shape[1])
    return combined


#: Every way by its name.
COMBINATIONS: dict[str, Callable[[Floats], Floats]] = {
    "bonferroni": _bonferroni,
    "harmonic": _harmonic,
    "cauchy": _cauchy,
    "fisher": _fisher,
}
