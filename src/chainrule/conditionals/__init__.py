"""Families of conditionals p(x_i | parameters), a file each, behind one protocol."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.bernoulli import Bernoulli, finite_logit
from chainrule.conditionals.categorical import Categorical
from chainrule.conditionals.coupled_channels import CoupledChannels
from chainrule.conditionals.discretized_logistic_mixture import DiscretizedLogisticMixture
from chainrule.conditionals.gaussian import Gaussian
from chainrule.conditionals.gaussian_mixture import GaussianMixture
from chainrule.conditionals.logistic_mixture import LogisticMixture
from chainrule.conditionals.missing import Missing
from chainrule.conditionals.mixed import Mixed
from chainrule.conditionals.student_t import StudentT
from chainrule.errors import ChainruleError, unknown_name

__all__ = [
    "CONDITIONALS",
    "Bernoulli",
    "Categorical",
    "Conditional",
    "CoupledChannels",
    "DiscretizedLogisticMixture",
    "Gaussian",
    "GaussianMixture",
    "LogisticMixture",
    "Missing",
    "Mixed",
    "StudentT",
    "finite_logit",
    "resolve_conditional",
]

#: Every family by its name, as settings and the command line spell it.
CONDITIONALS: dict[str, type[Conditional]] = {
    family.name: family
    for family in (
        Bernoulli,
        Categorical,
        Gaussian,
        GaussianMixture,
        LogisticMixture,
        StudentT,
        DiscretizedLogisticMixture,
        Missing,
        Mixed,
    )
}


def resolve_conditional(spec: str | Mapping[str, object] | Conditional) -> Conditional:
    """A conditional from its name, from `{"name": ..., setting: ...}`, or as it is.

    Raises `ChainruleError` for an unknown name or settings it does not take.

    >>> resolve_conditional("bernoulli")
    Bernoulli()
    """
    if isinstance(spec, Conditional):
        return spec
    settings = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("name", None)
    if name not in CONDITIONALS:
        raise unknown_name("conditional", name, CONDITIONALS)
    try:
        return CONDITIONALS[str(name)](**settings)
    except TypeError as error:
        raise ChainruleError(f"conditional {name!r}: {error}") from None
