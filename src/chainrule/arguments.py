"""Checks of plain arguments: whole numbers, real numbers, seeds; one clear line when they are wrong.

Every function here returns the value in its plain Python type, so that what is stored and saved never
is a NumPy scalar or a boolean that happens to count as a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path

from chainrule.errors import ChainruleError

__all__ = [
    "LARGEST_SEED",
    "LARGEST_SIZE",
    "checked_seed",
    "layer_sizes",
    "real_number",
    "some_path",
    "whole_number",
]

#: The greatest seed that every generator involved takes, and that every file format stores.
LARGEST_SEED = 2**63 - 1
#: The greatest number of anything that is counted in memory (variables, hidden units, samples).
LARGEST_SIZE = 2**31 - 1


def whole_number(name: str, value: object, minimum: int = 0, maximum: int | None = LARGEST_SIZE) -> int:
    """`value` as an int, if it is a whole number (no boolean) in minimum..maximum.

    Raises `ChainruleError` otherwise, naming the argument and what it may be.

    >>> whole_number("hidden", 500, minimum=1)
    500
    >>> whole_number("hidden", 2.5, minimum=1)
    Traceback (most recent call last):
    ...
    chainrule.errors.ChainruleError: hidden must be a whole number of at least 1, not 2.5.
    """
    # A tensor or array scalar of a whole-number type counts; a float that happens to be whole does not.
    number = _scalar(value)
    if isinstance(number, Integral) and not isinstance(number, bool):
        number = int(number)
        if minimum <= number and (maximum is None or number <= maximum):
            return number
        if maximum is not None and number > maximum:
            raise ChainruleError(f"{name} must be at most {maximum}, not {_shown(value)}.")
    raise ChainruleError(f"{name} must be a whole number of at least {minimum}, not {_shown(value)}.")


def real_number(
    name: str,
    value: object,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a float, if it is a finite number (no boolean) in the range asked for.

    - `minimum`, `maximum`: bounds that may themselves be taken; `above`, `below`: bounds that may not.

    Raises `ChainruleError` otherwise, naming the argument and what it may be.

    >>> real_number("temperature", 0.5, above=0)
    0.5
    >>> real_number("temperature", float("nan"), above=0)
    Traceback (most recent call last):
    ...
    chainrule.errors.ChainruleError: temperature must be a finite number above 0, not nan.
    """
    number = _scalar(value)
    if isinstance(number, Real) and not isinstance(number, bool):
        try:
            real = float(number)
        except OverflowError:
            real = math.inf
        if (
            math.isfinite(real)
            and minimum <= real <= maximum
            and (above is None or real > above)
            and (below is None or real < below)
        ):
            return real
    raise ChainruleError(
        f"{name} must be a finite number{_range(minimum, maximum, above, below)}, not {_shown(value)}."
    )


def layer_sizes(name: str, sizes: object) -> tuple[int, ...]:
    """Sizes of layers as a tuple of positive ints; one number alone stands for one layer.

    >>> layer_sizes("hidden", [500, 500])
    (500, 500)
    """
    if isinstance(sizes, Iterable) and not isinstance(sizes, str | bytes | Mapping):
        return tuple(whole_number(f"every size in {name}", size, minimum=1) for size in sizes)
    return (whole_number(name, sizes, minimum=1),)


def checked_seed(seed: object, name: str = "seed") -> int:
    """`seed` as an int, if it is a whole number in 0..2^63 - 1.

    >>> checked_seed(-1)
    Traceback (most recent call last):
    ...
    chainrule.errors.ChainruleError: seed must be a whole number from 0 to 9223372036854775807, not -1.
    """
    number = _scalar(seed)
    if isinstance(number, Integral) and not isinstance(number, bool) and 0 <= int(number) <= LARGEST_SEED:
        return int(number)
    raise ChainruleError(f"{name} must be a whole number from 0 to {LARGEST_SEED}, not {_shown(seed)}.")


def some_path(name: str, value: object) -> Path:
    """`value` as a path, if it is a text or a path and not empty.

    >>> some_path("out", None)
    Traceback (most recent call last):
    ...
    chainrule.errors.ChainruleError: out must be a path, such as "runs/nade", not None.
    """
    if isinstance(value, (str, Path)) and str(value).strip():
        return Path(value)
    raise ChainruleError(f'{name} must be a path, such as "runs/nade", not {_shown(value)}.')


def _scalar(value: object) -> object:
    """What a zero-dimensional tensor or NumPy scalar holds; anything else as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def _range(minimum: float, maximum: float, above: float | None, below: float | None) -> str:
    words = []
    if above is not None:
        words.append(f"above {above:g}")
    elif minimum > -math.inf:
        words.append(f"of at least {minimum:g}")
    if below is not None:
        words.append(f"below {below:g}")
    elif maximum < math.inf:
        words.append(f"at most {maximum:g}")
    return " " + " and ".join(words) if words else ""


def _shown(value: object) -> str:
    """A value as a few characters on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
