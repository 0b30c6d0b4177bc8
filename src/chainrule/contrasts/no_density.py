"""What a model without a p(x) answers when it is asked for one: why there is none, and what to use."""

from __future__ import annotations

from typing import Any, ClassVar

from chainrule.errors import ChainruleError
from chainrule.trainable import Trainable

__all__ = ["NoDensity", "NoDensityError"]


class NoDensityError(ChainruleError, AttributeError):
    """Asked for a density, or for samples of one, where a model defines none; `hasattr` is then False."""


class NoDensity(Trainable):
    """A network that `fit` trains and that lacks some of what models of p(x) have.

    `no_such` names them, each with the sentence that explains it. They do not exist: `hasattr` is False,
    and asking raises `NoDensityError`, an `AttributeError` and a `ChainruleError`.
    """

    no_such: ClassVar[dict[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        if name in type(self).no_such:
            raise NoDensityError(f"{type(self).__name__} has no {name}: {type(self).no_such[name]}")
        return super().__getattr__(name)
