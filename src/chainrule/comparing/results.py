"""What came out for each contender, as plain values that go to JSON and come back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

__all__ = ["Failure", "Result"]


@dataclass(frozen=True)
class Failure:
    """A contender that could not be compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Result:
    """The measured line of one contender.

    - `parameters`, `formula`: how many numbers are learned, and of what they are the sum.
    - `train_seconds`, `epochs`, `examples_per_second`: None for runs that do not say.
    - `nll`, `standard_error`: nats in the comparison's unit, on `examples` of `split`; `second`: bits/dim,
      perplexity, ...
    - `sample_seconds`: per example, in a batch of `sample_batch`, reusing all that is known; `naive_seconds`:
      with a parallel pass for every variable, worked out from one pass where `naive_is_projected`.
    - `memory_mib`: what updates of training add to a process of their own, at the most; None where the
      system does not say.
    - `weights`: SHA-256 of the model file, by which a result is known to be of these weights.
    """

    name: str
    model: str
    run: str
    parameters: int
    formula: str
    train_seconds: float | None
    epochs: int | None
    examples_per_second: float | None
    nll: float
    standard_error: float
    second: float | None
    split: str
    examples: int
    sample_seconds: float
    sample_batch: int
    naive_seconds: float
    naive_is_projected: bool
    memory_mib: float | None
    weights: str
    picture: str | None = None
    text: str = ""

    def summary(self) -> dict[str, Any]:
        """Everything in it, JSON-ready."""
        return asdict(self)

    @classmethod
    def from_summary(cls, content: Any) -> Self | None:
        """What `summary` wrote; None where it is something else, such as of another version."""
        names = {f.name for f in fields(cls)}
        return cls(**content) if isinstance(content, dict) and content.keys() == names else None
