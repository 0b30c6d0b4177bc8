"""What a low-resolution pixel says of its block of pixels, and how likely that still is half way through it.

A statistic makes one number of the values of a block. Sampling needs to know, when some of them are drawn,
what becomes of it with each possible next value, and the chance that the rest brings it to what is given.
That chance is a rough guess. It steers particles and their weights correct for it, so all that must be right
is that it is 0 where, and only where, the statistic is out of reach.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from chainrule.errors import ChainruleError, unknown_name

__all__ = ["BlockStatistic", "block_statistic"]

#: The least chance of what is possible: in large blocks it rounds to 0, which must mean impossible.
_TINY = 1e-300


class BlockStatistic(ABC):
    """One number of the `size` values 0..levels - 1 of a block."""

    name: str
    expected: str

    def __init__(self, levels: int, size: int) -> None:
        self.levels, self.size = levels, size

    @staticmethod
    @abstractmethod
    def of(blocks: Tensor) -> Tensor:
        """The statistic of whole blocks, `(..., size)` to `(...)`."""

    @abstractmethod
    def so_far(self, values: Tensor) -> Tensor:
        """What is remembered of the values drawn, `(..., k)` to `(...)`; k may be 0."""

    @abstractmethod
    def then(self, so_far: Tensor, value: Tensor) -> Tensor:
        """What is remembered once `value` follows; the two broadcast."""

    @abstractmethod
    def log_chance(self, so_far: Tensor, target: Tensor, rest: int) -> Tensor:
        """A guess at the log of the chance that `rest` more values bring the statistic to `target`.

        float64, of the broadcast shape; -inf exactly where that is impossible, 0 or -inf where `rest` is 0.
        """

    def check(self, low: Tensor) -> None:
        """Raise `ChainruleError` naming the first number that no block has as its statistic."""
        possible = self.log_chance(torch.zeros_like(low), low, self.size) > -math.inf
        if not bool(possible.all()):
            where = torch.nonzero(~possible)[0].tolist()
            raise ChainruleError(
                f"the low-resolution pixel {low[tuple(where)].item():g} at index {where} is not the "
                f"{self.name} of any {self.size} pixels of {self.levels} levels: expected {self.expected}."
            )


class _SumStatistic(BlockStatistic):
    """A statistic that fixes the sum of a block, or an interval of sums.

    The rest of a block is guessed to be like what was drawn of it: Polya's urn, beginning with a black and a
    white ball, so the sum of r more values is beta-binomial over 0..r (levels - 1). Independent pixels would
    be a worse guess, too sure of what the rest adds up to.
    """

    @abstractmethod
    def sums(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the greatest sum of a block of this statistic, whole numbers in float64."""

    def so_far(self, values: Tensor) -> Tensor:
        return values.double().sum(-1)

    def then(self, so_far: Tensor, value: Tensor) -> Tensor:
        return so_far + value.double()

    def log_chance(self, so_far: Tensor, target: Tensor, rest: int) -> Tensor:
        first, last = self.sums(target)
        top = max(self.levels - 1, 1)
        most = float(rest * top)
        # The rest must add up to one of these; where there are several, the one in the middle speaks for all.
        first, last = (first - so_far).clamp_min(0), (last - so_far).clamp_max(most)
        black = ((first + last) / 2).clamp(0, most)
        white = most - black
        urn_black, urn_white = 1 + so_far / top, 1 + self.size - rest - so_far / top
        ways = math.lgamma(most + 1) - torch.lgamma(black + 1) - torch.lgamma(white + 1)
        drawn = _log_beta(black + urn_black, white + urn_white) - _log_beta(urn_black, urn_white)
        return torch.where(first <= last, ways + drawn + (last - first + 1).log(), -math.inf)


class Mean(_SumStatistic):
    """The mean of the block, exactly."""

    name = "mean"

    def __init__(self, levels: int, size: int) -> None:
        super().__init__(levels, size)
        self.expected = f"a multiple of 1/{size} in 0..{levels - 1}"

    @staticmethod
    def of(blocks: Tensor) -> Tensor:
        return blocks.mean(-1)

    def sums(self, target: Tensor) -> tuple[Tensor, Tensor]:
        sums = target.double() * self.size
        whole = sums.round()
        # A multiple of 1/size in single precision is not quite one in double precision.
        off = (sums - whole).abs() > 1e-3 + 1e-6 * whole.abs()
        return whole, torch.where(off, -1.0, whole)


class RoundedMean(_SumStatistic):
    """The mean rounded to the nearest level, halves up: what a low-resolution picture file holds."""

    name = "rounded-mean"

    def __init__(self, levels: int, size: int) -> None:
        super().__init__(levels, size)
        self.expected = f"a whole number in 0..{levels - 1}"

    @staticmethod
    def of(blocks: Tensor) -> Tensor:
        size = blocks.shape[-1]
        return ((2 * blocks.sum(-1) + size) / (2 * size)).floor()

    def sums(self, target: Tensor) -> tuple[Tensor, Tensor]:
        middle = target.double() * self.size
        first = (middle - self.size / 2).ceil().clamp_min(0)
        last = (middle + self.size / 2).ceil() - 1
        last = last.clamp_max(self.size * (self.levels - 1))
        return first, torch.where(target == target.round(), last, -1.0)


class Max(BlockStatistic):
    """The greatest value of the block: for binary images, whether there is any ink."""

    name = "max"

    def __init__(self, levels: int, size: int) -> None:
        super().__init__(levels, size)
        self.expected = f"a whole number in 0..{levels - 1}"

    @staticmethod
    def of(blocks: Tensor) -> Tensor:
        return blocks.amax(-1)

    def so_far(self, values: Tensor) -> Tensor:
        return values.amax(-1) if values.shape[-1] else values.sum(-1)

    def then(self, so_far: Tensor, value: Tensor) -> Tensor:
        return torch.maximum(so_far, value)

    def log_chance(self, so_far: Tensor, target: Tensor, rest: int) -> Tensor:
        # As if the rest were uniform.
        target = target.double()
        upto, below = ((target + 1) / self.levels) ** rest, (target / self.levels) ** rest
        chance = torch.where(so_far == target, upto, upto - below)
        possible = (so_far <= target) & (target >= 0) & (target < self.levels) & (target == target.round())
        possible = possible & ((so_far == target) | (rest > 0))
        return torch.where(possible, chance.clamp_min(_TINY).log(), -math.inf)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def block_statistic(name: str) -> type[BlockStatistic]:
    """The statistic of this name; `ChainruleError` for another name."""
    kinds: dict[str, type[BlockStatistic]] = {cls.name: cls for cls in (Mean, RoundedMean, Max)}
    if name not in kinds:
        raise unknown_name("statistic", name, [*kinds, "top-left"])
    return kinds[name]
