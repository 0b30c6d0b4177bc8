"""Mixtures of K components of one shape, each moved and stretched: the part that all of them share."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.conditionals.base import Conditional
from chainrule.conditionals.scales import (
    MIN_SCALE,
    checked_min_scale,
    compressed_code,
    open_uniform,
    positive_scale,
)
from chainrule.errors import ChainruleError

__all__ = ["LocationScaleMixture", "checked_components", "pick_component", "spread_offsets"]

#: Steps of bisection for a quantile: every bit of a float64.
_BISECTIONS = 64
#: Steps of the ascent to a mode; each climbs, and a few suffice unless two components nearly merge.
_CLIMBS = 50


class LocationScaleMixture(Conditional):
    """p(x) = sum_k w_k f((x - m_k) / s_k) / s_k, for a density f that is symmetric about its only peak.

    `params` holds K weight logits (w is their softmax; none with `equal_weights`), K locations and K
    log-scales: m_k = offset_k + location_k and s_k = min_scale + exp(log-scale_k). The fixed offsets are
    the quantiles of the standard normal at (k - 1/2) / K, so that all parameters 0 is a broad bell over
    standardised data whose components already differ.

    - `components`: K.
    - `equal_weights`: every weight is 1/K, as in the lecture; there are then no weight logits.
    - `min_scale`: the smallest scale there is, in units of x.

    A sample takes two uniforms: the first picks the component, the second the value within it.
    Temperature T divides the weight logits and multiplies the scales, by sqrt(T) or T as the family
    says; unlike for a single component this is not p^(1/T), which has no closed form for a mixture.
    """

    num_noise = 2
    value_range = "a finite number"
    has_cdf = True
    #: Temperature multiplies the scales by T to this power.
    _temperature_power: float

    def __init__(
        self, components: int = 10, equal_weights: bool = False, min_scale: float = MIN_SCALE
    ) -> None:
        self.components = checked_components(components)
        if not isinstance(equal_weights, bool):
            raise ChainruleError(f"equal_weights must be true or false, not {equal_weights!r}.")
        self.equal_weights = equal_weights
        self.min_scale = checked_min_scale(min_scale)
        self.num_params = (2 if self.equal_weights else 3) * self.components
        self.offsets = spread_offsets(self.components)

    # ---------------------------------------------------------------- what a family writes

    @abstractmethod
    def _plus_log_density(self, terms: Tensor, z: Tensor) -> Tensor:
        """terms + log f(z), elementwise; in one because the log-likelihood is bound by memory, not sums."""

    @abstractmethod
    def _standard_cdf(self, z: Tensor) -> Tensor:
        """The integral of f up to z, elementwise."""

    @abstractmethod
    def _standard_quantile(self, probability: Tensor) -> Tensor:
        """The inverse of `_standard_cdf`, elementwise."""

    @abstractmethod
    def _pull(self, z: Tensor) -> Tensor:
        """-(log f)'(z) / z, elementwise: how hard a component draws the mode of the mixture to itself."""

    # ---------------------------------------------------------------- parameters

    def log_weights(self, params: Tensor, temperature: float = 1.0) -> Tensor:
        """log w_k, `(..., K)`."""
        if self.equal_weights:
            return params.new_full((*params.shape[:-1], self.components), -math.log(self.components))
        return torch.log_softmax(params[..., : self.components] / temperature, dim=-1)

    def locations(self, params: Tensor) -> Tensor:
        """m_k, `(..., K)`."""
        first = 0 if self.equal_weights else self.components
        return params[..., first : first + self.components] + self.offsets.to(params)

    def scales(self, params: Tensor) -> Tensor:
        """s_k, `(..., K)`."""
        return positive_scale(
            params[..., self.num_params - self.components : self.num_params], self.min_scale
        )

    # ---------------------------------------------------------------- the distribution

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """log sum_k w_k f(z_k) / s_k, with z_k = (x - m_k) / s_k, by log-sum-exp; nats, `(...)`."""
        # One split, not a slice for each part: their gradients then need no tensors of zeros.
        *logits, locations, log_scales = torch.split(params[..., : self.num_params], self.components, dim=-1)
        scales = positive_scale(log_scales, self.min_scale)
        z = (value[..., None] - (locations + self.offsets.to(params))) / scales
        if self.equal_weights:
            terms = self._plus_log_density(-scales.log(), z)
            return torch.logsumexp(terms, dim=-1) - math.log(self.components)
        terms = self._plus_log_density(logits[0] - scales.log(), z)
        return torch.logsumexp(terms, dim=-1) - torch.logsumexp(logits[0], dim=-1)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """The quantile of the second uniform within the component that the first one picks."""
        if self.equal_weights:
            chosen = (uniform[..., :1] * self.components).long().clamp(max=self.components - 1)
        else:
            chosen = pick_component(params[..., : self.components] / temperature, uniform[..., 0])
        # Only what was picked is turned into a location and a scale: of K components that is all but free.
        *_, locations, log_scales = torch.split(params[..., : self.num_params], self.components, dim=-1)
        location = locations.gather(-1, chosen).squeeze(-1) + self.offsets.to(params)[chosen.squeeze(-1)]
        scale = positive_scale(log_scales.gather(-1, chosen).squeeze(-1), self.min_scale)
        z = self._standard_quantile(open_uniform(uniform[..., 1]))
        return torch.addcmul(location, scale, z, value=math.pow(temperature, self._temperature_power))

    def mean(self, params: Tensor) -> Tensor:
        """sum_k w_k m_k."""
        return (self.log_weights(params).exp() * self.locations(params)).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """The peak above the densest component centre, found by an ascent that never steps down.

        Each step moves to the average of the centres weighted by how hard each component pulls (mean
        shift). Where components overlap a great deal a slightly higher peak may stand elsewhere.
        """
        centres, scales = self.locations(params), self.scales(params)
        of_centres = torch.stack([self.log_prob(params, c) for c in centres.unbind(-1)], dim=-1)
        x = centres.gather(-1, of_centres.argmax(-1, keepdim=True))
        log_heights = self.log_weights(params) - scales.log()
        for _ in range(_CLIMBS):
            z = (x - centres) / scales
            share = torch.softmax(self._plus_log_density(log_heights, z), dim=-1)
            pull = share * self._pull(z) / scales.square()
            x = (pull * centres).sum(-1, keepdim=True) / pull.sum(-1, keepdim=True)
        return x.squeeze(-1)

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """sum_k w_k F(z_k), with F the integral of f."""
        z = (value[..., None] - self.locations(params)) / self.scales(params)
        return (self.log_weights(params).exp() * self._standard_cdf(z)).sum(-1)

    @torch.no_grad()
    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """By bisection between the least and the greatest quantile of a component; no gradient."""
        z = self._standard_quantile(probability)[..., None]
        of_components = self.locations(params) + self.scales(params) * z
        low, high = of_components.amin(-1), of_components.amax(-1)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            too_low = self.cdf(params, middle) < probability
            low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
        return high

    def encode(self, value: Tensor) -> Tensor:
        """The value itself, logarithmic beyond +-5 (`compressed_code`), `(..., 1)`."""
        return compressed_code(value)

    def in_support(self, value: Tensor) -> Tensor:
        """True for every finite number."""
        return value.isfinite()

    def settings(self) -> dict[str, object]:
        """`components`, `equal_weights`, `min_scale`."""
        return {
            "components": self.components,
            "equal_weights": self.equal_weights,
            "min_scale": self.min_scale,
        }


def pick_component(logits: Tensor, uniform: Tensor) -> Tensor:
    """The index of the component that u falls on when the weights are laid end to end, `(..., 1)`.

    - `logits`: log-weights up to a constant, `(..., K)`.
    """
    ends = (logits - logits.amax(-1, keepdim=True)).exp().cumsum(-1)
    return (ends[..., :-1] <= uniform[..., None] * ends[..., -1:]).sum(-1, keepdim=True)


def spread_offsets(components: int) -> Tensor:
    """Where K components start: quantiles of the standard normal at (k - 1/2) / K, float64, `(K,)`."""
    middle = (torch.arange(components, dtype=torch.float64) + 0.5) / components
    offsets: Tensor = torch.special.ndtri(middle)
    return offsets


def checked_components(components: int) -> int:
    """The number of components, or a `ChainruleError` where it is none."""
    return whole_number("components", components, minimum=1)
