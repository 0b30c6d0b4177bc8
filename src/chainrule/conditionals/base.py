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
    values are `(...)`, and `uniform` is `(..., num_noise)`, independent draws from U(0, 1). Where
    `params` or `uniform` are wider, the first `num_params` and `num_noise` of them are read: that is
    how columns of different families share one tensor (`Mixed`).

    - `name`: how settings and the command line call the family.
    - `num_params`: what a network must output per variable.
    - `num_inputs`: numbers by which a network reads one value (`encode`).
    - `num_noise`: uniforms that one draw consumes.
    - `value_range`: a phrase for error messages, such as "0 or 1".
    """

    name: str
    num_params: int
    num_inputs: int = 1
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

    def encode(self, value: Tensor) -> Tensor:
        """How a network reads values `(...)`: floats `(..., num_inputs)`, such as a one-hot code.

        The numbers themselves unless overridden; 0 must always be a legal value to encode.
        """
        return value[..., None]

    def at(self, variable: int) -> Conditional:
        """The family of one variable of an example; the same for all, unless families are mixed."""
        return self

    def over(self, variables: Tensor) -> Conditional:
        """The family whose last value dimension runs over `variables`, indices `(k,)`."""
        return self

    def param_sizes(self, num_variables: int) -> list[int]:
        """How many parameters each variable of an example has."""
        return [self.num_params] * num_variables

    def input_sizes(self, num_variables: int) -> list[int]:
        """How many numbers `encode` makes of each variable of an example."""
        return [self.num_inputs] * num_variables

    def same(self, values: Tensor, others: Tensor) -> bool:
        """Whether two tensors hold the same values; families that know missing ones count NaN equal."""
        return torch.equal(values, others)

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
