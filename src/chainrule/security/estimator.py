"""The detector in scikit-learn's shape, for pipelines that speak it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from chainrule.detection.scores import Floats
from chainrule.detection.thresholds import Rule
from chainrule.errors import ChainruleError
from chainrule.security.guard import PixelDefend
from chainrule.security.opening import opened
from chainrule.security.scores import Score

__all__ = ["ImageDetector"]


class ImageDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Tells odd images by a density model that is trained already; `fit` calibrates it on clean ones.

    Images are arrays `(N, *event_shape)` of levels, or flat `(N, variables)` as scikit-learn has them.

    Parameters
    ----------
    density : a model, or the folder of its run.
    background : a model trained on mutated images, or its folder, for scores that need one; else None.
    score : name of a score (`chainrule.security.SCORES`), or a `Score`.
    level : share of clean images that raise an alarm, at most.

    Attributes
    ----------
    guard_ : the calibrated `PixelDefend`.
    offset_ : threshold on `score_samples`; below it `predict` says -1.
    """

    def __init__(
        self,
        density: Any = None,
        *,
        background: Any = None,
        score: str | Score = "log-likelihood",
        level: float = 0.01,
    ) -> None:
        self.density = density
        self.background = background
        self.score = score
        self.level = level

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Calibrate on clean images that the density was not trained on; y is ignored."""
        if self.density is None:
            raise ChainruleError("density is missing: give a model of images, or the folder of its run.")
        self._event_shape = opened(self.density).event_shape
        self.guard_ = PixelDefend.fit(
            self.density,
            self._images(X),
            background=self.background,
            score=self.score,
            rule=Rule("conformal", self.level),
        )
        self.offset_ = self.guard_.detector.threshold
        return self

    def score_samples(self, X: ArrayLike) -> Floats:
        """The score of each image, higher for usual ones, `(N,)`."""
        check_is_fitted(self)
        return self.guard_.scores(self._images(X))

    def decision_function(self, X: ArrayLike) -> Floats:
        """`score_samples` minus `offset_`: below 0 for outliers, `(N,)`."""
        scores: Floats = self.score_samples(X) - self.offset_
        return scores

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """1 for usual images and -1 for odd ones, `(N,)`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(self, X: ArrayLike) -> Floats:
        """Conformal p-values, `(N,)`: small for odd images."""
        check_is_fitted(self)
        return self.guard_.p_values(self._images(X))

    def _images(self, X: Any) -> torch.Tensor:
        images = X if isinstance(X, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(np.asarray(X)))
        variables = int(np.prod(self._event_shape))
        if images.ndim == 2 and images.shape[1] == variables:
            return images.reshape(len(images), *self._event_shape)
        return images
