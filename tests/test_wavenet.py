"""WaveNet: dilated convolutions with rings of past inputs."""

from __future__ import annotations

import pytest
import torch

from chainrule.conditionals import Categorical, LogisticMixture
from chainrule.errors import ChainruleError
from chainrule.models import WaveNet
from chainrule.testing import check_model
from chainrule.training import seeded


def small(shape=(6,), **settings) -> WaveNet:
    sizes = {"channels": 4, "skip_channels": 5, "layers_per_stack": 2, "num_stacks": 2}
    with seeded(5):
        return WaveNet(shape, **{"conditional": Categorical(3), **sizes, **settings}).eval()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kernel_size": 3, "conditional": "bernoulli", "ordering": "random:2"},
        {"context_size": 2},
        {"context_size": 8, "local_size": 1},
        {"conditional": LogisticMixture(2), "layers_per_stack": 1, "num_stacks": 2},
    ],
    ids=str,
)
def test_it_conforms(settings) -> None:
    shape = (3,) if not isinstance(settings.get("conditional", "bernoulli"), str) else (6,)
    check_model(small(shape, **settings), num_samples=600)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_receptive_field_is_what_it_says(kernel_size) -> None:
    model = small((40,), kernel_size=kernel_size, conditional="bernoulli").double()
    x = torch.zeros(1, 40, dtype=torch.float64, requires_grad=True)
    model(x)[0, 39, 0].backward()
    reach = model.receptive_field
    assert reach == 1 + (kernel_size - 1) * (1 + 2 + 1 + 2)
    assert x.grad[0].nonzero().flatten().tolist() == list(range(39 - reach, 39))


@pytest.mark.parametrize("pieces", [(29,), (1,) * 29, (10, 1, 1, 12, 5)])
def test_reading_in_pieces_is_reading_at_once(pieces) -> None:
    model = small((30,), kernel_size=3, context_size=31, local_size=1).double()
    values = torch.randint(3, (2, 29), generator=torch.Generator().manual_seed(1)).double()
    context = torch.randn(2, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    whole = model(torch.cat([values, values[:, :1]], 1), context)
    state, parts = model.init_state(2, context), []
    with torch.no_grad():
        for number, piece in enumerate(values.split(pieces, dim=1)):
            params, state = model.read(state, piece, begin=number == 0)
            parts.append(params)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-11)


def test_local_conditioning_is_heard_from_its_variable_on() -> None:
    model = small((8,), context_size=10, local_size=1, conditional="bernoulli")
    context = torch.zeros(1, 10, requires_grad=True)
    model(torch.zeros(1, 8), context)[0, 3, 0].backward()
    heard = context.grad[0].nonzero().flatten().tolist()
    assert heard == [0, 1, 2, 3, 4, 5]  # two global numbers, then those of variables 0..3


def test_rings_do_not_grow() -> None:
    model = small((50,))
    with torch.no_grad():
        _, state = model.read(model.init_state(2), torch.zeros(2, 0), begin=True)
        size = state.stepper.memory.shape
        for _ in range(45):
            _, state = model.read(state, torch.zeros(2, 1))
    assert state.stepper.memory.shape == size == (6, 2, model.channels)
    assert [ring.shape[1] for ring in state.stepper.rings()] == [1, 2, 1, 2]


def test_it_goes_on_for_longer_than_it_was_built_for() -> None:
    model = small((5,))
    x = model.with_length(60).sample(2, seed=0)
    torch.testing.assert_close(
        model.with_length(60).log_prob_per_variable(x)[:, :5], model.log_prob_per_variable(x[:, :5])
    )


def test_a_context_too_short_for_its_local_part() -> None:
    with pytest.raises(ChainruleError, match="context_size of at least 6"):
        small((6,), context_size=3, local_size=1)
