"""Mixtures of logistics over whole numbers, each level its bin: the conditionals of PixelCNN++.

Salimans et al. 2017, equations 1 and 2. Levels stand at x' = 2 x / (levels - 1) - 1, from -1 to 1, in
the middle of bins of width 2 / (levels - 1); the lowest bin reaches down to -infinity and the highest
up to infinity, so that the probabilities of all levels add up to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from chainrule.arguments import whole_number
from chainrule.conditionals.base import Conditional
from chainrule.conditionals.mixture import checked_components, pick_component
from chainrule.conditionals.scales import open_uniform, positive_scale

__all__ = ["DiscretizedLogisticMixture"]


class DiscretizedLogisticMixture(Conditional):
    """p(x) = sum_k w_k [s((x' + h - m_k) / s_k) - s((x' - h - m_k) / s_k)], with s the sigmoid.

    For x in {0, ..., levels - 1}; h is half a bin. `params` holds K weight logits, K locations and K
    log-scales, in units of x': m_k = offset_k + location_k, with offsets spread evenly over [-1, 1], and
    s_k = exp(log-scale_k) / K + min_scale. So all parameters 0 is about uniform over the levels, and its
    components already differ. `min_scale` is a quarter of h: e^-7 for 256 levels, as in the paper.

    - `levels`: how many values there are; 256 for 8-bit pixels.
    - `components`: K.

    A sample takes two uniforms: the first picks the component, the second the value within it, rounded
    to its level. Temperature T divides the weight logits and multiplies the scales by T.

    >>> DiscretizedLogisticMixture(levels=256, components=10).num_params
    30
    """

    name = "discretized_logistic_mixture"
    num_noise = 2
    has_cdf = True

    def __init__(self, levels: int = 256, components: int = 10) -> None:
        self.levels = whole_number("levels", levels, minimum=2)
        self.components = checked_components(components)
        self.num_params = 3 * self.components
        self.value_range = f"a whole number in 0..{self.levels - 1}"
        self.half_bin = 1 / (self.levels - 1)
        self.min_scale = self.half_bin / 4
        self.offsets = (2 * torch.arange(self.components, dtype=torch.float64) + 1) / self.components - 1

    # ---------------------------------------------------------------- parameters

    def log_weights(self, params: Tensor, temperature: float = 1.0) -> Tensor:
        """log w_k, `(..., K)`."""
        return torch.log_softmax(params[..., : self.components] / temperature, dim=-1)

    def locations(self, params: Tensor) -> Tensor:
        """m_k, `(..., K)`, in units of x'."""
        return params[..., self.components : 2 * self.components] + self.offsets.to(params)

    def scales(self, params: Tensor) -> Tensor:
        """s_k, `(..., K)`, in units of x'."""
        log_scales = params[..., 2 * self.components : self.num_params] - math.log(self.components)
        return positive_scale(log_scales, self.min_scale)

    # ---------------------------------------------------------------- the distribution

    def log_prob_of_components(self, params: Tensor, value: Tensor) -> Tensor:
        """The log-probability of `value` under every component on its own, nats, `(..., K)`."""
        scales = self.scales(params)
        above = (self._scaled(value)[..., None] + self.half_bin - self.locations(params)) / scales
        width = 2 * self.half_bin / scales
        # s(b) - s(a) = s(b) s(-a) (1 - e^-(b - a)): nothing cancels, however far out the bin is.
        up_to = logsigmoid(above)
        down_to = logsigmoid(width - above)
        between = torch.log(-torch.expm1(-width))
        lowest, highest = (value <= 0)[..., None], (value >= self.levels - 1)[..., None]
        inner = up_to + down_to + between
        return torch.where(lowest, up_to, torch.where(highest, down_to, inner))

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """log sum_k w_k p_k(x) by log-sum-exp; nats, `(...)`."""
        terms = self.log_prob_of_components(params, value)
        logits = params[..., : self.components]
        return torch.logsumexp(terms + logits, dim=-1) - torch.logsumexp(logits, dim=-1)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The level whose bin holds the second uniform's quantile in the component the first one picks."""
        chosen = pick_component(self.log_weights(params, temperature), uniform[..., 0])
        location = self.locations(params).gather(-1, chosen).squeeze(-1)
        scale = self.scales(params).gather(-1, chosen).squeeze(-1)
        exact = location + scale * temperature * torch.logit(open_uniform(uniform[..., 1]))
        return self._nearest_level(exact)

    def mean(self, params: Tensor) -> Tensor:
        """sum_x x p(x), over the levels; between levels in general."""
        return (self._probabilities(params) * self._levels_like(params)).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """The most probable level."""
        return self._probabilities(params).argmax(-1).to(params.dtype)

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """P(X <= x): the mixture's own cdf at the upper end of the bin of floor(x)."""
        level = value.floor()
        above = (self._scaled(level)[..., None] + self.half_bin - self.locations(params)) / self.scales(
            params
        )
        within = (self.log_weights(params).exp() * torch.sigmoid(above)).sum(-1)
        certain = torch.where(level >= self.levels - 1, 1.0, within)
        return torch.where(level < 0, 0.0, certain)

    @torch.no_grad()
    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """The least level whose cdf reaches `probability`, by bisection."""
        low = torch.full_like(probability + params[..., 0], -1.0)  # where the cdf is 0; at high it is 1
        high = torch.full_like(low, float(self.levels - 1))
        for _ in range(self.levels.bit_length()):
            middle = ((low + high) / 2).floor()
            too_low = self.cdf(params, middle) < probability
            low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
        return high

    # ---------------------------------------------------------------- values

    def encode(self, value: Tensor) -> Tensor:
        """x' in [-1, 1], `(..., 1)`."""
        return self._scaled(value)[..., None]

    def in_support(self, value: Tensor) -> Tensor:
        """True for the whole numbers 0..levels - 1."""
        return (value >= 0) & (value < self.levels) & (value == value.floor())

    def support(self) -> Tensor:
        """All levels, `(levels,)`."""
        return torch.arange(self.levels, dtype=torch.get_default_dtype())

    def settings(self) -> dict[str, object]:
        """`levels`, `components`."""
        return {"levels": self.levels, "components": self.components}

    def _scaled(self, value: Tensor) -> Tensor:
        return value * (2 * self.half_bin) - 1

    def _nearest_level(self, scaled: Tensor) -> Tensor:
        return ((scaled + 1) / (2 * self.half_bin)).round().clamp(0, self.levels - 1)

    def _levels_like(self, params: Tensor) -> Tensor:
        return torch.arange(self.levels, dtype=params.dtype, device=params.device)

    def _probabilities(self, params: Tensor) -> Tensor:
        levels = self._levels_like(params)
        return self.log_prob(params[..., None, :], levels.expand(*params.shape[:-1], -1)).exp()
