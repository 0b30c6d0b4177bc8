"""`AutoregressiveDensity`: the library as a scikit-learn estimator, for arrays and DataFrames."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted, validate_data

from chainrule.arguments import real_number
from chainrule.errors import ChainruleError
from chainrule.tables import infer_schema
from chainrule.tabular import DEFAULT_STEPS, TableModel, fit_table

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["AutoregressiveDensity"]

_LARGEST_SEED = 2**31 - 1


class AutoregressiveDensity(OutlierMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Density estimation and anomaly detection with an exact-likelihood autoregressive model.

    Takes arrays and DataFrames of numbers, categories (strings), booleans and holes (NaN, None). Columns
    must come in the order of `fit`; of DataFrames their names are checked, and other or reordered ones are
    refused, as everywhere in scikit-learn. (`model_` itself, a `TableModel`, finds columns by name.)

    Parameters
    ----------
    model : name of the network, one of `chainrule.tabular.TABLE_MODELS`.
    model_settings : dict of its constructor's settings, or None for the defaults.
    numeric : family of the columns that have a density, such as "gaussian_mixture"; None for Student's t
        with a floor under its scale (`chainrule.tabular.ROBUST`).
    numeric_transform : "quantile" or "standard": what is done to such columns first.
    steps : updates of training.
    dependence : share of the dependence between columns that `score_samples` counts. 1 is the exact
        log-likelihood; 0.5 detects anomalies better on most tables
        (`chainrule.tabular.TableModel.anomaly_scores`).
    contamination : share of the training rows that `predict` calls outliers, in (0, 0.5]; or "auto": those
        whose score is below the lower quartile of the training scores by more than 1.5 times the distance
        between their quartiles (Tukey's fence), which is robust against outliers among them.
    missing : "auto": cells may be missing in the columns that have holes in `fit`; "always": in every column.
    random_state : int, RandomState or None.

    Attributes
    ----------
    model_ : the `chainrule.tabular.TableModel`.
    offset_ : threshold on `score_samples`; below it `predict` says -1.
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.

    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> estimator = AutoregressiveDensity(steps=20, random_state=0).fit(X)
    >>> estimator.score_samples(X[:2]).shape
    (2,)
    >>> int((estimator.predict(X) == -1).sum())
    20
    """

    def __init__(
        self,
        *,
        model: str = "made",
        model_settings: dict[str, Any] | None = None,
        numeric: str | dict[str, Any] | None = None,
        numeric_transform: str = "quantile",
        steps: int = DEFAULT_STEPS,
        dependence: float = 1.0,
        contamination: float | Literal["auto"] = 0.1,
        missing: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.model_settings = model_settings
        self.numeric = numeric
        self.numeric_transform = numeric_transform
        self.steps = steps
        self.dependence = dependence
        self.contamination = contamination
        self.missing = missing
        self.random_state = random_state

    def fit(self, X: ArrayLike | pd.DataFrame, y: Any = None) -> Self:
        """Fit to the rows of X; y is ignored.

        Warns of what was decided about columns (`model_.schema.notices`), such as that one without any value
        is left out. Raises `ChainruleError` (a ValueError) for unusable data.
        """
        self._check_contamination()
        real_number("dependence", self.dependence, minimum=0.0, maximum=1.0)
        frame = self._frame(X, reset=True)
        if len(frame) < 2:
            raise ChainruleError(f"n_samples = {len(frame)} is too few to fit; give at least 2 rows.")
        seed = int(check_random_state(self.random_state).randint(_LARGEST_SEED))
        schema = infer_schema(
            frame,
            grids=False,
            numeric_transform=self.numeric_transform,  # type: ignore[arg-type]
            missing=self.missing,  # type: ignore[arg-type]
        )
        for notice in schema.notices:
            warnings.warn(notice, UserWarning, stacklevel=2)
        self.model_: TableModel = fit_table(
            frame,
            schema=schema,
            model=self.model,
            model_settings=self.model_settings,
            numeric=self.numeric,
            steps=self.steps,
            seed=seed,
            marginals=self.dependence < 1,
            progress=False,
        ).double()
        self.offset_ = self._threshold(self._scores(frame))
        return self

    def score_samples(self, X: ArrayLike | pd.DataFrame) -> NDArray[np.float64]:
        """Log-likelihood of every row, nats, `(rows,)`; exact for `dependence=1`."""
        check_is_fitted(self)
        return self._scores(self._frame(X, reset=False))

    def score(self, X: ArrayLike | pd.DataFrame, y: Any = None) -> float:
        """Mean exact log-likelihood of a row, nats, whatever `dependence`; greater is better."""
        check_is_fitted(self)
        return float(self.model_.log_prob(self._frame(X, reset=False)).mean())

    def decision_function(self, X: ArrayLike | pd.DataFrame) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`: below 0 for outliers, `(rows,)`."""
        scores: NDArray[np.float64] = self.score_samples(X) - self.offset_
        return scores

    def predict(self, X: ArrayLike | pd.DataFrame) -> NDArray[np.int64]:
        """1 for inliers and -1 for outliers, `(rows,)`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[Any] | pd.DataFrame:
        """Synthetic rows: an array `(n_samples, n_features_in_)`, or a DataFrame if fitted to one.

        An array of objects if fitted to one with strings in it, else of float64. Columns that had no value at
        all in `fit` have none here.

        - `random_state`: as in `fit`; the estimator's own if None.
        """
        check_is_fitted(self)
        source = self.random_state if random_state is None else random_state
        seed = int(check_random_state(source).randint(_LARGEST_SEED))
        drawn = self.model_.sample(n_samples, seed=seed)
        modelled = set(map(str, drawn.columns))
        for place, name in enumerate(self._columns):
            if str(name) not in modelled:
                drawn.insert(place, name, np.nan)
        return drawn if self._from_frame else drawn.to_numpy(object if self._holds_objects else np.float64)

    def _check_contamination(self) -> None:
        if isinstance(self.contamination, str):
            if self.contamination != "auto":
                raise ChainruleError(
                    f"contamination={self.contamination!r}; expected a share above 0 and at most 0.5, or "
                    "'auto'."
                )
        else:
            real_number("contamination", self.contamination, above=0.0, maximum=0.5)

    def _threshold(self, scores: NDArray[np.float64]) -> float:
        if not isinstance(self.contamination, str):
            return float(np.quantile(scores, self.contamination))
        low, high = np.quantile(scores, [0.25, 0.75])
        return float(low - 1.5 * (high - low))

    def _scores(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        if self.dependence == 1:  # exact, also where cells are missing
            scores = self.model_.log_prob(frame)
        else:
            scores = self.model_.anomaly_scores(frame, dependence=float(self.dependence))
        # scikit-learn's tools refuse infinities: an impossible row is merely the oddest there can be.
        return np.maximum(scores, np.finfo(np.float64).min)

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """X as a DataFrame with one name per column, checked as scikit-learn does."""
        if isinstance(X, pd.DataFrame):
            if not X.columns.is_unique:  # before scikit-learn says so in several lines
                twice = X.columns[X.columns.duplicated()][0]
                raise ChainruleError(f"several columns are named {twice!r}; rename or drop all but one.")
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            if reset:
                self._from_frame, self._columns = True, list(X.columns)
            return X
        texts = _holds_texts(X)
        dtype = object if texts else "numeric"
        array = validate_data(self, X, reset=reset, dtype=dtype, ensure_all_finite="allow-nan")
        if reset:
            self._from_frame, self._holds_objects = False, texts
            self._columns = [f"x{i}" for i in range(array.shape[1])]
        frame = pd.DataFrame(array, columns=self._columns)
        return frame.infer_objects() if texts else frame

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _holds_texts(X: Any) -> bool:
    """Whether an array, or a list of rows, has strings among its cells."""
    if not isinstance(X, np.ndarray | list | tuple):
        return False
    array = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
    if array.dtype.kind != "O":
        return array.dtype.kind in "US"
    return any(isinstance(cell, str) for cell in array.flat)
