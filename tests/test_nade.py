"""NADE's own backward pass, and the order-agnostic training of its deep form."""

from __future__ import annotations

import itertools

import pytest
import torch

from chainrule.models import FVSBN, NADE, DeepNADE
from chainrule.models.nade import _nade_logits
from chainrule.testing import all_examples


def plain_logits(model: NADE, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    """NADE as its paper writes it: every hidden layer from nothing, under plain autograd; `(batch, n)`."""
    sequence = model.to_sequence(x)
    hidden_shift, output_shift = 0.0, torch.zeros(model.num_variables, dtype=x.dtype)
    if context is not None:
        hidden_shift, output_shift = model.context_weight(context).split(
            [model.hidden, model.num_variables], 1
        )
    logits = []
    for i in range(model.num_variables):
        hidden = torch.sigmoid(model.hidden_bias + sequence[:, :i] @ model.weight[:i] + hidden_shift)
        logits.append(hidden @ model.output_weight[i] + model.output_bias[i] + output_shift[..., i])
    return torch.stack(logits, dim=1)


def values(kind: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return {
        "sparse": (uniform < 0.05).double(),
        "dense": (uniform < 0.9).double(),
        "all zero": torch.zeros_like(uniform),
        "all one": torch.ones_like(uniform),
        "real": uniform,
    }[kind]


@pytest.mark.parametrize("kind", ["sparse", "dense", "all zero", "all one", "real"])
@pytest.mark.parametrize("n", [1, 2, 27, 28, 29, 85])
def test_gradients_are_those_of_plain_autograd(kind, n):
    model = NADE((n,), hidden=5, ordering="random:2", context_size=2).double()
    x, context = values(kind, (6, n)), values("real", (6, 2))
    weights = values("real", (6, n)) - 0.5
    results = []
    for compute in (
        lambda v, c: model.to_sequence(model(v, c))[..., 0],
        lambda v, c: plain_logits(model, v, c),
    ):
        own_x, own_context = x.clone().requires_grad_(), context.clone().requires_grad_()
        logits = compute(own_x, own_context)
        inputs = [own_x, own_context, *model.parameters()]
        results.append([logits, *torch.autograd.grad((logits * weights).sum(), inputs)])
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, atol=1e-12, rtol=1e-10)


def test_gradients_without_one_in_x_take_the_same_path():
    """Where x needs no gradient, variables that are 0 in all rows are skipped together."""
    model = NADE((60,), hidden=4).double()
    x = values("sparse", (3, 60))
    own = torch.autograd.grad(model(x)[..., 0].sin().sum(), list(model.parameters()))
    plain = torch.autograd.grad(plain_logits(model, x).sin().sum(), list(model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(own, plain, strict=True))


def test_gradients_agree_with_finite_differences():
    model = NADE((31,), hidden=3).double()
    x = values("real", (2, 31)).requires_grad_()
    start = values("real", (2, 3)).requires_grad_()
    arguments = (x, start, model.weight, model.output_weight)
    assert torch.autograd.gradcheck(lambda *a: _nade_logits(*a, list(range(1, 32))), arguments)


@pytest.mark.parametrize(("kind", "share"), [("sparse", 0.06), ("dense", 0.05)])
def test_the_hidden_activations_of_a_batch_are_not_kept(kind, share):
    """All n x d of them would be batch * n * d numbers.

    Kept are those that change (5 % here), or, where most do, one pre-activation per 28 variables.
    """
    batch, n, d = 16, 784, 64
    model = NADE((n,), hidden=d).double()
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(values(kind, (batch, n)))
    own = {p.data_ptr() for p in model.parameters()}
    numbers = sum(tensor.numel() for tensor in kept if tensor.data_ptr() not in own)
    assert numbers > 0
    assert numbers < batch * n * d * share
    logits.sum().backward()


def test_hidden_activations_on_request():
    model = NADE((4,), hidden=3, ordering="reversed").double()
    x = all_examples(model).double()
    hidden = model.hidden_activations(x)
    logits = (hidden * model.output_weight).sum(-1) + model.output_bias
    assert torch.allclose(logits, model.to_sequence(model(x))[..., 0], atol=1e-14)


def test_fvsbn_is_a_logistic_regression_for_every_variable():
    model = FVSBN((2, 3), ordering="spiral").double()
    torch.nn.init.normal_(model.weight)
    assert torch.equal(model.matrix(), model.matrix().tril(-1))
    x = all_examples(model).double()
    expected = model.to_sequence(x) @ model.matrix().T + model.bias
    assert torch.allclose(model.to_sequence(model(x))[..., 0], expected)
    # The gradient of log p in the weights of a conditional is (x_i - p_i) x_j (lecture, topic 6).
    residual = (model.to_sequence(x) - torch.sigmoid(expected)).detach()
    (gradient,) = torch.autograd.grad(model.log_prob(x).sum(), model.weight)
    by_hand = (residual.T @ model.to_sequence(x)).tril(-1)
    assert torch.allclose(gradient, by_hand[tuple(torch.tril_indices(6, 6, -1))])


# ------------------------------------------------------------------------------ deep NADE


def test_predictions_do_not_read_unknown_values():
    model = DeepNADE((5,), hidden=(7, 6)).double()
    known = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    other = torch.where(known == 1, x, 1 - x)
    assert torch.equal(model.predict(x, known), model.predict(other, known))
    assert not torch.equal(model.predict(x, known), model.predict(x, 1 - known))


def test_the_conditionals_of_an_ordering_are_predictions_given_what_came_before():
    model = DeepNADE((5,), hidden=(7, 6), ordering="random:4", context_size=2).double()
    x = all_examples(model)[11:12].double()
    context = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    params = model(x, context)
    position = model.ordering.positions()
    for variable in range(5):
        known = (position < position[variable])[None]
        assert torch.allclose(params[0, variable], model.predict(x, known, context)[0, variable], atol=1e-12)


def test_views_of_other_orderings_share_parameters():
    model = DeepNADE((6,), hidden=(5,))
    view = model.with_ordering("reversed")
    assert view.output.weight is model.output.weight
    assert view.ordering.permutation == (5, 4, 3, 2, 1, 0)
    assert model.ordering.permutation == (0, 1, 2, 3, 4, 5)
    again = model.ensemble(4, seed=3)
    orders = [m.ordering.permutation for m in again.members]
    assert orders == [m.ordering.permutation for m in model.ensemble(4, seed=3).members]
    assert orders != [m.ordering.permutation for m in model.ensemble(4, seed=4).members]


def test_the_training_loss_is_an_unbiased_estimate_of_the_mean_over_orderings():
    """Mean of 40,000 draws against all 6 orderings: 5 standard errors, a false alarm below 1e-6."""
    model = DeepNADE((3,), hidden=(6, 5)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        orders = list(itertools.permutations(range(3)))
        exact = torch.stack([model.with_ordering(list(o)).nll(x)[0] for o in orders]).mean()
        draws = model.training_loss(x.expand(40_000, -1), None, torch.Generator().manual_seed(0))
    error = draws.std() / len(draws) ** 0.5
    assert (draws.mean() - exact).abs() < 5 * error
    assert error < 0.01 * exact


def test_the_validation_loss_is_always_the_same():
    model = DeepNADE((6,), hidden=(5,))
    x = all_examples(model)[:20]
    assert torch.equal(model.validation_loss(x, None), model.validation_loss(x, None))
