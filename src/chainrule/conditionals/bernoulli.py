"""Bernoulli conditionals: one logit per binary variable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from chainrule.conditionals.base import Conditional

__all__ = ["Bernoulli", "finite_logit"]

#: Log-odds that stand for certainty: sigmoid of them is exactly 0 or 1 in every float type.
_CERTAIN = 1e4


class Bernoulli(Conditional):
    """p(x = 1) = sigmoid(logit), for x in {0, 1}; `params` holds the logit.

    Everything is computed from the logit, because a float sigmoid reaches exactly 0 and 1.

    >>> import torch
    >>> logit = torch.tensor([[2.0]])
    >>> Bernoulli().log_prob(logit, torch.tensor([1.0])).exp()
    tensor([0.8808])
    """

    name = "bernoulli"
    num_params = 1
    value_range = "0 or 1"
    has_cdf = True

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """-softplus(-z) for x = 1 and -softplus(z) for x = 0, with z the logit; nats, `(...)`."""
        logit = params[..., 0].expand_as(value)
        # x z - log(1 + e^z) in one fused call, exact for logits of any size.
        return -binary_cross_entropy_with_logits(logit, value, reduction="none")

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """x = 1 exactly where u < p (the lecture's rule); temperature divides the logit."""
        logit = params[..., 0]
        if temperature != 1.0:
            logit = logit / temperature
        # Comparing in place, into a float tensor, saves two calls in the sampling loop.
        return torch.sigmoid(logit).gt_(uniform[..., 0])

    def encode_packed(self, value: Tensor) -> Tensor:
        """The values themselves."""
        return value

    def mean(self, params: Tensor) -> Tensor:
        """P(x = 1), shape `(...)`."""
        return torch.sigmoid(params[..., 0])

    def mode(self, params: Tensor) -> Tensor:
        """1 where P(x = 1) > 1/2."""
        return (params[..., 0] > 0).to(params.dtype)

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """0 below 0, P(x = 0) from there, and 1 from 1 on."""
        within = torch.where(value < 1, torch.sigmoid(-params[..., 0]), 1.0)
        return torch.where(value < 0, 0.0, within)

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """0 up to P(x = 0), 1 above."""
        return (probability > torch.sigmoid(-params[..., 0])).to(params.dtype)

    def in_support(self, value: Tensor) -> Tensor:
        """True where the value is exactly 0 or 1."""
        return (value == 0) | (value == 1)

    def estimate(self, values: Tensor, pseudocount: float) -> Tensor:
        """Logits of the smoothed means, (ones + pseudocount) / (N + 2 pseudocount)."""
        ones = values.double().sum(0) + pseudocount
        return finite_logit(ones / (len(values) + 2 * pseudocount))[..., None]

    def support(self) -> Tensor:
        """The two values, `(2,)`."""
        return torch.tensor([0.0, 1.0])


def finite_logit(probability: Tensor) -> Tensor:
    """log(p / (1 - p)), with certainty held at 10^4, since an infinite logit makes log p(x) NaN.

    What never happens then costs 10^4 nats, and sampling and probabilities are exact all the same.
    """
    return torch.logit(probability).clamp(-_CERTAIN, _CERTAIN)
