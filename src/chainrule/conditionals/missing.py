"""Missing values as a modelled state: NaN has a probability of its own beside any other family."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chainrule.conditionals.base import Conditional
from chainrule.errors import ChainruleError

__all__ = ["Missing"]


class Missing(Conditional):
    """P(x is missing) = sigmoid(m); otherwise x is of the family `inner`. A missing value is NaN.

    `params` holds the logit m, then the parameters of `inner`; `uniform` likewise. A network reads the
    value as [is it missing, inner code], the inner code being 0 where it is. The distribution is one of
    a probability for NaN and a density (or probabilities) for the rest, of total mass 1.

    - `inner`: the family of a value that is there: its name, its settings with the name, or itself.

    Temperature divides m, and is that of `inner` for a value that is there.
    """

    name = "missing"
    has_missing = True

    def __init__(self, inner: str | Mapping[str, object] | Conditional) -> None:
        from chainrule.conditionals import resolve_conditional  # that package imports this module

        self.inner = resolve_conditional(inner)
        if self.inner.name in ("missing", "mixed"):
            raise ChainruleError(
                f"missing cannot hold the {self.inner.name} conditional; "
                "in a mixed one, make the columns themselves missing."
            )
        self.num_params = 1 + self.inner.num_params
        self.num_inputs = 1 + self.inner.num_inputs
        self.num_noise = 1 + self.inner.num_noise
        self.value_range = f"{self.inner.value_range}, or NaN for a missing value"

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """log sigmoid(m) for NaN, otherwise log(1 - sigmoid(m)) + log p(x) of `inner`; nats, `(...)`."""
        missing, present = _split(value)
        # One split, not two slices: their gradients then need no tensors of zeros.
        logit, of_inner = torch.split(params, [1, params.shape[-1] - 1], dim=-1)
        logit = logit[..., 0]
        of_value = logsigmoid(-logit) + self.inner.log_prob(of_inner, present)
        return torch.where(missing, logsigmoid(logit), of_value)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """NaN exactly where the first uniform is below sigmoid(m / T); otherwise a sample of `inner`."""
        missing = uniform[..., 0] < torch.sigmoid(params[..., 0] / temperature)
        return torch.where(missing, torch.nan, self.sample_present(params, uniform, temperature))

    def sample_present(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """A sample of `inner`, which is what `sample` gives where it gives a value at all."""
        return self.inner.sample(params[..., 1:], uniform[..., 1:], temperature)

    def log_present(self, params: Tensor) -> Tensor:
        """log(1 - sigmoid(m)), nats, `(...)`."""
        return logsigmoid(-params[..., 0])

    def missing_probability(self, params: Tensor) -> Tensor:
        """sigmoid(m), `(...)`."""
        return torch.sigmoid(params[..., 0])

    def mean(self, params: Tensor) -> Tensor:
        """The expected value of x if it is there."""
        return self.inner.mean(params[..., 1:])

    def mode(self, params: Tensor) -> Tensor:
        """NaN where that is the most probable value; where `inner` has a density, where m > 0."""
        mode = self.inner.mode(params[..., 1:])
        missing = params[..., 0] > 0
        if self.inner.support() is not None:
            missing = logsigmoid(params[..., 0]) > self.log_prob(params, mode)
        return torch.where(missing, torch.nan, mode)

    def encode(self, value: Tensor) -> Tensor:
        """[1, 0, ..., 0] for NaN and [0, inner code] for the rest, `(..., 1 + inner.num_inputs)`."""
        missing, present = _split(value)
        code = self.inner.encode(present).masked_fill(missing[..., None], 0.0)
        return torch.cat([missing.to(code.dtype)[..., None], code], dim=-1)

    def same(self, values: Tensor, others: Tensor) -> bool:
        """Whether all values are equal, NaN being equal to NaN."""
        return bool(((values == others) | (values.isnan() & others.isnan())).all())

    def in_support(self, value: Tensor) -> Tensor:
        """True for NaN and for the values of `inner`."""
        missing, present = _split(value)
        return missing | self.inner.in_support(present)

    def support(self) -> Tensor | None:
        """The values of `inner`, then NaN; None where `inner` is continuous."""
        support = self.inner.support()
        return None if support is None else torch.cat([support, support.new_tensor([torch.nan])])

    def settings(self) -> dict[str, object]:
        """`inner`."""
        return {"inner": self.inner.spec()}


def _split(value: Tensor) -> tuple[Tensor, Tensor]:
    """Where values are missing, and the values with 0 there: NaN would poison even unused gradients."""
    missing = value.isnan()
    return missing, value.masked_fill(missing, 0.0)
