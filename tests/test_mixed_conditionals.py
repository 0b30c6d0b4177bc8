"""Tables: a family per column (`Mixed`), and missing values as a state (`Missing`)."""

from __future__ import annotations

import json
import math

import pytest
import torch
from conditional_helpers import random_noise, random_params
from data_helpers import one_line_error

from chainrule.conditionals import (
    Bernoulli,
    Categorical,
    Gaussian,
    GaussianMixture,
    Missing,
    Mixed,
    StudentT,
    resolve_conditional,
)
from chainrule.layers import Columns

NAN = math.nan


def table() -> Mixed:
    """Like columns apart and together, narrow and wide, with and without missing values."""
    return Mixed(
        [
            "gaussian",
            {"name": "categorical", "levels": 4},
            Gaussian(),
            Missing(GaussianMixture(3)),
            Bernoulli(),
            Missing(Categorical(4)),
            Missing(GaussianMixture(3)),
            "student_t",
        ]
    )


def drawn(mixed: Mixed, *shape: int):
    params = random_params(mixed, *shape, len(mixed.columns))
    noise = random_noise(mixed, *shape, len(mixed.columns))
    return params, noise, mixed.sample(params, noise)


# ------------------------------------------------------------------------------ mixed


def test_every_column_is_what_its_family_says():
    mixed = table()
    params, noise, x = drawn(mixed, 5, 50)
    mixed.check(x)
    by_column = {
        "sample": x,
        "cold": mixed.sample(params, noise, 0.5),
        "log_prob": mixed.log_prob(params, x),
        "mean": mixed.mean(params),
        "mode": mixed.mode(params),
    }
    assert x[..., 3].isnan().any()
    for i, family in enumerate(mixed.columns):
        own, uniform, value = params[..., i, :], noise[..., i, :], x[..., i]
        expected = {
            "sample": family.sample(own, uniform),
            "cold": family.sample(own, uniform, 0.5),
            "log_prob": family.log_prob(own, value),
            "mean": family.mean(own),
            "mode": family.mode(own),
        }
        for name, found in by_column.items():
            assert found.shape == (5, 50, 8)
            assert torch.allclose(found[..., i], expected[name], rtol=1e-12, atol=1e-12, equal_nan=True)


def test_packed_parameters_and_codes_say_the_same_without_the_padding():
    mixed = table()
    params, _, x = drawn(mixed, 30)
    params.requires_grad_()
    columns = Columns(mixed.param_sizes(8))
    packed = columns.pack(params).detach().requires_grad_()
    found, expected = mixed.log_prob_packed(packed, x), mixed.log_prob(params, x)
    assert torch.equal(found, expected)
    weights = torch.randn(30, 8, dtype=found.dtype, generator=torch.Generator().manual_seed(1))
    gradient = torch.autograd.grad((weights * found).sum(), packed)[0]
    same = torch.autograd.grad((weights * expected).sum(), params)[0]
    assert torch.allclose(gradient, columns.pack(same), rtol=1e-12, atol=1e-12)
    assert torch.equal(mixed.encode_packed(x), Columns(mixed.input_sizes(8)).pack(mixed.encode(x)))


def test_one_row_of_packed_parameters_serves_all_examples():
    mixed = table()
    params, _, x = drawn(mixed, 30)
    columns = Columns(mixed.param_sizes(8))
    one = columns.pack(params[:1])
    expected = mixed.log_prob(params[:1].expand(30, -1, -1), x)
    assert torch.allclose(mixed.log_prob_packed(one, x), expected, rtol=1e-12, atol=1e-12)


def test_codes_are_padded_with_zeros():
    mixed = table()
    _, _, x = drawn(mixed, 40)
    code = mixed.encode(x)
    sizes = mixed.input_sizes(8)
    assert code.shape == (40, 8, mixed.num_inputs)
    assert sizes == [1, 4, 1, 2, 1, 5, 2, 1]
    assert mixed.num_inputs == 5
    for i, family in enumerate(mixed.columns):
        assert torch.equal(code[:, i, : sizes[i]], family.encode(x[:, i]))
        assert not code[:, i, sizes[i] :].any()


def test_sizes_are_those_of_the_columns_and_the_widest():
    mixed = table()
    assert mixed.param_sizes(8) == [2, 4, 2, 10, 1, 5, 10, 3]
    assert mixed.num_params == 10
    assert mixed.num_noise == 3
    for call in (mixed.param_sizes, mixed.input_sizes):
        one_line_error(lambda call=call: call(7), "8 columns", "7 variables")
    one_line_error(lambda: mixed.log_prob(torch.zeros(2, 7, 10), torch.zeros(2, 7)), "8 columns", "7")


def test_gradients_through_all_columns():
    mixed = table()
    params, _, x = drawn(mixed, 4)
    params.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: mixed.log_prob(p, x), (params,))
    (gradient,) = torch.autograd.grad(mixed.log_prob(params, x).sum(), params)
    for i, size in enumerate(mixed.param_sizes(8)):
        assert not gradient[:, i, size:].any()


def test_columns_are_picked_by_variable():
    mixed = table()
    assert [mixed.at(i).name for i in range(8)] == [c.name for c in mixed.columns]
    params, noise, x = drawn(mixed, 30)
    for chosen in ([7, 3, 1, 0], [5], [0, 2], [6, 3], list(range(8))):
        index = torch.tensor(chosen)
        part = mixed.over(index)
        assert part is mixed.over(index)
        assert part.same(part.sample(params[:, index], noise[:, index]), x[:, index])
        found = part.log_prob(params[:, index], x[:, index])
        assert torch.allclose(found, mixed.log_prob(params, x)[:, index], rtol=1e-12, atol=1e-12)
    assert isinstance(mixed.over(torch.tensor([0, 2])), Gaussian)
    assert isinstance(mixed.over(torch.tensor([6, 3])), Missing)


def test_like_columns_share_one_call(monkeypatch):
    calls = []
    own = Gaussian.log_prob
    monkeypatch.setattr(Gaussian, "log_prob", lambda s, p, v: calls.append(v.shape) or own(s, p, v))
    mixed = Mixed([Gaussian() for _ in range(20)])
    params, _, x = drawn(mixed, 3)
    assert torch.equal(mixed.log_prob(params, x), own(Gaussian(), params, x))
    assert calls == [(3, 20)]
    apart = Mixed([Gaussian(), Bernoulli(), Gaussian(), Gaussian(min_scale=0.5)])
    apart.log_prob(torch.zeros(3, 4, 2), torch.zeros(3, 4))
    assert calls[1:] == [(3, 2), (3, 1)]


def test_support_only_where_columns_are_alike():
    assert table().support() is None
    assert Mixed([Categorical(3)] * 4).support().tolist() == [0, 1, 2]
    assert Mixed([Gaussian()] * 2).support() is None


def test_cdf_and_quantile_where_every_column_has_them():
    mixed = Mixed([Gaussian(), Categorical(3), StudentT(), Gaussian()])
    params, _, x = drawn(mixed, 30)
    cdf = mixed.cdf(params, x)
    probability = random_noise(mixed, 30, 4)[..., 0]
    quantile = mixed.quantile(params, probability)
    for i, family in enumerate(mixed.columns):
        assert torch.allclose(cdf[:, i], family.cdf(params[:, i], x[:, i]))
        assert torch.allclose(quantile[:, i], family.quantile(params[:, i], probability[:, i]))
    assert mixed.has_cdf
    params, _, x = drawn(table(), 2)
    assert not table().has_cdf
    for call in (table().cdf, table().quantile):
        one_line_error(lambda call=call: call(params, x), "column 3", "missing", "no cdf")


def test_the_column_of_a_value_that_cannot_occur_is_named():
    mixed = table()
    _, _, good = drawn(mixed, 3)
    for column, value, words in [
        (0, NAN, ["nan", "column 0", "gaussian", "finite"]),
        (1, 4.0, ["4", "column 1", "categorical", "0..3"]),
        (5, 4.0, ["4", "column 5", "missing", "0..3, or NaN"]),
        (4, 0.5, ["0.5", "column 4", "bernoulli", "0 or 1"]),
    ]:
        x = good.clone()
        x[2, column] = value
        one_line_error(lambda x=x: mixed.check(x), f"[2, {column}]", *words)


def test_settings_rebuild_nested_families():
    mixed = table()
    again = resolve_conditional(json.loads(json.dumps(mixed.spec())))
    assert again.settings() == mixed.settings()
    params, noise, x = drawn(mixed, 20)
    assert again.same(again.sample(params, noise), x)
    assert torch.equal(again.log_prob(params, x), mixed.log_prob(params, x))


def test_extreme_parameters_stay_finite():
    mixed = table()
    for size in (1e4, -1e4):
        params = torch.full((6, 8, mixed.num_params), size, requires_grad=True)
        x = torch.zeros(6, 8)
        x[::2, [3, 5, 6]] = NAN
        log_prob = mixed.log_prob(params, x)
        assert bool(log_prob.isfinite().all())
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert bool(gradient.isfinite().all())


# ------------------------------------------------------------------------------ missing


def test_nan_has_the_probability_of_missing():
    family = Missing("gaussian")
    params = torch.tensor([[0.7, 0.2, -0.3]], dtype=torch.float64).expand(2, -1)
    found = family.log_prob(params, torch.tensor([NAN, 0.9], dtype=torch.float64))
    missing = 1 / (1 + math.exp(-0.7))
    assert found[0].item() == pytest.approx(math.log(missing))
    of_value = Gaussian().log_prob(params[:1, 1:], torch.tensor([0.9], dtype=torch.float64)).item()
    assert found[1].item() == pytest.approx(math.log(1 - missing) + of_value)


def test_a_missing_value_leaves_the_inner_parameters_alone():
    """No NaN gets into any gradient, neither of the parameters nor of the values."""
    family = Missing(GaussianMixture(3))
    params = random_params(family, 4).requires_grad_()
    value = torch.tensor([NAN, 0.3, NAN, -2.0], dtype=torch.float64, requires_grad=True)
    of_params, of_value = torch.autograd.grad(family.log_prob(params, value).sum(), (params, value))
    assert not of_params[[0, 2], 1:].any()
    assert of_params[[1, 3], 1:].any()
    assert of_value[[0, 2]].tolist() == [0, 0]
    assert bool(of_params.isfinite().all())
    assert bool(of_value[[1, 3]].isfinite().all())
    code = family.encode(value)
    (of_value,) = torch.autograd.grad((code * torch.rand_like(code)).sum(), value)
    assert of_value[[0, 2]].tolist() == [0, 0]
    assert bool((of_value[[1, 3]] > 0).all())


def test_the_code_of_a_missing_value():
    x = torch.tensor([NAN, 0.0, 2.0])
    assert Missing("gaussian").encode(x).tolist() == [[1, 0], [0, 0], [0, 2]]
    assert Missing(Categorical(3)).encode(x).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_nan_equals_nan_only_where_it_is_a_state():
    a, b = torch.tensor([NAN, 1.0]), torch.tensor([NAN, 1.0])
    for family in (Missing("gaussian"), table()):
        assert family.same(a, b)
        assert not family.same(a, torch.tensor([NAN, 1.5]))
        assert not family.same(a, torch.tensor([0.0, 1.0]))
    assert not Gaussian().same(a, b)


def test_support_and_mode_count_missing_as_a_state():
    family = Missing(Categorical(3))
    support = family.support()
    assert support[:3].tolist() == [0, 1, 2]
    assert support[3].isnan()
    assert Missing("gaussian").support() is None
    # Missing 0.4 beats three levels of 0.2 each, and loses to one of 0.5.
    logit = math.log(0.4 / 0.6)
    modes = family.mode(torch.tensor([[logit, 0, 0, 0], [logit, 0, 3.0, 0]]))
    assert modes[0].isnan()
    assert modes[1] == 1
    of_numbers = Missing("gaussian").mode(torch.tensor([[0.1, 5.0, 0], [-0.1, 5.0, 0]]))
    assert of_numbers[0].isnan()
    assert of_numbers[1] == 5
