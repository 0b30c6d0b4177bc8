"""MADE and its masks: who hears whom, no dead units, views and training on a set of masks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.errors import ChainruleError
from chainrule.layers import MaskedLinear, balanced_degrees, connect_by_degrees, random_degrees
from chainrule.models import FVSBN, MADE, NADE
from chainrule.testing import all_examples


def jacobian_pattern(model: MADE) -> torch.Tensor:
    """(i, j): whether the logit of variable i moves with x_j anywhere, among a few x; float64."""
    model = model.double()
    n = model.num_variables
    x = torch.rand(6, *model.event_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: model(v)[..., 0].sum(0).flatten(), x)
    return (jacobian.view(n, 6, n) != 0).any(1)


def reachable(model: MADE) -> torch.Tensor:
    """(i, j): whether an open path leads from input j to output i."""
    paths = torch.eye(model.num_variables)
    for mask in model.masks():
        paths = mask.float() @ paths
    return paths > 0


@pytest.mark.parametrize("ordering", ["raster", "reversed", "random:4"])
@pytest.mark.parametrize("hidden", [(12,), (12, 9), (9, 12, 10)])
def test_every_variable_hears_exactly_all_earlier_ones(ordering, hidden):
    model = MADE((6,), hidden=hidden, ordering=ordering, activation="tanh")
    position = model.ordering.positions()
    assert torch.equal(jacobian_pattern(model), position[None, :] < position[:, None])


@st.composite
def dags(draw):
    n = draw(st.integers(1, 6))
    order = draw(st.permutations(range(n)))
    adjacency = torch.zeros(n, n, dtype=torch.bool)
    for late in range(n):
        for early in range(late):
            adjacency[order[late], order[early]] = draw(st.booleans())
    return adjacency


@settings(deadline=None, max_examples=60)
@given(adjacency=dags(), depth=st.integers(1, 3), direct=st.booleans())
def test_with_an_adjacency_every_variable_hears_exactly_its_parents(adjacency, depth, direct):
    model = MADE(
        (len(adjacency),), hidden=(9,) * depth, adjacency=adjacency, activation="tanh", direct=direct
    )
    assert torch.equal(jacobian_pattern(model), adjacency)
    position = model.ordering.positions()
    parents, children = adjacency.nonzero()[:, 1], adjacency.nonzero()[:, 0]
    assert (position[parents] < position[children]).all()


def test_the_ordering_of_a_dag_stays_near_the_one_asked_for():
    chain = [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert MADE((3,), hidden=(3,), adjacency=chain).ordering.permutation == (0, 1, 2)
    assert MADE((3,), hidden=(3,), adjacency=chain, ordering="reversed").ordering.permutation == (1, 0, 2)


@settings(deadline=None, max_examples=80)
@given(
    n=st.integers(2, 40),
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=3),
    degrees=st.sampled_from(["balanced", "random"]),
    random_orderings=st.booleans(),
    seed=st.integers(0, 5),
)
def test_no_unit_is_dead_under_any_mask(n, sizes, degrees, random_orderings, seed):
    model = MADE(
        (n,), hidden=sizes, degrees=degrees, num_masks=3, random_orderings=random_orderings, mask_seed=seed
    )
    for k in range(3):
        view = model.view(mask=k)
        masks = view.masks()
        for layer, (below, above) in enumerate(pairwise(masks)):
            assert below.any(1).all(), f"a unit of hidden layer {layer + 1} hears nothing"
            assert above.any(0).all(), f"a unit of hidden layer {layer + 1} is heard by nobody"
        position = view.ordering.positions()
        earlier = position[None, :] < position[:, None]
        assert not (reachable(view) & ~earlier).any()
        if len(sizes) == 1:  # one hidden layer wide enough loses no dependence
            assert sizes[0] < n - 1 or torch.equal(reachable(view), earlier) or degrees == "random"


@given(size=st.integers(1, 300), n=st.integers(1, 100))
def test_balanced_degrees_are_as_even_as_can_be(size, n):
    degrees = balanced_degrees(size, n)
    highest = max(n - 1, 1)
    assert degrees.tolist() == sorted(degrees.tolist())
    assert degrees.min() >= 1
    assert degrees.max() <= highest
    counts = torch.bincount(degrees, minlength=highest + 1)[1:]
    assert counts.max() - counts.min() <= 1
    if size >= 2:
        assert {1, highest} <= set(degrees.tolist())


@given(size=st.integers(2, 50), n=st.integers(2, 60), seed=st.integers(0, 99))
def test_random_degrees_keep_the_ends(size, n, seed):
    degrees = random_degrees(size, n, torch.Generator().manual_seed(seed))
    assert {1, n - 1} <= set(degrees.tolist()) <= set(range(1, n))


def test_masks_follow_the_rule_of_the_paper():
    """Hidden edges where number <= number, output edges where number < number (Germain et al., eq. 12-13)."""
    positions = torch.tensor([2, 0, 1])
    degrees = [torch.tensor([1, 2]), torch.tensor([2, 1])]
    connectivity = connect_by_degrees(positions, degrees)
    assert connectivity.hidden[0].int().tolist() == [[0, 1, 0], [0, 1, 1]]
    assert connectivity.hidden[1].int().tolist() == [[1, 1], [1, 0]]
    assert connectivity.output.int().tolist() == [[1, 1], [0, 0], [0, 1]]
    assert connectivity.direct.int().tolist() == [[0, 1, 1], [0, 0, 0], [0, 1, 0]]


def test_masked_weights_are_left_alone_and_get_no_gradient():
    layer = MaskedLinear(3, 2)
    weight = layer.weight.detach().clone()
    mask = torch.tensor([[True, False, True], [False, False, True]])
    layer(torch.randn(4, 3), mask).sum().backward()
    assert torch.equal(layer.weight, weight)
    assert (layer.weight.grad[~mask] == 0).all()
    assert (layer.weight.grad[mask] != 0).all()


def test_dropout_acts_in_training_only():
    model = MADE((5,), hidden=(40,), dropout=0.5)
    x = all_examples(model)
    model.train()
    assert not torch.equal(model.log_prob(x), model.log_prob(x))
    model.eval()
    assert torch.equal(model.log_prob(x), model.log_prob(x))


def test_views_share_every_parameter_and_differ_in_masks():
    network = MADE((5,), hidden=(20,), num_masks=3, random_orderings=True)
    views = [network.view(mask=k) for k in range(3)]
    assert all(view.output.weight is network.output.weight for view in views)
    assert torch.equal(views[0].masks()[0], network.masks()[0])
    assert not torch.equal(views[1].masks()[0], network.masks()[0])
    assert views[1].ordering.permutation != views[2].ordering.permutation
    assert network.mask == 0  # views leave the network itself as it is
    fixed = MADE((5,), hidden=(20,), num_masks=3).view(mask=2)
    assert fixed.ordering.permutation == (0, 1, 2, 3, 4)


def test_masks_depend_on_their_seed_alone():
    def masks(**settings):
        model = MADE((5,), hidden=(20,), num_masks=2, random_orderings=True, **settings)
        return model.view(mask=1).masks()[0]

    assert torch.equal(masks(mask_seed=1), masks(mask_seed=1))
    assert not torch.equal(masks(mask_seed=1), masks(mask_seed=2))


def test_training_draws_a_mask_for_the_batch_and_is_the_exact_nll_under_it():
    model = MADE((5,), hidden=(9,), num_masks=3, random_orderings=True).double()
    x = all_examples(model).double()
    exact = torch.stack([model.view(mask=k).nll(x) for k in range(3)])
    generator = torch.Generator().manual_seed(0)
    drawn = set()
    for _ in range(30):
        loss = model.training_loss(x, None, generator)
        drawn.add(int((exact - loss).abs().sum(1).argmin()))
        assert (exact - loss).abs().sum(1).min() < 1e-12
    assert drawn == {0, 1, 2}
    assert torch.allclose(model.ensemble(2).log_prob_of_members(x), -exact[:2].T)


def test_adjacency_may_be_a_tensor():
    adjacency = torch.tensor([[0, 0], [1, 0]])
    assert MADE((2,), hidden=(2,), adjacency=adjacency).settings()["adjacency"] == [
        [False, False],
        [True, False],
    ]


@pytest.mark.parametrize(
    "build",
    [
        lambda: MADE((784,), hidden=(2**31 - 1,)),
        lambda: MADE((4,), hidden=(50_000, 100_000)),
        lambda: NADE((784,), hidden=2**31 - 1),
        lambda: NADE((784,), context_size=2**31 - 1),
        lambda: FVSBN((100_000,)),
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(build):
    with pytest.raises(ChainruleError, match=r"^\w+ of these sizes would have [\d,]+ weights[^\n]*$"):
        build()
