"""Bernoulli conditionals against plain float64 formulas; resolving families by name."""

from __future__ import annotations

import math

import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given
from hypothesis import strategies as st

from chainrule.conditionals import CONDITIONALS, Bernoulli, finite_logit, resolve_conditional

bernoulli = Bernoulli()
logits = st.floats(-50, 50)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@given(z=logits, x=st.sampled_from([0.0, 1.0]))
def test_log_prob_is_minus_log1p_exp(z, x):
    signed = z if x == 0 else -z
    expected = -(signed + math.log1p(math.exp(-signed)) if signed > 0 else math.log1p(math.exp(signed)))
    found = bernoulli.log_prob(column(z), torch.tensor([x], dtype=torch.float64)).item()
    assert found == pytest.approx(expected, abs=1e-14 * max(1, abs(z)), rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite(dtype):
    """log of a float sigmoid would be -inf here."""
    params = torch.tensor([[50.0], [-50.0], [1e4], [-1e4]], dtype=dtype)
    zeros, ones = torch.zeros(4, dtype=dtype), torch.ones(4, dtype=dtype)
    assert bernoulli.log_prob(params, zeros).tolist() == [-50.0, pytest.approx(0), -1e4, pytest.approx(0)]
    assert bernoulli.log_prob(params, ones).tolist() == [pytest.approx(0), -50.0, pytest.approx(0), -1e4]
    params.requires_grad_()
    bernoulli.log_prob(params, ones).sum().backward()
    assert torch.allclose(params.grad[:, 0], torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype), atol=1e-6)


@given(z=logits)
def test_the_two_probabilities_add_up_to_one(z):
    total = sum(
        bernoulli.log_prob(column(z), value[None]).exp().item() for value in bernoulli.support().double()
    )
    assert total == pytest.approx(1, abs=1e-13)


def test_gradients_agree_with_finite_differences_in_logit_and_value():
    params = column(-3.0, -0.2, 0.0, 1.5, 8.0).requires_grad_()
    value = torch.tensor([1.0, 0.0, 1.0, 0.3, 0.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli.log_prob, (params, value))
    # In x it is the log-odds: what log p gains when the variable goes from 0 to 1.
    (gradient,) = torch.autograd.grad(bernoulli.log_prob(params, value).sum(), value)
    assert torch.allclose(gradient, params[:, 0])


def test_a_sample_is_one_exactly_where_u_is_below_p():
    params = finite_logit(column(0.25, 0.25, 0.25, 0.0, 1.0, 0.5))
    below = math.nextafter(0.25, 0)
    assert torch.sigmoid(params[0, 0]).item() == 0.25
    uniform = column(below, 0.25, 0.3, 0.0, math.nextafter(1.0, 0), 0.5)
    assert bernoulli.sample(params, uniform).tolist() == [1, 0, 0, 0, 1, 0]
    assert bernoulli.sample(params.float(), uniform.float()).dtype == torch.float32


@given(z=logits, u=st.floats(0, 1, exclude_max=True), cold=st.floats(0.05, 1), warm=st.floats(1, 20))
def test_temperature_moves_the_probability_of_the_mode_monotonically(z, u, cold, warm):
    """At a lower temperature a draw that already gave the mode still gives it."""
    mode = bernoulli.mode(column(z)).item()
    drawn = [bernoulli.sample(column(z), column(u), t).item() == mode for t in (warm, 1.0, cold)]
    if z != 0:
        assert drawn == sorted(drawn)


def test_temperature_divides_the_logit():
    uniform = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1, None]
    for temperature in (0.5, 1.0, 2.0):
        drawn = bernoulli.sample(column(0.8).expand(1000, 1), uniform, temperature).mean().item()
        assert drawn == pytest.approx(1 / (1 + math.exp(-0.8 / temperature)), abs=1.1e-3)


def test_mean_mode_and_support():
    params = column(-2.0, 0.0, 3.0)
    assert torch.allclose(bernoulli.mean(params), 1 / (1 + torch.exp(-params[:, 0])))
    assert bernoulli.mode(params).tolist() == [0, 0, 1]
    assert bernoulli.support().tolist() == [0, 1]
    odd = torch.tensor([0.0, 1.0, 0.5, -1.0, 2.0, math.nan, math.inf])
    assert bernoulli.in_support(odd).tolist() == [True, True, False, False, False, False, False]


def test_a_value_outside_the_support_is_named_with_its_place():
    x = torch.zeros(2, 3)
    bernoulli.check(x)
    x[1, 2] = 0.5
    one_line_error(lambda: bernoulli.check(x), "0.5", "[1, 2]", "0 or 1", "bernoulli")
    x[1, 2] = math.nan
    one_line_error(lambda: bernoulli.check(x), "nan", "[1, 2]")


def test_leading_dimensions_are_kept():
    params = torch.randn(2, 3, 4, 1)
    assert bernoulli.log_prob(params, torch.zeros(2, 3, 4)).shape == (2, 3, 4)
    assert bernoulli.sample(params, torch.rand(2, 3, 4, 1)).shape == (2, 3, 4)
    assert bernoulli.mean(params).shape == bernoulli.mode(params).shape == (2, 3, 4)


def test_finite_logit_is_the_log_odds_and_holds_certainty():
    probability = torch.tensor([0.0, 1e-30, 0.3, 1.0], dtype=torch.float64)
    found = finite_logit(probability)
    assert found[0] == -found[3] == -1e4
    assert torch.equal(torch.sigmoid(found)[[0, 3]], probability[[0, 3]])
    assert found[2].item() == pytest.approx(math.log(0.3 / 0.7))
    assert found[1].item() == pytest.approx(math.log(1e-30))


def test_families_are_found_by_name_settings_or_as_they_are():
    own = Bernoulli()
    assert resolve_conditional(own) is own
    assert isinstance(resolve_conditional("bernoulli"), Bernoulli)
    assert isinstance(resolve_conditional({"name": "bernoulli"}), Bernoulli)
    assert CONDITIONALS["bernoulli"] is Bernoulli
    one_line_error(lambda: resolve_conditional("bernuolli"), "did you mean 'bernoulli'")
    one_line_error(lambda: resolve_conditional({"name": "bernoulli", "levels": 3}), "bernoulli", "arguments")
    one_line_error(lambda: resolve_conditional({"levels": 3}), "unknown conditional")
