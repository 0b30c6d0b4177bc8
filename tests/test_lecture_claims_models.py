"""Sentences of the lecture about two ways to build a model: a mixture of experts, and a flow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from chainrule.conditionals import Categorical
from chainrule.errors import ChainruleError
from chainrule.layers.experts import Experts, FeedForward
from chainrule.models import MADE, Transformer
from chainrule.testing import check_model
from chainrule.training import seeded

# ------------------------------------------------------------------------------ a mixture of experts


def experts(used, count=5):
    with seeded(1):
        layer = Experts(8, 12, count, used).double()
        with torch.no_grad():
            layer.router.weight.mul_(3)
        return layer, torch.randn(3, 7, 8, dtype=torch.float64)


def runs_of(layer):
    """How many places each expert works at, noted as it runs."""
    seen = []
    for number, expert in enumerate(layer.experts):
        expert.register_forward_hook(lambda _, given, __, number=number: seen.append((number, len(given[0]))))
    return seen


@torch.no_grad()
def test_all_experts_together_are_the_dense_mixture():
    layer, x = experts(used=5)
    weights = layer.router(x).softmax(-1)
    assert weights.max() > 0.6
    dense = sum(weights[..., [number]] * expert(x) for number, expert in enumerate(layer.experts))
    torch.testing.assert_close(layer(x), dense, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("used", [1, 2, 4])
def test_the_k_best_experts_run_and_no_other(used):
    layer, x = experts(used)
    weights = layer.router(x).softmax(-1)
    least = weights.sort(dim=-1, descending=True).values[..., used - 1 : used]
    kept = torch.where(weights >= least, weights, 0.0)
    sparse = sum(kept[..., [number]] * expert(x) for number, expert in enumerate(layer.experts))
    seen = runs_of(layer)
    torch.testing.assert_close(layer(x), sparse, rtol=0, atol=1e-12)
    assert sum(places for _, places in seen) == used * 3 * 7
    assert dict(seen) == {
        number: places for number, places in enumerate((kept > 0).sum((0, 1)).tolist()) if places
    }
    seen.clear()
    layer(x[:1, :1])
    assert [places for _, places in seen] == [1] * used


def small(**settings):
    sizes = {"width": 8, "num_layers": 2, "num_heads": 2, "conditional": Categorical(3), "num_experts": 4}
    with seeded(5):
        model = Transformer(settings.pop("shape", (6,)), **{**sizes, **settings}).eval()
        with torch.no_grad():
            for weights in model.parameters():
                weights.normal_(std=0.5)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {"experts_used": 1},
        {"experts_used": 2, "bias": True, "num_kv_heads": 1},
        {"shape": (3,), "context_size": 2, "conditional": "bernoulli"},
    ],
    ids=str,
)
def test_a_transformer_with_experts_conforms(settings):
    """Causal, normalised, the same step by step as in parallel, saved and loaded."""
    check_model(small(**settings), num_samples=600)


def test_steps_with_copied_weights_use_the_same_experts():
    """After twelve steps the weights are copied into another layout; in float32 as in training."""
    model = small(shape=(40,), experts_used=2)
    x, along = model.sample(8, seed=3, return_log_prob=True)
    assert torch.equal(x, model.sample(8, seed=3, method="naive"))
    with torch.no_grad():
        torch.testing.assert_close(along, model.log_prob(x), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_the_products_are_those_of_the_experts_used():
    model = small(shape=(10,), experts_used=1, num_kv_heads=1)
    counted = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(
                lambda layer, given, _: counted.append(given[0][..., 0].numel() * layer.weight.numel())
            )
    model(torch.zeros(1, 10))
    attention = 10 * 2 * 2 * 10 * 8  # n, layers, queries with keys and weights with values, n, width
    assert sum(counted) + attention == model.multiply_adds
    dense = small(shape=(10,), num_experts=None, num_kv_heads=1)
    assert model.multiply_adds == dense.multiply_adds + 10 * 2 * 4 * 8  # the routers
    assert model.num_parameters == dense.num_parameters + 2 * (3 * 2 * 8 * 32 + 4 * 8)


@torch.no_grad()
def test_one_expert_is_the_plain_mlp():
    plain, single = small(num_experts=None), small(num_experts=1)
    weights = {
        name.replace(".up.", ".mixture.experts.0.up.").replace(".down.", ".mixture.experts.0.down."): tensor
        for name, tensor in plain.state_dict().items()
    }
    missing, unexpected = single.load_state_dict(weights, strict=False)
    assert set(missing) == {f"blocks.{block}.mixture.router.weight" for block in range(2)}
    assert unexpected == []
    x = torch.tensor([[0.0, 2, 1, 1, 0, 2]])
    assert torch.equal(plain(x), single(x))


def test_the_router_learns_even_where_one_expert_is_used():
    model = small(experts_used=1)
    model.nll(torch.tensor([[0.0, 2, 1, 1, 0, 2]])).sum().backward()
    for block in model.blocks:
        assert block.mixture.router.weight.grad.abs().max() > 1e-3
        # None would stop processes that train together and wait for every gradient.
        assert all(weights.grad is not None for weights in block.mixture.parameters())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_experts": 4, "experts_used": 5}, "experts_used=5 is more than num_experts=4"),
        ({"num_experts": None, "experts_used": 2}, "experts_used=2 is more than num_experts=None"),
        ({"num_experts": 0}, "num_experts must be a whole number of at least 1"),
        ({"experts_used": 0}, "experts_used must be a whole number of at least 1"),
    ],
)
def test_numbers_of_experts_that_there_are_not(settings, words):
    with pytest.raises(ChainruleError, match=words):
        small(**settings)


def test_a_feed_forward_layer_is_two_maps():
    layer = FeedForward(8, 12).double()
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    by_hand = nn.functional.gelu(x @ layer.up.weight.T + layer.up.bias) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), by_hand + layer.down.bias, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------ an autoregressive flow


def flow(*orderings, variables=5):
    """Gaussian MADEs as maps (Papamakarios et al. 2017): the first from x to noise, the next from that on."""
    with seeded(7):
        parts = [
            MADE((variables,), hidden=(16, 16), activation="tanh", conditional="gaussian", ordering=ordering)
            for ordering in orderings
        ]
        for part in parts:
            part.double()
            with torch.no_grad():
                for weights in part.parameters():
                    weights.add_(0.2 * torch.randn_like(weights))
    return parts


@torch.no_grad()
def to_noise(parts, x):
    """z, and log |det dz/dx| by what each part's log p has beyond the normal density of its noise."""
    log_det = torch.zeros(len(x), dtype=x.dtype)
    for part in parts:
        params = part(x)
        z = (x - part.conditional.mean(params)) / part.conditional.scale(params)
        log_det += part.log_prob(x) + 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        x = z
    return x, log_det


@torch.no_grad()
def from_noise(parts, z):
    """Back again, variable by variable through each part: x_i = mean_i + scale_i z_i."""
    for part in reversed(parts):
        state, values = part.init_state(len(z)), [None]
        for noise in part.to_sequence(z).unbind(1):
            params, state = part.step(state, values[-1])
            values.append(part.conditional.mean(params) + part.conditional.scale(params) * noise)
        z = part.from_sequence(torch.stack(values[1:], dim=1))
    return z


FLOWS = {"one": ["raster"], "another order": ["random:3"], "three": ["raster", "reversed", "random:1"]}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_inverts(name):
    parts = flow(*FLOWS[name])
    z = torch.randn(2000, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = from_noise(parts, z)
    assert (x - z).abs().mean() > 0.3  # it is no identity
    assert (to_noise(parts, x)[0] - z).abs().max() < 1e-6
    noise, _ = to_noise(parts, z)
    assert (from_noise(parts, noise) - z).abs().max() < 1e-6


def test_a_sample_is_the_flow_of_normal_noise():
    (part,) = flow("random:3")
    uniform = torch.rand(500, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    z = part.from_sequence(torch.special.ndtri(uniform))
    torch.testing.assert_close(from_noise([part], z), part.sample(noise=uniform), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_the_log_determinant_of_a_flow_is_that_of_finite_differences(name):
    parts = flow(*FLOWS[name])
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = 1e-5 * torch.eye(5, dtype=torch.float64)
    columns = [(to_noise(parts, x + h)[0] - to_noise(parts, x - h)[0]) / 2e-5 for h in step]
    jacobians = torch.stack(columns, dim=2)  # (batch, z, x)
    sign, log_det = torch.linalg.slogdet(jacobians)
    assert (sign == 1).all()
    assert log_det.std() > 0.1
    torch.testing.assert_close(to_noise(parts, x)[1], log_det, rtol=0, atol=1e-6)
