"""Discretised mixtures of logistics against the paper's formulas, and the coupling of colours."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from conditional_helpers import random_params
from data_helpers import one_line_error

from chainrule.conditionals import CoupledChannels, DiscretizedLogisticMixture


def of_paper(family: DiscretizedLogisticMixture, params: torch.Tensor) -> torch.Tensor:
    """Equation 2 of PixelCNN++ as it is printed, level by level: `(..., levels)`."""
    k, step = family.components, 1 / (family.levels - 1)
    weights = torch.softmax(params[..., :k], -1)
    means = params[..., k : 2 * k] + torch.linspace(-1 + 1 / k, 1 - 1 / k, k, dtype=params.dtype)
    scales = params[..., 2 * k :].exp() / k + step / 4
    probabilities = []
    for level in range(family.levels):
        centre = 2 * level * step - 1
        above = torch.sigmoid((centre + step - means) / scales) if level < family.levels - 1 else 1.0
        below = torch.sigmoid((centre - step - means) / scales) if level > 0 else 0.0
        probabilities.append((weights * (above - below)).sum(-1))
    return torch.stack(probabilities, -1)


@pytest.mark.parametrize("levels", [2, 3, 32])
def test_probabilities_are_those_of_the_paper(levels):
    family = DiscretizedLogisticMixture(levels, components=3)
    params = random_params(family, 6)
    support = family.support().double()
    found = family.log_prob(params[:, None].expand(-1, levels, -1), support.expand(6, -1)).exp()
    assert torch.allclose(found, of_paper(family, params), rtol=1e-10, atol=1e-14)


def test_all_256_levels_add_up_to_one_in_either_precision():
    family = DiscretizedLogisticMixture(256, components=10)
    support = family.support().double()
    for size, dtype, tolerance in [
        (1, torch.float64, 1e-13),
        (8, torch.float64, 1e-13),
        (8, torch.float32, 1e-4),
    ]:
        params = (size * random_params(family, 20)).to(dtype)
        x = support.to(dtype).expand(20, -1)
        total = family.log_prob(params[:, None].expand(-1, 256, -1), x).exp().sum(1)
        assert torch.allclose(total, torch.ones_like(total), atol=tolerance, rtol=0)


def test_a_bin_far_from_every_component_keeps_its_probability():
    """The plain difference of two sigmoids is 0 here in float32, and its log -inf."""
    family = DiscretizedLogisticMixture(256, components=1)
    params = torch.tensor([[0.0, -1.0, -5.0]])
    value = torch.tensor([250.0])
    exact = family.log_prob(params.double(), value.double())
    assert of_paper(family, params)[0, 250] == 0
    assert exact.item() < -200
    assert family.log_prob(params, value).item() == pytest.approx(exact.item(), rel=1e-5)


def test_pixels_are_read_between_minus_one_and_one():
    family = DiscretizedLogisticMixture(256)
    assert family.encode(torch.tensor([0.0, 127.5, 255.0])).tolist() == [[-1], [0], [1]]


# ------------------------------------------------------------------------------ coupled channels


def coupled(levels: int = 5, components: int = 3, channels: int = 3) -> CoupledChannels:
    return CoupledChannels(DiscretizedLogisticMixture(levels, components), channels)


def pixel_params(pixels: CoupledChannels, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(*shape, pixels.num_params, generator=generator, dtype=torch.float64)


def every_pixel(pixels: CoupledChannels) -> torch.Tensor:
    levels = range(pixels.conditional.levels)
    return torch.tensor(list(itertools.product(levels, repeat=pixels.channels)), dtype=torch.float64)


def paper_joint(pixels: CoupledChannels, params: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
    """Equation 3: the components' joint with moved means, mixed at the very end. RGB only."""
    family, k = pixels.conditional, pixels.conditional.components
    weights, *parts = params.split(k, dim=-1)
    means, log_scales, (a, b, c) = parts[:3], parts[3:6], [p.tanh() for p in parts[6:]]
    red, green, _ = (2 * pixel / (family.levels - 1) - 1).split(1, dim=-1)
    moved = [means[0], means[1] + a * red, means[2] + b * red + c * green]
    of_components = sum(
        family.log_prob_of_components(torch.cat([weights, m, s], -1), pixel[..., i])
        for i, (m, s) in enumerate(zip(moved, log_scales, strict=True))
    )
    return torch.logsumexp(torch.log_softmax(weights, -1) + of_components, -1)


def test_the_paper_counts_100_numbers_per_pixel():
    assert CoupledChannels(DiscretizedLogisticMixture(256, 10)).num_params == 100
    assert coupled(channels=1).num_params == coupled().conditional.num_params


def test_the_product_over_channels_is_the_papers_joint():
    pixels = coupled()
    pixel = every_pixel(pixels)
    params = pixel_params(pixels, 1).expand(len(pixel), -1)
    joint = pixels.log_prob(params, pixel).sum(-1)
    assert torch.allclose(joint, paper_joint(pixels, params, pixel), atol=1e-12)
    assert joint.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_every_conditional_is_exact():
    """Against Bayes' rule on the enumerated joint."""
    pixels = coupled()
    pixel = every_pixel(pixels)
    params = pixel_params(pixels, 1).expand(len(pixel), -1)
    joint = paper_joint(pixels, params, pixel).exp().view(5, 5, 5)
    found = pixels.log_prob(params, pixel).exp().view(5, 5, 5, 3)
    red, green = joint.sum((1, 2)), joint.sum(2)
    assert torch.allclose(found[..., 0], red[:, None, None].expand(5, 5, 5))
    assert torch.allclose(found[..., 1], (green / red[:, None])[..., None].expand(5, 5, 5))
    assert torch.allclose(found[..., 2], joint / green[..., None])


def test_channel_by_channel_gives_the_same_parameters():
    pixels = coupled()
    pixel = every_pixel(pixels)[::7]
    params = pixel_params(pixels, len(pixel))
    together = pixels.channel_params(params, pixel)
    for channel in range(3):
        alone = pixels.next_channel(params, pixel[:, :channel])
        support = pixels.conditional.support().double()
        for value in support:
            x = value.expand(len(pixel))
            of_both = [pixels.conditional.log_prob(p, x) for p in (together[:, channel], alone)]
            assert torch.allclose(*of_both, atol=1e-12)
    one_line_error(lambda: pixels.next_channel(params, pixel), "3 channels")


def test_a_channel_does_not_hear_itself_or_later_ones():
    pixels = coupled()
    params = pixel_params(pixels, 4)
    pixel = torch.tensor([[1.0, 2, 3], [0, 4, 1], [4, 0, 0], [2, 2, 2]], dtype=torch.float64)
    before = pixels.channel_params(params, pixel)
    for channel in range(3):
        other = pixel.clone()
        other[:, channel:] = 4 - other[:, channel:]
        assert torch.equal(pixels.channel_params(params, other)[:, : channel + 1], before[:, : channel + 1])


def test_samples_follow_the_joint():
    """Relative entropy of the counts of 27 pixels; a false alarm at most 1e-6 (Agrawal 2020)."""
    pixels = coupled(levels=3, components=2)
    pixel, count = every_pixel(pixels), 20_000
    params = pixel_params(pixels, 1)
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(count, 3, 2, generator=generator, dtype=torch.float64)
    drawn = pixels.sample(params.expand(count, -1), uniform)
    expected = pixels.log_prob(params.expand(27, -1), pixel).sum(-1).exp()
    seen = torch.bincount((drawn @ torch.tensor([9.0, 3, 1]).double()).long(), minlength=27) / count
    distance = count * torch.special.xlogy(seen, seen / expected).sum().item()
    assert -distance + 26 * (1 + math.log(max(distance, 26) / 26)) > math.log(1e-6)


def test_gradients_of_the_coupling():
    pixels = coupled(levels=256, components=2)
    pixel = torch.tensor([[0.0, 255, 13], [200, 100, 0]], dtype=torch.float64)
    params = pixel_params(pixels, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: pixels.log_prob(p, pixel), (params,))
    (gradient,) = torch.autograd.grad(pixels.log_prob(params, pixel).sum(), params)
    assert bool((gradient != 0).any(0).all())


def test_extreme_pixel_parameters_stay_finite():
    pixels = coupled(levels=256, components=4)
    pixel = torch.tensor([[0.0, 255, 13], [200, 100, 0]])
    for size in (1e4, -1e4):
        params = torch.full((2, pixels.num_params), size, requires_grad=True)
        log_prob = pixels.log_prob(params, pixel)
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert bool(log_prob.isfinite().all())
        assert bool(gradient.isfinite().all())
