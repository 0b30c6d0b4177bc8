"""What every family of conditionals p(x_i | parameters) must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from chainrule.errors import ChainruleError

__all__ = ["Conditional"]


class Conditional(ABC):
    """A family of distributions for one variable, with `num_params` numbers each.

    All methods are elementwise over the leading dimensions: `params` is `(..., num_params)`,
    values are `(...)`, and `uniform` is `(..., num_noise)`, independent draws from U(0, 1).

    - `name`: how settings and the command line call the family.
    - `num_params`: what a network must output per variable.
    - `num_noise`: uniforms that one draw consumes.
    - `value_range`: a phrase for error messages, such as "0 or 1".
    """

    name: str
    num_params: int
    num_noise: int = 1
    value_range: str

    @abstractmethod
    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """Log-probability (or log-density) of `value`, in nats, shape `(...)`."""

    @abstractmethod
    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The value that the noise `uniform` selects; a deterministic function of its arguments.

        Every sampler calls this with the same noise, which is what makes them comparable.
        """

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """The expected value, shape `(...)`."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """A most probable value, shape `(...)`."""

    @abstractmethod
    def in_support(self, value: Tensor) -> Tensor:
        """Whether each value can occur at all; a boolean tensor of shape `(...)`."""

    def support(self) -> Tensor | None:
        """All values of one variable, `(K,)`, where they are few; None for continuous families."""
        return None

    def settings(self) -> dict[str, object]:
        """Constructor arguments, JSON-ready, so that a saved model can rebuild its conditional."""
        return {}

    def check(self, value: Tensor) -> None:
        """Raise `ChainruleError` naming the first value outside the support (NaN included)."""
        inside = self.in_support(value)
        if bool(inside.all()):
            return
        where = torch.nonzero(~inside)[0].tolist()
        found = value[tuple(where)].item()
        raise ChainruleError(
            f"value {found:g} at index {where} cannot occur under the {self.name} conditional: "
            f"expected {self.value_range}."
        )

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.settings().items())
        return f"{type(self).__name__}({arguments})"
