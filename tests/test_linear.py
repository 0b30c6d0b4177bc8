"""Products through oneDNN: the same numbers and gradients as PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from chainrule.conditionals import Categorical
from chainrule.layers.linear import Linear, PackedWeights, linear
from chainrule.models import Transformer
from chainrule.training import seeded

#: Large enough to be multiplied the other way.
ROWS, INPUTS, OUTPUTS = 48, 96, 160


def tensors(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("shape", [(ROWS, INPUTS), (4, 12, INPUTS), (ROWS, 1, INPUTS)])
@pytest.mark.parametrize("biased", [False, True])
def test_values_and_gradients_are_those_of_pytorch(shape, biased) -> None:
    x, weight, bias = tensors(shape, (OUTPUTS, INPUTS), (OUTPUTS,))
    inputs = [x, weight, bias][: 2 + biased]
    ours, theirs = linear(*inputs), functional.linear(*inputs)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(linear(*inputs), theirs, atol=1e-4, rtol=1e-4)


def test_memory_may_lie_in_any_order() -> None:
    x, weight = tensors((INPUTS, ROWS), (INPUTS, OUTPUTS))
    torch.testing.assert_close(linear(x.t(), weight.t()), x.t() @ weight, atol=1e-4, rtol=1e-4)


def test_gradients_of_gradients() -> None:
    x, weight = tensors((ROWS, INPUTS), (OUTPUTS, INPUTS))

    def of_penalty(product):
        (grad,) = torch.autograd.grad(product(x, weight).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), (x, weight))

    for mine, other in zip(of_penalty(linear), of_penalty(functional.linear), strict=True):
        torch.testing.assert_close(mine, other, atol=2e-3, rtol=1e-3)


def test_only_one_side_may_have_a_gradient() -> None:
    x, weight = tensors((ROWS, INPUTS), (OUTPUTS, INPUTS))
    for inputs in ((x.detach(), weight), (x, weight.detach())):
        wanted = [part for part in inputs if part.requires_grad]
        mine = torch.autograd.grad(linear(*inputs).sum(), wanted)
        other = torch.autograd.grad(functional.linear(*inputs).sum(), wanted)
        torch.testing.assert_close(mine[0], other[0], atol=1e-3, rtol=1e-4)


def test_other_numbers_are_multiplied_as_ever() -> None:
    x, weight = tensors((ROWS, INPUTS), (OUTPUTS, INPUTS), dtype=torch.float64)
    assert torch.equal(linear(x, weight), functional.linear(x, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x.float(), weight.float()).dtype == torch.bfloat16
    assert linear(x[:0].float(), weight.float()).shape == (0, OUTPUTS)


@pytest.mark.parametrize("rows", [1, 2, 16, 40])
def test_packed_weights_multiply_alike(rows) -> None:
    module = Linear(INPUTS, OUTPUTS)
    packed = PackedWeights([module])
    (x,) = tensors((rows, 1, INPUTS))
    with torch.no_grad():
        torch.testing.assert_close(packed.apply(module, x), module(x), atol=1e-5, rtol=1e-5)
        module.double()
        assert PackedWeights([module]).apply(module, x.double()).dtype == torch.float64


def test_steps_with_packed_weights_are_the_parallel_pass() -> None:
    """And weights that change are seen by the next sample."""
    with seeded(0):
        model = Transformer((40,), width=32, num_layers=2, num_heads=2, conditional=Categorical(5)).eval()
    with torch.no_grad():
        for scale in (5.0, 2.0):
            for parameter in model.parameters():
                parameter.mul_(scale)
            x, log_p = model.sample(3, seed=0, return_log_prob=True)
            torch.testing.assert_close(model.log_prob(x), log_p, atol=1e-3, rtol=1e-4)
