"""Scores of images beside plain log p(x): each repairs a way in which log p(x) alone is known to fail.

All have `fit(clean)` and `score(passed)`, **higher for usual images**, and read what one parallel pass over
each image and density says (`Passed`), so that any number of them costs one pass.

- `LogLikelihood`: log p(x) itself, PixelDefend's. Below chance where the odd images are simpler than the
  usual ones (a model of clothes gives digits a *higher* likelihood).
- `LikelihoodRatio` (Ren et al. 2019): against a background model trained on mutated images.
- `Typicality` (Nalisnick et al. 2019b): too high is odd as well; for single images and for batches.
- `InputComplexity` (Serra et al. 2020): against a lossless codec; in `complexity`.
- `DensityOfStates` (Morningstar et al. 2021): how usual several such statistics are together; in `states`.

No score wins on all pairs of data sets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from chainrule.arguments import whole_number
from chainrule.detection.scores import Floats, as_scores, check_generator
from chainrule.errors import ChainruleError
from chainrule.security.passes import Passed

__all__ = ["LikelihoodRatio", "LogLikelihood", "Score", "Typicality"]


class Score(ABC):
    """A number for each image, higher for more usual ones.

    - `name`: what the command line calls it; `needs_fit`: whether it learns anything from clean images. Those
      must then not be the ones that a threshold is calibrated on; `needs_background`: a second model.
    """

    name: ClassVar[str]
    needs_fit: ClassVar[bool] = False
    needs_background: ClassVar[bool] = False

    def fit(self, clean: Passed) -> Self:
        """Learn from clean images what the score needs; most need nothing."""
        return self

    @abstractmethod
    def score(self, passed: Passed) -> Floats:
        """`(N,)`, higher for usual images."""

    def settings(self) -> dict[str, Any]:
        """Constructor arguments, JSON-ready."""
        return {}

    def learned(self) -> dict[str, Floats]:
        """What `fit` left, as arrays by name; `take_up` takes them back."""
        return {}

    def take_up(self, learned: dict[str, Floats]) -> Self:
        """The score as it was fitted, from what `learned` gave."""
        return self

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({arguments})"


class LogLikelihood(Score):
    """log p(x), nats: the published score of PixelDefend."""

    name: ClassVar[str] = "log-likelihood"

    def score(self, passed: Passed) -> Floats:
        """`(N,)`, nats."""
        return passed.log_prob


class LikelihoodRatio(Score):
    """log p(x) - log p_background(x), nats (Ren et al. 2019, equation 6).

    The background model is of the same kind, trained on mutated images (`mutate`, which says how to choose
    the mutation rate and weight decay). What both models say of dark corners and flat grounds cancels.
    """

    name: ClassVar[str] = "likelihood-ratio"
    needs_background: ClassVar[bool] = True

    def score(self, passed: Passed) -> Floats:
        """`(N,)`, nats."""
        ratio: Floats = passed.log_prob - passed.background()
        return ratio


class Typicality(Score):
    """-|log p(x) - H|, nats, with H the mean of log p over clean images: odd in both directions.

    Nalisnick et al. 2019b, for one image; `batch_p_value` is their test of a whole batch, which is what the
    argument from typical sets is about. Of no use where the log p of odd images lies in the usual range.
    """

    name: ClassVar[str] = "typicality"
    needs_fit: ClassVar[bool] = True

    def __init__(self) -> None:
        self.usual: float | None = None

    def fit(self, clean: Passed) -> Self:
        """H, minus the entropy of the clean images under the model, nats."""
        self.usual = float(clean.log_prob.mean())
        return self

    def score(self, passed: Passed) -> Floats:
        """`(N,)`, nats, at most 0."""
        score: Floats = -np.abs(passed.log_prob - self._fitted())
        return score

    def batch_p_value(
        self, log_prob: Any, clean: Any, *, generator: np.random.Generator, resamples: int = 10_000
    ) -> float:
        """The chance that as many clean images, drawn together, are as far from typical as this batch.

        - `log_prob`: `(M,)`, of the images of the batch, M >= 1; `clean`: of clean images, held out.

        Batches of M are drawn from `clean` with replacement (Nalisnick et al. 2019b, algorithm 1); the
        p-value is (1 + #{|mean - H| at least as great}) / (resamples + 1). Valid as the clean images become
        many, not exactly, as a bootstrap is: M should be far below their number.
        """
        check_generator(generator)
        batch, reference = (
            as_scores(log_prob, "log p of the batch"),
            as_scores(clean, "log p of clean images"),
        )
        if not len(batch) or not len(reference):
            raise ChainruleError("a batch test needs at least one image, and at least one clean one.")
        count, usual = whole_number("resamples", resamples, minimum=1), self._fitted()
        far = abs(float(batch.mean()) - usual)
        drawn = generator.integers(len(reference), size=(count, len(batch)))
        means = reference[drawn].mean(1)
        return float((1 + np.count_nonzero(np.abs(means - usual) >= far)) / (count + 1))

    def learned(self) -> dict[str, Floats]:
        """`usual`, H."""
        return {"usual": np.array([self._fitted()])}

    def take_up(self, learned: dict[str, Floats]) -> Self:
        """H."""
        self.usual = float(learned["usual"][0])
        return self

    def _fitted(self) -> float:
        if self.usual is None:
            raise ChainruleError("this Typicality has seen no clean images yet; call fit(clean) first.")
        return self.usual
