"""All scores by the names that the command line and saved guards call them."""

from __future__ import annotations

from typing import Any

from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.complexity import InputComplexity
from chainrule.security.places import PeakSurprise
from chainrule.security.scores import LikelihoodRatio, LogLikelihood, Score, Typicality
from chainrule.security.states import DensityOfStates

__all__ = ["SCORES", "resolve_score"]

SCORES: dict[str, type[Score]] = {
    score.name: score
    for score in (
        LogLikelihood,
        LikelihoodRatio,
        Typicality,
        InputComplexity,
        DensityOfStates,
        PeakSurprise,
    )
}


def resolve_score(spec: str | Score, settings: dict[str, Any] | None = None) -> Score:
    """A score from its name and settings, or as it is; `ChainruleError` for unknown ones.

    >>> resolve_score("input-complexity", {"codec": "png"})
    InputComplexity(codec='png')
    """
    if isinstance(spec, Score):
        return spec
    if spec not in SCORES:
        raise unknown_name("score", spec, SCORES)
    try:
        return SCORES[spec](**(settings or {}))
    except TypeError as error:
        raise ChainruleError(f"score {spec!r}: {error}") from None
