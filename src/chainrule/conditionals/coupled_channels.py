"""The colour channels of one pixel, linearly dependent within each component: PixelCNN++, equation 3.

Salimans et al. 2017: all channels of a pixel share the component k, and within it the location of a
channel moves with the values of the channels before it,

    m_k(g) = m_k(g) + a_k r',    m_k(b) = m_k(b) + b_k r' + c_k g'      (values scaled to [-1, 1]).

The paper writes p(r, g, b) = sum_k w_k p_k(r) p_k(g | r) p_k(b | r, g). Read by the chain rule, each
channel is an ordinary mixture whose weights are those of the components given the channels so far,

    p(g | r) = sum_k w_k(r) p_k(g | r),    w_k(r) proportional to w_k p_k(r),

which is what `next_channel` returns: exact conditionals, so that the product over channels is the paper's
joint to rounding, and samplers, surprise maps and coders can go channel by channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.arguments import whole_number
from chainrule.conditionals.discretized_logistic_mixture import DiscretizedLogisticMixture
from chainrule.errors import ChainruleError

__all__ = ["CoupledChannels"]


class CoupledChannels:
    """From what a network says of a whole pixel to the parameters of each channel's conditional.

    - `conditional`: the family of one channel, a `DiscretizedLogisticMixture` with K components.
    - `channels`: C; 3 for RGB.

    A network gives `num_params` = K (1 + 2 C + C (C - 1) / 2) numbers per pixel (100 for K = 10, C = 3):
    K weight logits; K locations for each channel; K log-scales for each channel; and K coupling
    coefficients for each pair of channels, the later one first: (1, 0), (2, 0), (2, 1), ... A
    coefficient is the tanh of its parameter. All parameters 0 means no coupling.
    """

    def __init__(self, conditional: DiscretizedLogisticMixture, channels: int = 3) -> None:
        self.conditional = conditional
        self.channels = channels = whole_number("channels", channels, minimum=1)
        self.num_params = conditional.components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def next_channel(self, pixel_params: Tensor, earlier: Tensor, previous: Tensor | None = None) -> Tensor:
        """Parameters of channel c for `self.conditional`, given the c channels before it.

        - `pixel_params`: `(..., num_params)`.
        - `earlier`: values of channels 0..c - 1, `(..., c)`, whole numbers 0..levels - 1.
        - `previous`: what this returned for channel c - 1, which is otherwise computed again.

        Returns `(..., 3 K)`.
        """
        channel = earlier.shape[-1]
        if channel >= self.channels:
            raise ChainruleError(f"a pixel of {self.channels} channels has none after {channel} others.")
        if channel == 0:
            return self._of_one_channel(pixel_params, earlier, 0)
        if previous is None:
            previous = self.next_channel(pixel_params, earlier[..., :-1])
        # Left unnormalised: a constant in all logits changes nothing.
        of_components = self.conditional.log_prob_of_components(previous, earlier[..., -1])
        logits = self._part(previous, 0) + of_components
        return self._of_one_channel(pixel_params, earlier, channel, logits)

    def channel_params(self, pixel_params: Tensor, pixel: Tensor) -> Tensor:
        """The parameters of all channels of known pixels `(..., C)` at once, `(..., C, 3 K)`.

        Those of channel c depend on the channels before it alone.
        """
        logits, all_params = self._part(pixel_params, 0), []
        for channel in range(self.channels):
            params = self._of_one_channel(pixel_params, pixel, channel, logits)
            all_params.append(params)
            if channel + 1 < self.channels:
                of_components = self.conditional.log_prob_of_components(params, pixel[..., channel])
                logits = logits + of_components
        return torch.stack(all_params, dim=-2)

    def log_prob(self, pixel_params: Tensor, pixel: Tensor) -> Tensor:
        """log p of each channel given the earlier ones, nats, `(..., C)`; the sum is that of the pixel."""
        return self.conditional.log_prob(self.channel_params(pixel_params, pixel), pixel)

    def sample(self, pixel_params: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixels `(..., C)`, channel after channel, from uniforms `(..., C, 2)`."""
        values = pixel_params.new_empty((*pixel_params.shape[:-1], 0))
        for channel in range(self.channels):
            params = self.next_channel(pixel_params, values)
            drawn = self.conditional.sample(params, uniform[..., channel, :], temperature)
            values = torch.cat([values, drawn[..., None]], dim=-1)
        return values

    def _part(self, pixel_params: Tensor, index: int) -> Tensor:
        size = self.conditional.components
        return pixel_params[..., index * size : (index + 1) * size]

    def _of_one_channel(
        self, pixel_params: Tensor, pixel: Tensor, channel: int, logits: Tensor | None = None
    ) -> Tensor:
        location = self._part(pixel_params, 1 + channel)
        first_pair = 1 + 2 * self.channels + channel * (channel - 1) // 2
        for earlier in range(channel):
            coefficient = torch.tanh(self._part(pixel_params, first_pair + earlier))
            location = location + coefficient * self.conditional.encode(pixel[..., earlier])
        log_scale = self._part(pixel_params, 1 + self.channels + channel)
        weights = self._part(pixel_params, 0) if logits is None else logits
        return torch.cat([weights, location, log_scale], dim=-1)
