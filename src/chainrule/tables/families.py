"""From a schema's columns to the conditionals of a model: a family for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from chainrule.conditionals import CONDITIONALS, Conditional, Missing, Mixed, resolve_conditional
from chainrule.errors import ChainruleError, unknown_name
from chainrule.tables.columns import BooleanColumn, Column, IntegerColumn

__all__ = ["DENSITIES", "FEW_LEVELS", "Family", "mixed_conditional", "modelled_as"]

Family = str | Mapping[str, object] | Conditional

#: Ordinal columns of at most so many states get a free probability for each of them.
FEW_LEVELS = 20

#: The families of real numbers.
DENSITIES = ("gaussian", "gaussian_mixture", "logistic_mixture", "student_t")


def mixed_conditional(
    columns: Sequence[Column],
    *,
    numeric: Family = "gaussian_mixture",
    components: int = 10,
    few_levels: int = FEW_LEVELS,
    families: Mapping[str, Family] | None = None,
) -> Mixed:
    """A family per column: see `TableSchema.conditional`."""
    own = dict(families or {})
    names = {str(column.name) for column in columns}
    for name in own:
        if name not in names:
            raise unknown_name("column", name, names)
    density = _with_components(_checked_density(numeric), components)
    mixed = []
    for column in columns:
        name = str(column.name)
        family = own[name] if name in own else _family(column, density, components, few_levels)
        mixed.append(_for_column(column, resolve_conditional(_checked_family(name, family))))
    return Mixed(columns=mixed)


def _checked_family(what: str, family: Any) -> Family:
    """What could be a family; `ChainruleError` for anything else."""
    if isinstance(family, Mapping) and isinstance(family.get("name"), str):
        return cast(Family, family)
    if isinstance(family, str | Conditional):
        return family
    raise ChainruleError(
        f"{what}={' '.join(repr(family).split())[:60]} is no family; expected a name, such as "
        "'gaussian_mixture', or {'name': ..., setting: value}"
    )


def _checked_density(numeric: Any) -> Family:
    family = _checked_family("numeric", numeric)
    name = family if isinstance(family, str) else None if isinstance(family, Conditional) else family["name"]
    if name in CONDITIONALS and name not in DENSITIES:
        raise ChainruleError(
            f"numeric={name!r} is no density, which columns of real numbers need; "
            f"expected {', '.join(DENSITIES)}"
        )
    return family


def modelled_as(column: Column) -> str:
    """What the column is modelled as unless told otherwise, in a few words."""
    states = f"{column.levels} states"
    role = {
        "bernoulli": "bernoulli",
        "density": "density",
        "ordinal": f"ordinal, {states}",
        "categorical": f"categorical, {states}",
    }[_role(column, FEW_LEVELS)]
    return f"{role}, or missing" if column.missing else role


def _role(column: Column, few_levels: int) -> Literal["bernoulli", "density", "ordinal", "categorical"]:
    if isinstance(column, BooleanColumn):
        return "bernoulli"
    if column.levels is None:
        return "density"
    many = isinstance(column, IntegerColumn) and column.levels > few_levels
    return "ordinal" if many else "categorical"


def _family(column: Column, density: Family, components: int, few_levels: int) -> Family:
    role = _role(column, few_levels)
    if role == "bernoulli":
        return "bernoulli"
    if role == "density":
        return density
    if role == "ordinal":
        return {"name": "discretized_logistic_mixture", "levels": column.levels, "components": components}
    return {"name": "categorical", "levels": column.levels}


def _with_components(family: Family, components: int) -> Family:
    """The family with `components`, if it is a name and takes that setting."""
    if isinstance(family, str) and family.endswith("mixture"):
        return {"name": family, "components": components}
    return family


def _for_column(column: Column, family: Conditional) -> Conditional:
    """The family with missing values where the column has any; `ChainruleError` if the two do not fit."""
    name = str(column.name)
    if isinstance(family, Mixed | Missing):
        raise ChainruleError(
            f"column {name!r} cannot be {family.name!r}; give the family of its values (the schema says "
            "whether it has holes)"
        )
    states = family.support()
    if (states is None) != (column.levels is None) or (states is not None and len(states) != column.levels):
        expected = "a density" if column.levels is None else f"probabilities of {column.levels} states"
        raise ChainruleError(f"column {name!r} needs {expected}, which {family!r} does not have")
    return Missing(family) if column.missing else family
