"""Density of states: how usual several statistics of an image are together (Morningstar et al. 2021).

Each statistic alone has a blind side; images that fool all of them at once, in a combination that clean
images have too, are far fewer. The statistics of clean images are whitened, and their density estimated:
`"kde"`, the product of kernel estimates along the whitened directions, as the paper has it, or `"gaussian"`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from chainrule.detection.scores import Floats
from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.complexity import code_bits
from chainrule.security.passes import Passed
from chainrule.security.scores import Score

__all__ = ["STATISTICS", "DensityOfStates"]

#: Clean images that the density of the statistics is kept of.
_KEPT = 4000
#: Share of an image's pixels that `top-surprise` looks at.
_TOP = 0.02


def _surprise(passed: Passed) -> NDArray[np.float64]:
    """-log p by variable, nats, `(N, n)`."""
    surprise: NDArray[np.float64] = -passed.by_pixel.double().flatten(1).numpy()
    return surprise


def _top_surprise(passed: Passed) -> Floats:
    surprise = _surprise(passed)
    count = max(1, round(_TOP * surprise.shape[1]))
    top: Floats = np.partition(surprise, -count, axis=1)[:, -count:].mean(1)
    return top


#: Every statistic by its name; all come from the same pass. In nats, but the code length, in bits.
STATISTICS: dict[str, Callable[[Passed], Floats]] = {
    "log-likelihood": lambda passed: passed.log_prob,
    "code-length": lambda passed: code_bits(passed, "best"),
    "top-surprise": _top_surprise,
    "surprise-spread": lambda passed: _surprise(passed).std(1),
    "likelihood-ratio": lambda passed: passed.background() - passed.log_prob,
}


class DensityOfStates(Score):
    """log density of an image's statistics among those of clean images, `DoSE`.

    - `statistics`: names of `STATISTICS`; None: all that can be had, the likelihood ratio if there is a
      background model.
    - `density`: `"kde"` or `"gaussian"`.

    Its clean images may not calibrate a threshold too: they would look more usual than fresh ones.
    """

    name: ClassVar[str] = "density-of-states"
    needs_fit: ClassVar[bool] = True

    def __init__(self, statistics: Sequence[str] | None = None, density: str = "kde") -> None:
        for name in statistics or ():
            if name not in STATISTICS:
                raise unknown_name("statistic", name, STATISTICS)
        if density not in ("kde", "gaussian"):
            raise unknown_name("density of states", density, ("kde", "gaussian"))
        self.statistics = None if statistics is None else tuple(statistics)
        self.density = density
        self._learned: dict[str, Floats] = {}

    def fit(self, clean: Passed) -> Self:
        """Whiten the statistics of the clean images, and keep them."""
        if self.statistics is None:
            without = () if clean.log_prob_background is not None else ("likelihood-ratio",)
            self.statistics = tuple(name for name in STATISTICS if name not in without)
        values = self._values(clean)
        if len(values) <= values.shape[1] + 1:
            raise ChainruleError(
                f"a density over {values.shape[1]} statistics needs more than {values.shape[1] + 1} clean "
                f"images, not {len(values)}."
            )
        mean = values.mean(0)
        # A statistic that never varies would be divided by 0; it then says nothing either way.
        scale = np.maximum(values.std(0, ddof=1), 1e-9)
        _, axes = np.linalg.eigh(np.cov(((values - mean) / scale).T).reshape(len(mean), len(mean)))
        turned = ((values - mean) / scale) @ axes
        spread = np.maximum(turned.std(0, ddof=1), 1e-6)
        self._learned = {"mean": mean, "whitening": axes / scale[:, None] / spread}
        whitened = turned / spread
        if self.density == "kde":
            self._learned["points"] = np.ascontiguousarray(whitened[:_KEPT])
        return self

    def score(self, passed: Passed) -> Floats:
        """`(N,)`: log density up to a constant."""
        if not self._learned:
            raise ChainruleError("this DensityOfStates has seen no clean images yet; call fit(clean) first.")
        whitened = (self._values(passed) - self._learned["mean"]) @ self._learned["whitening"]
        if self.density == "gaussian":
            distance: Floats = -0.5 * np.square(whitened).sum(1)
            return distance
        return self._log_kde(whitened)

    def settings(self) -> dict[str, Any]:
        """`statistics`, `density`."""
        return {
            "statistics": None if self.statistics is None else list(self.statistics),
            "density": self.density,
        }

    def learned(self) -> dict[str, Floats]:
        """Mean and whitening of the statistics, and the whitened clean images."""
        return self._learned

    def take_up(self, learned: dict[str, Floats]) -> Self:
        """The same."""
        self._learned = dict(learned)
        return self

    def _values(self, passed: Passed) -> NDArray[np.float64]:
        assert self.statistics is not None
        return np.stack([STATISTICS[name](passed) for name in self.statistics], axis=1)

    def _log_kde(self, whitened: NDArray[np.float64]) -> Floats:
        """Sum over directions of the log of a Gaussian kernel estimate, Scott's bandwidth n^(-1/5)."""
        points = self._learned["points"]
        width = len(points) ** -0.2
        total = np.zeros(len(whitened))
        for direction in range(whitened.shape[1]):
            # In blocks: the distances of 10,000 images to 4000 points would fill 300 MB.
            for start in range(0, len(whitened), 1000):
                at = whitened[start : start + 1000, direction, None]
                exponents = -0.5 * np.square((at - points[:, direction]) / width)
                largest = exponents.max(1)
                summed = np.exp(exponents - largest[:, None]).mean(1)
                total[start : start + 1000] += largest + np.log(summed)
        return total
