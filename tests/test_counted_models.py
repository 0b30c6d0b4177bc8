"""Models fitted by counting: independent, Bayes nets, Chow-Liu trees."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from chainrule.models import BayesNet, ChowLiuTree, Independent
from chainrule.models.chow_liu import chow_liu_parents, mutual_information
from chainrule.testing import all_examples


def bits(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Correlated 0/1 data."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(rows, columns, generator=generator)
    x = (noise < 0.4).float()
    for column in range(1, columns):
        copied = torch.rand(rows, generator=generator) < 0.6
        x[:, column] = torch.where(copied, x[:, column - 1], x[:, column])
    return x


def test_independent_is_fitted_by_smoothed_means():
    model = Independent((3,), pseudocount=2.0)
    x = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]])
    model.fit_counts(x)
    assert torch.allclose(torch.sigmoid(model.params), torch.tensor([6 / 8, 4 / 8, 2 / 8]))


def test_without_smoothing_certain_pixels_cost_nothing_and_are_not_nan():
    model = Independent((2,), pseudocount=0.0)
    model.fit_counts(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    log_prob = model.log_prob(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).detach()
    assert log_prob[0] == pytest.approx(math.log(0.5))
    assert log_prob[1] < -9000
    assert (model.sample(200, seed=0)[:, 0] == 0).all()


def test_certain_tables_of_a_bayes_net_are_exact():
    net = BayesNet((3,), [[], [], [0, 1]])
    net.set_table(0, [0.5])
    net.set_table(1, [0.5])
    net.set_table(2, [[0.0, 0.0], [0.0, 1.0]])  # a logical and
    assert net.table(2).tolist() == [[0.0, 0.0], [0.0, 1.0]]
    x = net.sample(500, seed=0)
    assert torch.equal(x[:, 2], x[:, 0] * x[:, 1])
    assert torch.allclose(net.log_prob(x).exp(), torch.tensor(0.25))


def test_tables_have_an_axis_per_parent_in_the_order_given():
    net = BayesNet((3,), [[], [], [1, 0]])
    net.set_table(2, [[0.1, 0.2], [0.3, 0.4]])  # [x_1][x_0]
    assert torch.allclose(net.table(2), torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    probability = torch.sigmoid(net(torch.tensor([[1.0, 0.0, 0.0]]))[0, 2, 0])
    assert probability.item() == pytest.approx(0.2)


def test_bayes_nets_are_fitted_by_smoothed_counting():
    x = bits(50, 3)
    net = BayesNet((3,), [[], [0], [0, 1]], pseudocount=1.5)
    net.fit_counts(x)
    for a, b in itertools.product([0, 1], repeat=2):
        rows = x[(x[:, 0] == a) & (x[:, 1] == b)]
        expected = (float(rows[:, 2].sum()) + 1.5) / (len(rows) + 3.0)
        assert float(net.table(2)[a, b]) == pytest.approx(expected)
    assert float(net.table(0)) == pytest.approx((float(x[:, 0].sum()) + 1.5) / 53.0)


def test_counting_maximises_the_likelihood():
    x = bits(200, 3)
    net = BayesNet((3,), [[], [0], [1]], pseudocount=0.0).double()
    net.fit_counts(x)
    best = net.nll(x).mean()
    (gradient,) = torch.autograd.grad(best, net.logits)
    assert gradient.abs().max() < 1e-12


def test_a_complete_net_fits_the_empirical_distribution():
    x = bits(400, 3)
    net = BayesNet((3,), [[], [0], [0, 1]], pseudocount=0.0).double()
    net.fit_counts(x)
    states = all_examples(net).double()
    counts = torch.stack([(x == state).all(1).sum() for state in states])
    assert torch.allclose(net.log_prob(states).exp(), counts.double() / len(x), atol=1e-12)


# ------------------------------------------------------------------------------ trees


def edges(parents: list[list[int]]) -> set[frozenset[int]]:
    return {frozenset((child, *of_one)) for child, of_one in enumerate(parents) if of_one}


def trees(n: int) -> list[list[list[int]]]:
    """Every labelled tree over n variables, rooted at 0, as parents."""
    pairs = list(itertools.combinations(range(n), 2))
    found = []
    for chosen in itertools.combinations(pairs, n - 1):
        parents: list[list[int]] = [[] for _ in range(n)]
        reached, frontier = {0}, [0]
        while frontier:
            here = frontier.pop()
            for pair in chosen:
                if here in pair and (other := sum(pair) - here) not in reached:
                    parents[other] = [here]
                    reached.add(other)
                    frontier.append(other)
        if len(reached) == n:
            found.append(parents)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_other_tree_is_more_likely(seed):
    x = bits(150, 4, seed)[:, torch.randperm(4, generator=torch.Generator().manual_seed(seed))]
    learned = ChowLiuTree((4,), pseudocount=0.0).double()
    learned.fit_counts(x)
    likelihoods = []
    for parents in trees(4):
        net = BayesNet((4,), parents, pseudocount=0.0).double()
        net.fit_counts(x)
        likelihoods.append(net.log_prob(x).sum().item())
    assert len(likelihoods) == 16  # Cayley: 4^2
    assert learned.log_prob(x).sum().item() == pytest.approx(max(likelihoods), abs=1e-9)
    assert max(likelihoods) > min(likelihoods) + 1e-3


def test_a_planted_tree_is_recovered():
    planted = [[], [0], [0], [1], [1], [2], [5], [5]]
    net = BayesNet((8,), planted)
    for variable, of_one in enumerate(planted):
        net.set_table(variable, [0.2, 0.85] if of_one else [0.5])
    learned = ChowLiuTree((8,))
    learned.fit_counts(net.sample(4000, seed=0))
    assert edges(learned.parents) == edges(planted)
    assert learned.parents[0] == []


def test_mutual_information_of_known_pairs():
    x = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    information = mutual_information(x, pseudocount=0.0)
    assert float(information[0, 1]) == pytest.approx(math.log(2))
    assert float(information[0, 2]) == pytest.approx(0.0, abs=1e-12)
    assert chow_liu_parents(torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]])) == [[], [2], [0]]


def test_fitting_again_replaces_the_tree(tmp_path):
    model = ChowLiuTree((4,))
    model.fit_counts(bits(200, 4, seed=1))
    first = model.parents
    model.fit_counts(bits(200, 4, seed=1)[:, [2, 0, 3, 1]])
    assert edges(model.parents) != edges(first)
    model.save_pretrained(tmp_path / "tree")
    assert ChowLiuTree.from_pretrained(str(tmp_path / "tree")).parents == model.parents


def test_learning_a_tree_keeps_the_dtype():
    model = ChowLiuTree((4,)).double()
    model.fit_counts(bits(100, 4))
    assert model.logits.dtype == torch.float64
    assert model.log_prob(bits(3, 4)).dtype == torch.float64
