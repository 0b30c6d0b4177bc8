"""Numbers of the notes that are about no model of the library: sums, products and ratios."""

from __future__ import annotations

import math

from chainrule.examples.registry import answers

__all__ = ["product", "ratio", "total", "untied_nade"]


@answers("4.4")
def seconds(years: float, seconds_per_year: float) -> float:
    """Years in seconds."""
    return years * seconds_per_year


@answers("5.13", "7.27", "8.7", "9.16", "11.6", "11.7", "11.13")
def total(terms: list[float]) -> float:
    """The sum of what is shown."""
    return math.fsum(terms) if any(isinstance(term, float) for term in terms) else sum(terms)


@answers("9.13", "9.17", "9.18", "9.21", "12.9")
def product(factors: list[float]) -> float:
    """The product of what is shown."""
    return math.prod(factors)


@answers("9.19", "9.20", "11.12", "12.18", "13.10", "13.11")
def ratio(a: float, b: float) -> float:
    """How many times as large."""
    return a / b


@answers("7.22")
def untied_nade(n: int, d: int) -> int:
    """Numbers of n separate networks with d hidden units, the i-th of i - 1 inputs: nobody builds it."""
    return sum(d * i + d + d + 1 for i in range(n))
