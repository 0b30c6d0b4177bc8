"""Densities from runs, and the likelihood that their own validation images reached."""

from __future__ import annotations

import math
import warnings
from os import PathLike
from pathlib import Path

import numpy as np

from chainrule.detection.scores import Floats
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.loading import load
from chainrule.training.run import Run

__all__ = ["expected_nll", "opened", "warn_of_other_data"]

#: Clean images whose mean code length is this share off what the run reached are of another kind.
_FAR_OFF = 0.2


def opened(model: LikelihoodModel | str | PathLike[str]) -> LikelihoodModel:
    """The model itself, or that of a run folder."""
    return model if isinstance(model, LikelihoodModel) else load(Path(model))


def expected_nll(model: LikelihoodModel | str | PathLike[str]) -> float | None:
    """The best validation NLL of a run, nats; None for a bare model or a folder without a record."""
    if isinstance(model, LikelihoodModel):
        return None
    try:
        records = Run(Path(model)).metrics()
    except ChainruleError:
        return None
    reached = [record["validation_nll"] for record in records if record.get("validation_nll") is not None]
    return min(map(float, reached), default=None)


def warn_of_other_data(log_prob: Floats, expected: float | None, num_variables: int) -> None:
    """Warn where clean images cost far more or less than the density's own validation images did.

    - `log_prob`: `(N,)`, nats; `expected`: the run's validation NLL, nats, None where it is not known.

    Far is a fifth of what was expected, and five standard errors.
    """
    if expected is None:
        return
    found = -float(log_prob.mean())
    error = float(np.std(log_prob)) / math.sqrt(len(log_prob))
    if abs(found - expected) <= max(_FAR_OFF * abs(expected), 5 * error):
        return
    bits = num_variables * math.log(2)
    how = "less" if found < expected else "more"
    warnings.warn(
        f"the clean images cost {found / bits:.3f} bits/dim, far {how} than the {expected / bits:.3f} that "
        "the density reached on its validation images: is it a density of another data set?",
        stacklevel=3,
    )
