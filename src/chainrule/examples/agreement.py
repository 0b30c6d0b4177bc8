"""Whether two values of an example are the same, and how a value is written."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["agrees", "shown", "verdict_of"]

#: A stated number is *rounded* if it is off by at most so many units of its last digit.
_ROUNDED = 2.5


def agrees(found: Any, exact: Any) -> bool:
    """Equal where exact is a count, a truth or a name; to the six digits it is given in where a float.

    >>> agrees(1.017460001, 1.01746), agrees(785285, 785284), agrees(1, True)
    (True, False, False)
    """
    if isinstance(exact, list):
        return (
            isinstance(found, list)
            and len(found) == len(exact)
            and all(agrees(f, e) for f, e in zip(found, exact, strict=True))
        )
    if isinstance(exact, float):
        return isinstance(found, (int, float)) and math.isclose(found, exact, rel_tol=5.1e-6, abs_tol=1e-12)
    return type(found) is type(exact) and bool(found == exact)


def verdict_of(exact: Any, stated: Any, decimals: int) -> str:
    """What the numbers alone say of a stated value: `right`, `rounded` or `wrong`.

    - `decimals`: of the stated value; negative where it ends in tens, thousands, ...

    >>> verdict_of(-2.36546, -2.367, 3)
    'rounded'
    """
    found, expected = _flat(stated), _flat(exact)
    if len(found) != len(expected):
        return "wrong"
    if any(isinstance(value, (str, bool)) for value in (*found, *expected)):
        return "right" if found == expected else "wrong"
    units = max(abs(f - e) for f, e in zip(found, expected, strict=True)) * 10.0**decimals
    return "right" if units <= 0.5 + 1e-6 else "rounded" if units <= _ROUNDED else "wrong"


def shown(value: Any) -> str:
    """A value as text: floats to six digits, counts in full.

    >>> shown([0.3333333333, 785284, -0.0])
    '[0.333333, 785284, 0]'
    """
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, float):
        # Adding 0.0 to the rounded number turns -0.0 into 0.
        return f"{float(f'{value:.6g}') + 0.0:g}" if abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


def _flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, list) else [value]
