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
    - `has_cdf`: whether `cdf` and `quantile` exist; they raise `ChainruleError` where they do not.
    - `has_missing`: whether NaN, a missing value, can be drawn.
    """

    name: str
    num_params: int
    num_inputs: int = 1
    num_noise: int = 1
    value_range: str
    has_cdf: bool = False
    has_missing: bool = False

    @abstractmethod
    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """Log-probability (or log-density) of `value`, in nats, shape `(...)`."""

    def log_prob_packed(self, packed: Tensor, value: Tensor) -> Tensor:
        """`log_prob` of whole examples whose parameters lie end to end, without padding.

        - `packed`: `(batch, sum of param_sizes)`, or one row for all examples; `value`: `(batch, ...)`.

        Returns the shape of `value`. What a network's last layer puts out can be read so without being
        moved about, which for tables of wide and narrow columns is most of the work of a likelihood.
        """
        return self.log_prob(packed.reshape(len(packed), *value.shape[1:], self.num_params), value)

    @abstractmethod
    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The value that the noise `uniform` selects; a deterministic function of its arguments.

        Every sampler calls this with the same noise, which is what makes them comparable. A
        temperature below 1 sharpens the distribution; each family says exactly how.
        """

    def sample_present(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw given that the value is there; just a draw where no value is ever missing."""
        return self.sample(params, uniform, temperature)

    def log_present(self, params: Tensor) -> Tensor:
        """log P(the value is there), nats, `(...)`; 0 where no value is ever missing."""
        return params.new_zeros(params.shape[:-1])

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """The expected value, shape `(...)`."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """A most probable value, shape `(...)`."""

    @abstractmethod
    def in_support(self, value: Tensor) -> Tensor:
        """Whether each value can occur at all; a boolean tensor of shape `(...)`."""

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """P(X <= value), shape `(...)`; for any real value, also outside the support."""
        raise self._without_cdf()

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """The least value whose cdf reaches `probability` in (0, 1), shape `(...)`."""
        raise self._without_cdf()

    def _without_cdf(self) -> ChainruleError:
        return ChainruleError(
            f"the {self.name} conditional has no cdf and no quantile, since its values have no order; "
            "has_cdf says which families do."
        )

    def encode(self, value: Tensor) -> Tensor:
        """How a network reads values `(...)`: floats `(..., num_inputs)`, such as a one-hot code.

        The numbers themselves unless overridden; 0 must always be a legal value to encode.
        """
        return value[..., None]

    def encode_packed(self, value: Tensor) -> Tensor:
        """`encode` of whole examples `(batch, n)`, end to end: `(batch, sum of input_sizes)`."""
        return self.encode(value).flatten(-2)

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

    def estimate(self, values: Tensor, pseudocount: float) -> Tensor | None:
        """Parameters `(..., num_params)` that make values `(N, ...)` most probable, by counting.

        - `pseudocount`: imaginary examples of every value, so that what was never seen stays possible.

        None for families that have no such formula.
        """
        return None

    def settings(self) -> dict[str, object]:
        """Constructor arguments, JSON-ready, so that a saved model can rebuild its conditional."""
        return {}

    def spec(self) -> str | dict[str, object]:
        """What `resolve_conditional` makes this family from again, JSON-ready: a name, or with settings."""
        settings = self.settings()
        return {"name": self.name, **settings} if settings else self.name

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
