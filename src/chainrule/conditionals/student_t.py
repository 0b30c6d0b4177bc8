"""Student-t conditionals: heavy tails, so that a far value costs its logarithm and not its square."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from chainrule.arguments import real_number
from chainrule.conditionals.base import Conditional
from chainrule.conditionals.scales import (
    MIN_SCALE,
    checked_min_scale,
    compressed_code,
    open_uniform,
    positive_scale,
)

__all__ = ["StudentT"]

#: Degrees of freedom above the floor when their parameter is 0.
_USUAL_FREEDOM = 4.0
#: Above e^12 degrees of freedom it is a Gaussian in all but name.
_MAX_LOG_FREEDOM = 12.0
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
#: log G(x + 1/2) - log G(x) - (log x) / 2 as a series in 1/x: coefficients of x^-1, x^-3, ...
_GAMMA_RATIO = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224)
#: The series is used four times as many steps above x >= 1/2; its first term left out is then below
#: 2e-9 in float32 and 3e-15 in float64.
_FOURS = {torch.float64: 3}


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
        return self._freedom(params[..., 2])

    def log_prob(self, params: Tensor, value: Tensor) -> Tensor:
        """log t_v(z) - log scale, with z = (x - location) / scale; nats, `(...)`."""
        location, log_scale, log_freedom = params[..., : self.num_params].unbind(-1)
        scale, v = positive_scale(log_scale, self.min_scale), self._freedom(log_freedom)
        z = (value - location) / scale
        # G((v + 1) / 2) / (G(v / 2) sqrt(pi v)), with the factor that a Gaussian has taken out.
        normaliser: Tensor = _LogGammaRatio.apply(v / 2)  # type: ignore[no-untyped-call]
        normaliser = normaliser - scale.log() - _HALF_LOG_TWO_PI
        return normaliser - 0.5 * (v + 1) * torch.log1p(z.square() / v)

    def sample(self, params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """location - scale sqrt(v ((1 - u_1)^(-2/v) - 1)) cos(pi u_2), increasing in u_2.

        Temperature T multiplies the scale by sqrt(T), as it does for a Gaussian.
        """
        half = self.freedom(params) / 2
        # Few steps: with a step for each column, what they cost is mostly that there are so many.
        square = half * torch.expm1(-torch.log1p(-open_uniform(uniform[..., 0])) / half)
        z = square.sqrt() * torch.cos(math.pi * uniform[..., 1])
        return torch.addcmul(params[..., 0], self.scale(params), z, value=-math.sqrt(2 * temperature))

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

    def encode(self, value: Tensor) -> Tensor:
        """The value itself, logarithmic beyond +-5 (`compressed_code`), `(..., 1)`."""
        return compressed_code(value)

    def in_support(self, value: Tensor) -> Tensor:
        """True for every finite number."""
        return value.isfinite()

    def settings(self) -> dict[str, object]:
        """`min_scale`, `min_freedom`."""
        return {"min_scale": self.min_scale, "min_freedom": self.min_freedom}

    def _freedom(self, log_freedom: Tensor) -> Tensor:
        return self.min_freedom + _USUAL_FREEDOM * log_freedom.clamp(max=_MAX_LOG_FREEDOM).exp()


class _LogGammaRatio(torch.autograd.Function):
    """log G(x + 1/2) - log G(x) - (log x) / 2 for x >= 1/2: goes to 0 for large x.

    By the recurrence of G up to x + 4 or x + 12 and a series in 1/x there: exact to rounding, without the
    cancellation of two large lgamma values. A function of its own, since autograd would remember each of
    its many steps, and they were a quarter of a training run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        fours = _FOURS.get(x.dtype, 1)
        y = x + 4 * fours
        factor = torch.sqrt(y / x)
        for start in range(0, 4 * fours, 4):
            below, above, _ = _four_factors(x + start)
            factor *= below.div_(above)
        series, inverse_square = torch.zeros_like(y), y.square().reciprocal_()
        for coefficient in reversed(_GAMMA_RATIO):
            series.mul_(inverse_square).add_(coefficient)
        return factor.log_().add_(series.div_(y))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x: Tensor = ctx.saved_tensors[0]
        fours = _FOURS.get(x.dtype, 1)
        y = x + 4 * fours
        slope = 0.5 / y - 0.5 / x
        for start in range(0, 4 * fours, 4):
            below, above, w = _four_factors(x + start)
            # The derivative of log(w (w + 2)) is (2 w + 2) / (w (w + 2)) times that of w.
            rise, u = 2 * (x + start) + 3, w + (x + start) + 1.75
            slope = slope + 2 * (rise * (w + 1) / below - (rise + 1) * (u + 1) / above)
        inverse_square = y.square().reciprocal()
        series = torch.zeros_like(y)
        for power, coefficient in reversed(list(enumerate(_GAMMA_RATIO))):
            series = series * inverse_square - (2 * power + 1) * coefficient
        slope = slope + series * inverse_square
        return grad * slope


def _four_factors(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x (x+1) (x+2) (x+3) = w (w + 2), the same for x + 1/2, and w = x (x + 3)."""
    w = x * (x + 3)
    u = w + x + 1.75  # (x + 1/2) (x + 7/2)
    return w * (w + 2), u * (u + 2), w


def _by_numpy(function: object, *arguments: Tensor) -> Tensor:
    arrays = [a.detach().cpu().double().numpy() for a in arguments]
    found = torch.as_tensor(function(*arrays))  # type: ignore[operator]
    return found.to(arguments[0])
