"""What a conformance check says: a failure that names property and evidence, or a small report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ConformanceError", "ConformanceReport", "PropertyResult"]


class ConformanceError(AssertionError):
    """A model breaks the contract.

    - `property_name`: which property, as in `chainrule.testing.PROPERTIES`.
    - `evidence`: what was seen, where, and by how much.
    """

    def __init__(self, property_name: str, evidence: str) -> None:
        super().__init__(f"{property_name}: {evidence}")
        self.property_name = property_name
        self.evidence = evidence


@dataclass(frozen=True)
class PropertyResult:
    """One property that was checked.

    - `status`: "passed", or "skipped" where it does not apply or could not be decided.
    - `detail`: what was compared, or why it was skipped.
    - `worst`: the greatest deviation met, where the property has one.
    """

    name: str
    status: Literal["passed", "skipped"]
    detail: str
    worst: float | None = None

    def __str__(self) -> str:
        worst = "" if self.worst is None else f" (worst {self.worst:.1e})"
        return f"{self.name:<20} {self.status:<8} {self.detail}{worst}"


@dataclass(frozen=True)
class ConformanceReport:
    """Every property of one model, in the order of checking; `print` shows it as a table."""

    model: str
    results: tuple[PropertyResult, ...]

    def __getitem__(self, property_name: str) -> PropertyResult:
        return next(result for result in self.results if result.name == property_name)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the properties that were not decided."""
        return tuple(result.name for result in self.results if result.status == "skipped")

    def __str__(self) -> str:
        title = f"{self.model}, checked as a float64 copy"
        return "\n".join([title, *(f"  {result}" for result in self.results)])
