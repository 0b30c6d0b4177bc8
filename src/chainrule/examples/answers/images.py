"""Topic 4, binarised digits: image spaces, orderings, independent pixels; and the chain rule of topic 5."""

from __future__ import annotations

import math

from torch import Tensor

from chainrule.examples.answers.building import chain_rule_net, independent, log_p
from chainrule.examples.answers.learning import log_image_space
from chainrule.examples.registry import answers
from chainrule.models import FVSBN, NADE, Independent
from chainrule.orderings import resolve_ordering

__all__ = ["raster_positions"]


@answers("4.1", "4.15")
def pixels(shape: list[int]) -> int:
    """Variables of an image."""
    return Independent(shape).num_variables


@answers("4.2")
def image_space(pixels: int) -> float:
    """The number of binary images."""
    return math.exp(log_image_space(pixels))


@answers("4.5")
def independent_joint(theta: list[float], x: list[int]) -> float:
    """p(x) of independent pixels."""
    return math.exp(log_p(independent(theta), x))


@answers("4.6")
def independent_log(theta: list[float], x: list[int]) -> float:
    """log p(x) of independent pixels, nats."""
    return log_p(independent(theta), x)


@answers("4.7", "5.1", "5.2")
def chain_rule_joint(factors: list[float], x: list[int]) -> float:
    """p(x) where the i-th conditional gives x_i the i-th factor."""
    return math.exp(log_p(chain_rule_net(factors, x), x))


@answers("4.8")
def chain_rule_log(factors: list[float], x: list[int]) -> float:
    """log p(x) of the same, nats."""
    return log_p(chain_rule_net(factors, x), x)


@answers("4.9")
def untrained(pixels: int) -> float:
    """log p of any image under fair coins, nats."""
    return -log_image_space(pixels)


def raster_positions(width: int, height: int = 28) -> Tensor:
    """The place of every pixel in raster order, from 0, as an image."""
    return resolve_ordering("raster", (height, width)).positions().view(height, width)


@answers("4.10", "4.11", "4.12", "4.13")
def raster_index(width: int, row: int, col: int) -> int:
    """The place of a pixel in raster order, all counted from 1."""
    return int(raster_positions(width)[row - 1, col - 1]) + 1


@answers("4.14")
def earlier_pixels(width: int, index: int) -> int:
    """How many pixels come before this one."""
    positions = raster_positions(width)
    return int((positions < positions.flatten()[index - 1]).sum())


@answers("6.14")
def raster_row_col(width: int, index: int) -> list[int]:
    """Row and column of a place in raster order."""
    found: list[int] = ((raster_positions(width) == index - 1).nonzero()[0] + 1).tolist()
    return found


@answers("6.13")
def raster_neighbours(width: int, index: int) -> list[int]:
    """The places of the pixels above and to the left."""
    down, across = raster_row_col(width, index)
    return [raster_index(width, down - 1, across), raster_index(width, down, across - 1)]


@answers("4.16")
def independent_parameters(shape: list[int]) -> int:
    """A number a pixel."""
    return Independent(shape).num_parameters


@answers("4.17", "5.12", "6.1", "6.2", "6.18", "7.3")
def fvsbn_parameters(n: int) -> int:
    """Numbers that an FVSBN of n variables learns."""
    return FVSBN((n,)).num_parameters


@answers("4.20")
def fvsbn_image_parameters(shape: list[int]) -> int:
    """The same for an image."""
    return FVSBN(shape).num_parameters


@answers("4.18", "7.2", "7.32")
def nade_parameters(n: int, d: int) -> int:
    """Numbers that a NADE of n variables and d hidden units learns."""
    return NADE((n,), hidden=d).num_parameters


@answers("4.19")
def nade_shared_weights(n: int, d: int) -> int:
    """Entries of the matrix that all conditionals share."""
    return NADE((n,), hidden=d).weight.numel()
