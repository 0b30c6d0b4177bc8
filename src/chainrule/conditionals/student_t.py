"""Student-t conditionals: heavy tails, so that a far value costs its logarithm and not its square."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.arguments import real_number
from chainrule.conditionals.base import Conditional
from chainrule.conditionals.scales import MIN_SCALE, checked_min_scale, open_uniform, positive_scale

__all__ = ["StudentT"]

#: Degrees of freedom above the floor when their parameter is 0.
_USUAL_FREEDOM = 4.0
#: Above e^12 degrees of freedom it is a Gaussian in all but name.
_MAX_LOG_FREEDOM = 12.0
#: log G(x + 1/2) - log G(x) - (log x) / 2 as a series in 1/x: coefficients of x^-1, x^-3, ...
_GAMMA_RATIO = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)
#: The series is used at x + this many, where its first term left out is below 1e-14.
_GAMMA_SHIFT = 10


class StudentT(Conditional):
    """t(x; location, scale, v) with v degrees of freedom; `params` holds location, log-scale, log-freedom.

    scale = min_scale + exp(log-scale) and v = min_freedom + 4 exp(log-freedom). All 0 is location 0,
    scale about 1 and v = 5: a sensible start for standardised data.

    - `min_scale`: the smallest scale there is, in units of x.
    - `min_freedom`: v is above it; at least 1, so that the mean exists (above 2 the variance does too).

    A sample takes two uniforms (Bailey 1994): u_1 for how far out, u_2 for the side and how much of it.
    """

    name = "student_t"
    num_params = 3
    num_noise = 2
    value_range = "a finite number"
    has_cdf = True

    def __init__(self, min_scale: float = MIN_SCALE, min_freedom: float = 1.0) -> None:
        self.min_scale = checked_min_scale(min_scale)
        self.min_freedom = real_number("min_freedom", min_freedom, minimum=1.0)

    def scale(self, params: Tensor) -> Tensor:
        """The scale, `(...)`; the standard deviation is sqrt(v / (v - 2)) times this."""
        return positive_scale(params[..., 1], self.min_scale)

    def freedom(self, params: Tensor) -> Tensor:
        """The degrees of freedom v, `(...)`."""
        return self.min_freedom + _USUAL_FREEDOM * params[..., 2].clamp(max=_MAX_LOG_FREEDOM).exp()

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """log t_v(z) - log scale, with z = (x - location) / scale; nats, `(...)`."""
        scale, v = self.scale(params), self.freedom(params)
        z = (value - params[..., 0]) / scale
        normaliser = _log_gamma_ratio(v / 2) - 0.5 * (math.pi * v).log() - scale.log()
        return normaliser - 0.5 * (v + 1) * torch.log1p(z.square() / v)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """location - scale sqrt(v ((1 - u_1)^(-2/v) - 1)) cos(pi u_2), increasing in u_2.

        Temperature T multiplies the scale by sqrt(T), as it does for a Gaussian.
        """
        v = self.freedom(params)
        radius = (v * torch.expm1(-2 / v * torch.log1p(-open_uniform(uniform[..., 0])))).sqrt()
        z = -radius * torch.cos(math.pi * uniform[..., 1])
        return params[..., 0] + self.scale(params) * math.sqrt(temperature) * z

    def mean(self, params: Tensor) -> Tensor:
        """The location, since v > 1."""
        return params[..., 0]

    def mode(self, params: Tensor) -> Tensor:
        """The location, where the density is greatest."""
        return params[..., 0]

    def cdf(self, params: Tensor, value: Tensor) -> Tensor:
        """P(X <= x), from scipy and without gradient."""
        from scipy.special import stdtr

        z = (value - params[..., 0]) / self.scale(params)
        return _by_numpy(stdtr, self.freedom(params), z)

    def quantile(self, params: Tensor, probability: Tensor) -> Tensor:
        """The inverse of `cdf`, from scipy and without gradient."""
        from scipy.special import stdtrit

        z = _by_numpy(stdtrit, self.freedom(params), probability)
        return (params[..., 0] + self.scale(params) * z).detach()

    def in_support(self, value: Tensor) -> Tensor:
        """True for every finite number."""
        return value.isfinite()

    def settings(self) -> dict[str, object]:
        """`min_scale`, `min_freedom`."""
        return {"min_scale": self.min_scale, "min_freedom": self.min_freedom}


def _log_gamma_ratio(x: Tensor) -> Tensor:
    """log G(x + 1/2) - log G(x) for x > 0, without the cancellation of two large lgamma values.

    By recurrence up to x + 10 and a series in 1/x there; exact to rounding in float32 and float64.
    """
    ratio = torch.ones_like(x)
    for i in range(_GAMMA_SHIFT):
        ratio = ratio * ((x + i) / (x + i + 0.5))
    y = x + _GAMMA_SHIFT
    inverse_square = y.square().reciprocal()
    series = torch.zeros_like(y)
    for coefficient in reversed(_GAMMA_RATIO):
        series = series * inverse_square + coefficient
    return 0.5 * y.log() + series / y + ratio.log()


def _by_numpy(function: object, *arguments: Tensor) -> Tensor:
    arrays = [a.detach().cpu().double().numpy() for a in arguments]
    found = torch.as_tensor(function(*arrays))  # type: ignore[operator]
    return found.to(arguments[0])
