"""How a schema is inferred, and what is noticed on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["KINDS", "Kind", "Options"]

Kind = Literal["numeric", "integer", "categorical", "boolean"]
KINDS = ("numeric", "integer", "categorical", "boolean")


@dataclass
class Options:
    """The checked arguments of `infer_schema`, and the notices that gather."""

    numeric_transform: str
    max_categories: int
    max_levels: int
    grids: bool
    missing: str
    notices: list[str] = field(default_factory=list)
