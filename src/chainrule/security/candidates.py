"""How probable neighbouring levels are: what greedy decoding asks at every pixel, and pays for.

The bins of neighbouring levels share their edges. So under a mixture of logistics the sigmoids of K + 1 edges
answer for K levels, where asking for each level by itself takes two logarithms of sigmoids for each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Conditional, DiscretizedLogisticMixture

__all__ = ["log_prob_of_neighbours"]


def log_prob_of_neighbours(
    conditional: Conditional, params: Tensor, middle: Tensor, reach: int, highest: int
) -> Tensor:
    """Log-probabilities of the levels middle - reach .. middle + reach, in this order.

    - `params`: `(rows, P)`; `middle`: `(rows,)`, levels 0..highest, which is the greatest that there is.

    Returns `(rows, 2 reach + 1)`, nats; what it holds for levels that do not exist means nothing.
    """
    offsets = torch.arange(-reach, reach + 1, dtype=middle.dtype, device=middle.device)
    values = middle[:, None] + offsets
    if not isinstance(conditional, DiscretizedLogisticMixture):
        return conditional.log_prob(params[:, None], values.clamp(0, highest))
    log_p = _of_logistics(conditional, params, values)
    # Where all of them underflow, logarithms still tell them apart.
    lost = log_p.amax(1) == -torch.inf
    if bool(lost.any()):
        log_p[lost] = conditional.log_prob(params[lost, None], values[lost].clamp(0, highest))
    return log_p


def _of_logistics(family: DiscretizedLogisticMixture, params: Tensor, values: Tensor) -> Tensor:
    """log sum_k w_k s(b) s(-a) (1 - e^-(b - a)), from a the lower edge of a level's bin to b the upper one.

    The lowest level's bin has no lower edge, the highest one's no upper edge. Nothing cancels, so the result
    is as exact as `log_prob`, down to the least positive number.
    """
    highest = family.levels - 1
    scales = family.scales(params)[:, :, None]  # (rows, K, 1)
    edges = torch.cat([values, values[:, -1:] + 1], dim=1) * (2 * family.half_bin) - (1 + family.half_bin)
    scaled = (edges[:, None] - family.locations(params)[:, :, None]) / scales  # (rows, K, values + 1)
    upper, lower = torch.sigmoid(scaled[..., 1:]), torch.sigmoid(-scaled[..., :-1])
    between = -torch.expm1(-2 * family.half_bin / scales)
    weights = family.log_weights(params).exp()[:, None]  # (rows, 1, K)
    inner = (weights * between[:, None, :, 0]) @ (upper * lower)
    probability = inner[:, 0]
    for value, one_sided in ((0, upper), (highest, lower)):
        at = values == value
        if bool(at.any()):
            probability = torch.where(at, (weights @ one_sided)[:, 0], probability)
    return probability.log()
