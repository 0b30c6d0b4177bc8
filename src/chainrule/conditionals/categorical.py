"""Categorical conditionals: a softmax over K levels, one logit each."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.conditionals.base import Conditional

__all__ = ["Categorical"]

#: The cost in nats of what never happens: -inf would make log p(x) NaN.
_IMPOSSIBLE = 1e4


class Categorical(Conditional):
    """p(x = k) = softmax(logits)_k for x in {0, ..., levels - 1}; `params` holds the logits.

    All logits 0 is the uniform distribution. A network reads a value as its one-hot code, since the
    numbers of the levels mean nothing.

    >>> import torch
    >>> Categorical(levels=3).probabilities(torch.tensor([2.0, -1.0, 0.5]))
    tensor([0.7856, 0.0391, 0.1753])
    """

    name = "categorical"
    has_cdf = True

    def __init__(self, levels: int) -> None:
        self.levels = whole_number("levels", levels, minimum=1)
        self.num_params = self.num_inputs = self.levels
        self.value_range = f"a whole number in 0..{self.levels - 1}"

    def probabilities(self, params: Tensor, temperature: float = 1.0) -> Tensor:
        """p(x = k) for all levels k, `(..., levels)`."""
        return torch.softmax(self._logits(params) / temperature, dim=-1)

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """z_x - log sum_k exp z_k, with z the logits; nats, `(...)`."""
        logits = self._logits(params)
        # Picking first spares writing out the log-probabilities of all levels.
        return self._pick(logits, value) - torch.logsumexp(logits, dim=-1)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The inverse of the cdf: the first k with u < p(0) + ... + p(k); temperature divides the logits."""
        below = self.probabilities(params, temperature)[..., :-1].cumsum(-1)
        return (below <= uniform[..., :1]).sum(-1).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """sum_k k p(k): of use only where the levels are numbers."""
        return self.probabilities(params) @ self._levels_like(params)

    def mode(self, params: Tensor) -> Tensor:
        """The level of the greatest logit."""
        return self._logits(params).argmax(-1).to(params.dtype)

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """p(0) + ... + p(floor x), in the order of the level numbers."""
        reached = self._levels_like(params) <= value[..., None]
        return (self.probabilities(params) * reached).sum(-1).clamp(max=1.0)

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """The least level whose cdf reaches `probability`."""
        below = self.probabilities(params)[..., :-1].cumsum(-1)
        return (below < probability[..., None]).sum(-1).to(params.dtype)

    def encode(self, value: Tensor) -> Tensor:
        """The one-hot code, `(..., levels)`."""
        code = value.new_zeros((*value.shape, self.levels))
        return code.scatter_(-1, value.detach().long()[..., None], 1.0)

    def in_support(self, value: Tensor) -> Tensor:
        """True for the whole numbers 0..levels - 1."""
        return (value >= 0) & (value < self.levels) & (value == value.floor())

    def estimate(self, values: Tensor, pseudocount: float) -> Tensor:
        """Logarithms of the smoothed shares, (count_k + pseudocount) / (N + levels * pseudocount)."""
        counts = torch.stack([(values == k).double().sum(0) for k in range(self.levels)], dim=-1)
        shares = (counts + pseudocount) / (len(values) + self.levels * pseudocount)
        return shares.log().clamp_min(-_IMPOSSIBLE)

    def support(self) -> Tensor:
        """All levels, `(levels,)`."""
        return torch.arange(self.levels, dtype=torch.get_default_dtype())

    def settings(self) -> dict[str, object]:
        """`levels`."""
        return {"levels": self.levels}

    def _logits(self, params: Tensor) -> Tensor:
        return params[..., : self.levels]

    def _levels_like(self, params: Tensor) -> Tensor:
        return torch.arange(self.levels, dtype=params.dtype, device=params.device)

    def _pick(self, logits: Tensor, value: Tensor) -> Tensor:
        # As take_along_dim, which takes a remainder of every index first.
        index, _ = torch.broadcast_tensors(value.detach().long(), logits[..., 0])  # type: ignore[no-untyped-call]
        return logits.expand(*index.shape, self.levels).gather(-1, index[..., None]).squeeze(-1)
