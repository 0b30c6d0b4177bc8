"""What must hold for every family of conditionals, one test per property."""

from __future__ import annotations

import copy
import json
import math
from fractions import Fraction

import pytest
import torch
from conditional_helpers import (
    CONTINUOUS,
    DISCRETE,
    FAMILIES,
    ORDERED,
    WITH_MISSING,
    cdf_distance_bound,
    density,
    gauss_legendre,
    name_of,
    over_the_line,
    random_noise,
    random_params,
)
from data_helpers import one_line_error

from chainrule.conditionals import CONDITIONALS, Missing, Mixed, resolve_conditional

#: Chance of a false alarm of each statistical test here.
ALPHA = 1e-6

every_family = pytest.mark.parametrize("family", FAMILIES, ids=name_of)
continuous = pytest.mark.parametrize("family", CONTINUOUS, ids=name_of)
discrete = pytest.mark.parametrize("family", DISCRETE, ids=name_of)
ordered = pytest.mark.parametrize("family", ORDERED, ids=name_of)


def test_every_registered_family_is_tested():
    assert set(CONDITIONALS) == {family.name for family in FAMILIES} | {"mixed"}


# ------------------------------------------------------------------------------ a distribution


@continuous
def test_the_density_integrates_to_one(family):
    x, weight = over_the_line()
    total = density(family, random_params(family, 10), x) @ weight
    assert torch.allclose(total, torch.ones(10, dtype=torch.float64), atol=1e-10, rtol=0)


@discrete
def test_the_probabilities_add_up_to_one(family):
    for scale in (1, 10):
        total = density(family, scale * random_params(family, 10), family.support().double()).sum(1)
        assert torch.allclose(total, torch.ones(10, dtype=torch.float64), atol=1e-13, rtol=0)


@pytest.mark.parametrize("family", WITH_MISSING, ids=name_of)
def test_missing_and_present_add_up_to_one(family):
    params = random_params(family, 10)
    present = random_params(family, 10)[:, 0] * 0 + 1
    inner = family.inner
    x, weight = over_the_line() if inner.support() is None else (inner.support().double(), None)
    mass = density(family, params, x)
    present = mass.sum(1) if weight is None else mass @ weight
    missing = family.log_prob(params, torch.full((10,), torch.nan, dtype=torch.float64)).exp()
    assert torch.allclose(present + missing, torch.ones(10, dtype=torch.float64), atol=1e-10, rtol=0)
    assert torch.allclose(missing, torch.sigmoid(params[:, 0]))
    assert torch.equal(family.missing_probability(params), torch.sigmoid(params[:, 0]))


@every_family
def test_gradients_agree_with_finite_differences(family):
    params = (2 * random_params(family, 8)).requires_grad_()
    value = family.sample(params.detach(), random_noise(family, 8))
    assert torch.autograd.gradcheck(lambda p: family.log_prob(p, value), (params,))


@continuous
def test_the_gradient_in_the_value_agrees_too(family):
    params = random_params(family, 8).requires_grad_()
    value = family.sample(params.detach(), random_noise(family, 8)).requires_grad_()
    assert torch.autograd.gradcheck(family.log_prob, (params, value))


# ------------------------------------------------------------------------------ cdf and quantile


@continuous
def test_the_cdf_is_the_integral_of_the_density(family):
    params = random_params(family, 6)
    edges = torch.tensor([-30.0, -2.0, -0.3, 0.4, 3.0, 30.0], dtype=torch.float64)
    cdf = family.cdf(params[:, None].expand(-1, 6, -1), edges.expand(6, -1))
    for k in range(5):
        x, weight = gauss_legendre(edges[k].item(), edges[k + 1].item())
        between = density(family, params, x) @ weight
        assert torch.allclose(cdf[:, k + 1] - cdf[:, k], between, atol=1e-9, rtol=0)
    far = torch.full((6,), 1e9, dtype=torch.float64)
    assert torch.allclose(family.cdf(params, far), torch.ones_like(far), atol=1e-7)
    assert torch.allclose(family.cdf(params, -far), torch.zeros_like(far), atol=1e-7)


@discrete
def test_the_cdf_adds_up_the_probabilities(family):
    params, support = random_params(family, 6), family.support().double()
    expected = density(family, params, support).cumsum(1)
    for shift in (0.0, 0.5):  # between levels it stays where it was
        found = family.cdf(params[:, None].expand(-1, len(support), -1), (support + shift).expand(6, -1))
        assert torch.allclose(found, expected, atol=1e-12)
    assert torch.equal(family.cdf(params, torch.full((6,), -0.5)).double(), torch.zeros(6).double())


@continuous
def test_the_quantile_inverts_the_cdf(family):
    params = random_params(family, 1).expand(41, -1)
    probability = torch.cat([torch.linspace(0.01, 0.99, 39), torch.tensor([1e-4, 1 - 1e-4])]).double()
    quantile = family.quantile(params, probability)
    assert torch.allclose(family.cdf(params, quantile), probability, atol=1e-12)
    assert bool((quantile[1:39] > quantile[:38]).all())
    value = family.sample(params, random_noise(family, 41))
    assert torch.allclose(family.quantile(params, family.cdf(params, value)), value, rtol=1e-7, atol=1e-9)


@discrete
def test_the_quantile_is_the_least_level_that_reaches(family):
    params, support = random_params(family, 1), family.support().double()
    cdf = density(family, params, support)[0].cumsum(0)
    probability = torch.linspace(0.003, 0.997, 200, dtype=torch.float64)
    expected = support[(cdf < probability[:, None]).sum(1).clamp(max=len(support) - 1)]
    assert torch.equal(family.quantile(params.expand(200, -1), probability), expected)


@pytest.mark.parametrize("family", WITH_MISSING, ids=name_of)
def test_a_family_without_order_says_that_it_has_no_cdf(family):
    params = random_params(family, 2)
    assert not family.has_cdf
    one_line_error(lambda: family.cdf(params, torch.zeros(2)), "missing", "no cdf")
    one_line_error(lambda: family.quantile(params, torch.full((2,), 0.5)), "missing", "no cdf")


# ------------------------------------------------------------------------------ samples


@ordered
def test_samples_follow_the_cdf(family):
    """The greatest distance of the empirical cdf; false alarms at most ALPHA each (DKW inequality)."""
    count = 20_000
    for seed in (0, 1):
        params = random_params(family, 1, seed=seed).expand(count, -1)
        x = family.sample(params, random_noise(family, count, seed=seed)).sort().values
        family.check(x)
        at_x = family.cdf(params, x)
        # Of equal samples the last one has seen them all, the first one none.
        _, inverse, repeats = torch.unique_consecutive(x, return_inverse=True, return_counts=True)
        seen = repeats.cumsum(0)[inverse] / count
        distance = (at_x - seen).abs().max()
        if family.support() is None:
            distance = torch.maximum(distance, (at_x - (seen - 1 / count)).abs().max())
        assert distance < cdf_distance_bound(count, ALPHA / 2)


@pytest.mark.parametrize("family", WITH_MISSING, ids=name_of)
def test_samples_are_missing_as_often_as_they_should(family):
    """Hoeffding: a false alarm at most ALPHA. What is there is what `inner` samples for its noise."""
    count = 20_000
    params, noise = random_params(family, 1).expand(count, -1), random_noise(family, count)
    x = family.sample(params, noise)
    family.check(x)
    expected = torch.sigmoid(params[0, 0])
    assert abs(x.isnan().double().mean() - expected) < math.sqrt(math.log(2 / ALPHA) / (2 * count))
    inner = family.inner.sample(params[:, 1:], noise[:, 1:])
    assert torch.equal(x[~x.isnan()], inner[~x.isnan()])
    assert bool(x.isnan()[noise[:, 0] < expected].all())


@ordered
def test_samples_are_monotone_in_the_last_uniform(family):
    """They grow with it; only Bernoulli's fall, by the lecture's rule x = 1 iff u < p."""
    params = random_params(family, 1).expand(500, -1)
    noise = random_noise(family, 1).expand(500, -1).clone()
    noise[:, -1] = torch.linspace(0, 1, 501, dtype=torch.float64)[:-1]
    x = family.sample(params, noise) * (-1 if family.name == "bernoulli" else 1)
    assert bool((x[1:] >= x[:-1]).all())
    assert bool(x.isfinite().all())  # u = 0 is a draw like any other


#: What temperature T does to a parameter: the logits that it divides, and the power of T that
#: multiplies the scales behind them.
TEMPERATURES = {
    "bernoulli": ([0], 0.0, []),
    "categorical": ([0, 1, 2, 3, 4], 0.0, []),
    "gaussian": ([], 0.5, [1]),
    "gaussian_mixture": ([0, 1, 2, 3], 0.5, [8, 9, 10, 11]),
    "logistic_mixture": ([0, 1, 2, 3], 1.0, [8, 9, 10, 11]),
    "student_t": ([], 0.5, [1]),
    "discretized_logistic_mixture": ([0, 1, 2], 1.0, [6, 7, 8]),
    "missing": ([0], 0.5, [2]),
}


@pytest.mark.parametrize("name", TEMPERATURES)
@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_temperature_is_the_change_of_parameters_that_it_says(name, temperature):
    family = copy.deepcopy(next(f for f in FAMILIES if f.name == name))
    getattr(family, "inner", family).min_scale = 1e-12  # the floor under the scales would blur it
    params, noise = random_params(family, 300), random_noise(family, 300)
    logits, power, log_scales = TEMPERATURES[name]
    changed = params.clone()
    changed[:, logits] /= temperature
    changed[:, log_scales] += power * math.log(temperature)
    found, expected = family.sample(params, noise, temperature), family.sample(changed, noise)
    assert torch.allclose(found, expected, equal_nan=True, atol=1e-9)
    assert not torch.allclose(found, family.sample(params, noise), equal_nan=True, atol=1e-9)


@every_family
def test_mean_and_mode(family):
    params = random_params(family, 12, seed=5)
    inner, own = (family.inner, params[:, 1:]) if isinstance(family, Missing) else (family, params)
    support = inner.support()
    if support is None:
        x, weight = over_the_line()
        mass = density(inner, own, x) * weight
        grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        best = density(inner, own, grid).amax(1)
        at_mode = inner.log_prob(own, inner.mode(own)).exp()
        assert bool((at_mode >= best * (1 - 1e-5)).all())
        # A tail like |x|^-2.6, at the least freedom here, leaves this much of the mean beyond the rule.
        tolerance = 1e-3 if family.name == "student_t" else 1e-8
    else:
        x, tolerance = support.double(), 1e-10
        mass = density(inner, own, x)
        assert torch.equal(inner.mode(own), x[mass.argmax(1)])
    assert torch.allclose(family.mean(params), mass @ x, atol=tolerance)


# ------------------------------------------------------------------------------ numerical care


@every_family
@pytest.mark.parametrize("size", [30.0, 1e4])
def test_extreme_parameters_stay_finite_in_float32(family, size):
    """Likelihoods, gradients and samples: where every parameter is huge, with all signs."""
    signs = torch.tensor([1.0, -1.0])[torch.randint(2, (64, family.num_params), generator=_generator())]
    params = (size * signs).requires_grad_()
    noise = random_noise(family, 64, dtype=torch.float32)
    noise[:8] = 0.0
    noise[8:16] = 1 - 2**-24
    values = [family.sample(params.detach(), noise)]
    if family.support() is None:
        values += [torch.full((64,), v) for v in (0.0, 1e6, -1e6)]
    else:
        values += [v.expand(64) for v in family.support()]
    for value in values:
        family.check(value)
        log_prob = family.log_prob(params, value)
        assert log_prob.dtype == torch.float32
        assert bool(log_prob.isfinite().all())
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert bool(gradient.isfinite().all())


@every_family
def test_float32_agrees_with_float64(family):
    params = random_params(family, 200)
    value = family.sample(params, random_noise(family, 200)).float()
    exact = family.log_prob(params, value.double())
    assert torch.allclose(family.log_prob(params.float(), value).double(), exact, atol=2e-5, rtol=2e-5)


@continuous
def test_parameters_of_zero_suit_standardised_data(family):
    """Within a nat of the best Gaussian, on data of mean 0 and standard deviation 1."""
    x = torch.randn(4000, generator=_generator(), dtype=torch.float64)
    nll = -family.log_prob(torch.zeros(4000, family.num_params, dtype=torch.float64), x).mean()
    assert nll < 1.419 + 0.6
    gradient = _gradient_at_zero(family, x)
    components = getattr(family, "components", 1)
    # No two components move alike, so that they can learn to differ.
    locations = gradient.view(-1, components)[-2 if components > 1 else 0]
    assert len(torch.unique((1e9 * locations).round())) == len(locations)


@pytest.mark.parametrize("family", [f for f in DISCRETE if f.name != "bernoulli"], ids=name_of)
def test_parameters_of_zero_are_about_uniform(family):
    probability = density(family, torch.zeros(1, family.num_params).double(), family.support().double())
    assert bool((probability * len(family.support()) > 0.5).all())


# ------------------------------------------------------------------------------ the protocol


@every_family
def test_wider_parameters_and_noise_are_read_in_part(family):
    params, noise = random_params(family, 2, 9), random_noise(family, 2, 9)
    wide_params = torch.cat([params, torch.full((2, 9, 3), torch.nan)], -1)
    wide_noise = torch.cat([noise, torch.full((2, 9, 2), torch.nan)], -1)
    x = family.sample(params, noise)
    half = torch.full_like(x, 0.5)
    calls = [
        lambda params, noise: family.sample(params, noise),
        lambda params, noise: family.log_prob(params, x),
        lambda params, noise: family.mean(params),
        lambda params, noise: family.mode(params),
    ]
    if family.has_cdf:
        calls.append(lambda params, noise: family.cdf(params, x))
        calls.append(lambda params, noise: family.quantile(params, half))
    for call in calls:
        # Not bit for bit: vectorised functions round otherwise where memory has gaps.
        found = call(wide_params, wide_noise)
        assert torch.allclose(found, call(params, noise), rtol=1e-13, atol=1e-13, equal_nan=True)


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes_are_kept(family, dtype):
    params, noise = random_params(family, 2, 3, dtype=dtype), random_noise(family, 2, 3, dtype=dtype)
    x = family.sample(params, noise)
    results = [x, family.log_prob(params, x), family.mean(params), family.mode(params)]
    if family.has_cdf:
        results += [family.cdf(params, x), family.quantile(params, torch.full_like(x, 0.3))]
    for result in results:
        assert result.shape == (2, 3)
        assert result.dtype == dtype
    code = family.encode(x)
    assert code.shape == (2, 3, family.num_inputs)
    assert code.dtype == dtype
    assert bool(code.isfinite().all())
    assert family.encode(torch.zeros(4, dtype=dtype)).shape == (4, family.num_inputs)
    assert family.at(1) is family
    assert family.over(torch.tensor([0, 2])) is family
    assert family.param_sizes(3) == [family.num_params] * 3
    assert family.input_sizes(3) == [family.num_inputs] * 3


@every_family
def test_settings_rebuild_the_family(family):
    again = resolve_conditional(json.loads(json.dumps(family.spec())))
    assert type(again) is type(family)
    assert again.settings() == family.settings()
    params = random_params(family, 5)
    x = family.sample(params, random_noise(family, 5))
    assert torch.equal(again.log_prob(params, x), family.log_prob(params, x))
    assert repr(again) == repr(family)


@every_family
def test_values_that_cannot_occur_are_named(family):
    bad = [math.inf, -math.inf] + ([] if family.name == "missing" else [math.nan])
    if family.support() is not None:
        bad += [0.5, -1.0, float(len(family.support()))]
    for value in bad:
        x = torch.zeros(2, 3, dtype=torch.float64)
        family.check(x)
        x[1, 2] = value
        message = one_line_error(lambda x=x: family.check(x), "[1, 2]", family.name, family.value_range)
        assert f"value {value:g} " in message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("categorical", ["levels"]),
        ({"name": "categorical", "levels": 0}, ["levels", "0"]),
        ({"name": "categorical", "levels": 2.5}, ["levels", "2.5"]),
        ({"name": "gaussian", "min_scale": 0.0}, ["min_scale", "above 0"]),
        ({"name": "gaussian_mixture", "components": 0}, ["components", "0"]),
        ({"name": "gaussian_mixture", "equal_weights": "yes"}, ["equal_weights", "'yes'"]),
        ({"name": "gaussian_mixture", "component": 3}, ["gaussian_mixture", "component"]),
        ({"name": "student_t", "min_freedom": 0.5}, ["min_freedom", "0.5"]),
        ({"name": "discretized_logistic_mixture", "levels": 1}, ["levels", "1"]),
        ({"name": "missing", "inner": "gausian"}, ["did you mean 'gaussian'"]),
        ({"name": "missing", "inner": {"name": "missing", "inner": "gaussian"}}, ["missing"]),
        ({"name": "missing", "inner": Mixed(["gaussian"])}, ["mixed", "columns"]),
        ({"name": "mixed", "columns": []}, ["columns"]),
        ({"name": "mixed", "columns": "gaussian"}, ["columns"]),
        ({"name": "mixed", "columns": [Mixed(["gaussian"])]}, ["mixed"]),
        ("gaussian-mixture", ["did you mean 'gaussian_mixture'"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(spec, words):
    one_line_error(lambda: resolve_conditional(spec), *words)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _gradient_at_zero(family, x):
    params = torch.zeros(family.num_params, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(family.log_prob(params.expand(len(x), -1), x).mean(), params)
    return gradient


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-15)])
def test_student_t_normaliser_is_exact_for_few_and_many_degrees_of_freedom(dtype, tolerance):
    # For whole n, G(n + 1/2) / G(n) = n c sqrt(pi) and G(n + 1) / G(n + 1/2) = 1 / (c sqrt(pi)), with
    # c = (2n choose n) / 4^n, a fraction.
    for n in (1, 2, 3, 5, 10, 40, 200, 3000):
        c = float(Fraction(math.comb(2 * n, n), 4**n))
        for half, ratio in ((n, n * c * math.sqrt(math.pi)), (n + 0.5, 1 / (c * math.sqrt(math.pi)))):
            family = resolve_conditional({"name": "student_t", "min_freedom": 2 * half, "min_scale": 1.0})
            params = torch.tensor([0.0, -200.0, -200.0], dtype=dtype)  # scale 1, no more freedom than least
            found = family.log_prob(params, torch.zeros((), dtype=dtype)).item()
            assert abs(found - math.log(ratio / math.sqrt(2 * math.pi * half))) < tolerance


def test_student_t_slope_of_the_normaliser_in_float32_is_that_of_float64():
    family = resolve_conditional("student_t")
    slopes = []
    for dtype in (torch.float32, torch.float64):
        log_freedom = torch.linspace(-30, 12, 200, dtype=dtype, requires_grad=True)
        params = torch.nn.functional.pad(log_freedom[:, None], (2, 0))
        found = family.log_prob(params, torch.zeros(200, dtype=dtype))
        slopes.append(torch.autograd.grad(found.sum(), log_freedom)[0].double())
    assert torch.allclose(*slopes, rtol=1e-6, atol=1e-6)
