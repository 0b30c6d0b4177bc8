"""How a clean pixel becomes what is observed of it: flipped bits, and grey values around each level's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from chainrule.arguments import real_number, whole_number
from chainrule.errors import ChainruleError
from chainrule.inputs import source_of_randomness

__all__ = ["BitFlips", "Channel", "GaussianChannel"]


class Channel(Protocol):
    """p(observed | clean) of one pixel, the same for all and independent."""

    def log_prob(self, observed: Tensor, clean: Tensor) -> Tensor:
        """log p(observed | clean), nats, of the broadcast shape of both."""

    def check(self, observed: Tensor, levels: int) -> None:
        """Raise `ChainruleError` for what this channel cannot make of clean values 0..levels - 1."""


@dataclass(frozen=True)
class BitFlips:
    """Each bit is flipped with this probability, independently; 0 < probability < 1.

    >>> BitFlips(0.25).log_prob(torch.tensor([0.0, 1.0]), torch.tensor(0.0)).exp()
    tensor([0.7500, 0.2500])
    """

    probability: float

    def __post_init__(self) -> None:
        real_number("the probability of a flip", self.probability, above=0.0, below=1.0)

    def log_prob(self, observed: Tensor, clean: Tensor) -> Tensor:
        """As in `Channel`."""
        kept, flipped = math.log1p(-self.probability), math.log(self.probability)
        return torch.where(observed == clean, kept, flipped)

    def check(self, observed: Tensor, levels: int) -> None:
        """As in `Channel`."""
        if levels != 2:
            raise ChainruleError(
                f"bits can only be flipped in binary images, not in ones of {levels} levels."
            )
        strange = observed[(observed != 0) & (observed != 1)]
        if len(strange):
            raise ChainruleError(
                f"the degraded images hold {strange[0].item():g}, but flipped bits are 0 or 1; "
                "for grey values use GaussianChannel."
            )

    def degrade(
        self, clean: Tensor, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Binary images with flips, of the same shape."""
        source = source_of_randomness(seed=seed, generator=generator)
        uniform = torch.rand(clean.shape, generator=source, device=source.device).to(clean.device)
        return torch.where(uniform < self.probability, 1 - clean, clean)


@dataclass(frozen=True)
class GaussianChannel:
    """Grey values normally distributed around a mean for each clean level.

    - `means`: of each level: `means=(0.9, 0.2)` for paper (0) and ink (1) of a scanned page, in whatever
      units the observations are; None: the level itself, plain additive noise.
    - `deviations`: standard deviations, one for all levels or one for each.
    """

    deviations: float | Sequence[float]
    means: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for deviation in self._of_levels(self.deviations):
            real_number("the standard deviation of a channel", deviation, above=0.0)
        for mean in self.means or ():
            real_number("a mean of a channel", mean)

    def log_prob(self, observed: Tensor, clean: Tensor) -> Tensor:
        """As in `Channel`; a density."""
        mean, deviation = self._parameters(clean)
        scaled = (observed - mean) / deviation
        return -0.5 * scaled.square() - deviation.log() - 0.5 * math.log(2 * math.pi)

    def check(self, observed: Tensor, levels: int) -> None:
        """As in `Channel`."""
        means, deviations = self.means, self._of_levels(self.deviations)
        if len(deviations) not in (1, levels) or (means is not None and len(means) != levels):
            raise ChainruleError(
                f"the model has {levels} levels; give the channel {levels} means (or None) and {levels} "
                "deviations (or one)."
            )
        if not bool(observed.isfinite().all()):
            raise ChainruleError("the degraded images hold an infinite number; expected finite grey values.")

    def degrade(
        self, clean: Tensor, *, seed: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Grey values of clean images of levels, of the same shape."""
        source = source_of_randomness(seed=seed, generator=generator)
        noise = torch.randn(clean.shape, generator=source, device=source.device).to(clean.device)
        mean, deviation = self._parameters(clean)
        return mean + deviation * noise

    @classmethod
    def from_grey(cls, grey: Tensor, *, ink_is_dark: bool = True, iterations: int = 100) -> Self:
        """Paper (0) and ink (1) of a grey page, estimated from its histogram alone.

        Two normal distributions are fitted to all grey values by expectation-maximisation, from the quartiles
        on (Dempster, Laird & Rubin 1977); `ink_is_dark` says which of them is ink.
        """
        y = grey[grey.isfinite()].double().flatten()
        if not len(y) or y.min() == y.max():
            raise ChainruleError("a page of one grey value shows no ink; give the means and deviations.")
        means = torch.quantile(y[:: max(1, len(y) // 1_000_000)], y.new_tensor([0.05, 0.95]))
        spread = y.std()
        deviations, shares = torch.stack([spread, spread]) / 2, y.new_tensor([0.5, 0.5])
        for _ in range(whole_number("iterations", iterations, minimum=1)):
            log_joint = shares.log() - deviations.log() - 0.5 * ((y[:, None] - means) / deviations).square()
            belongs = torch.softmax(log_joint, dim=1)  # (pixels, 2)
            counts = belongs.sum(0).clamp_min(1e-9)
            shares, means = counts / len(y), (belongs * y[:, None]).sum(0) / counts
            variances = (belongs * (y[:, None] - means).square()).sum(0) / counts
            deviations = variances.sqrt().clamp_min(1e-3 * float(spread))
        dark_first = torch.argsort(means)
        order = dark_first.flip(0) if ink_is_dark else dark_first
        return cls(tuple(deviations[order].tolist()), tuple(means[order].tolist()))

    def _parameters(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the observation of each clean value."""
        deviations = clean.new_tensor(self._of_levels(self.deviations))
        level = clean.long()
        deviation = deviations.expand_as(clean) if len(deviations) == 1 else deviations[level]
        return clean if self.means is None else clean.new_tensor(self.means)[level], deviation

    @staticmethod
    def _of_levels(numbers: float | Sequence[float]) -> Sequence[float]:
        return numbers if isinstance(numbers, Sequence) else (numbers,)
