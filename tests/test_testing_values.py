"""The conformance suite on categorical, continuous, mixed and missing values, honest and broken."""

from __future__ import annotations

import pytest
import torch

from chainrule.conditionals import (
    CONDITIONALS,
    Categorical,
    DiscretizedLogisticMixture,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    Missing,
    Mixed,
    StudentT,
)
from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE
from chainrule.testing import (
    ConformanceError,
    all_examples,
    check_causality,
    check_finite,
    check_model,
    check_normalisation,
    check_sample_frequencies,
    check_samplers_agree,
    check_step_equals_forward,
)


class Linear(AutoregressiveModel):
    """The parameters of a variable are linear in the codes of the earlier ones: the least there is."""

    def __init__(self, event_shape, conditional, ordering="raster"):
        super().__init__(event_shape, conditional=conditional, ordering=ordering)
        n, out, inputs = self.num_variables, self.conditional.num_params, self.conditional.num_inputs
        generator = torch.Generator().manual_seed(1)
        self.bias = torch.nn.Parameter(torch.zeros(n, out))
        self.weight = torch.nn.Parameter(0.1 * torch.randn(n, n, out, inputs, generator=generator))

    def forward(self, x, context=None):
        code = self.to_sequence(self.conditional.encode(x))
        earlier = torch.ones(len(self.bias), len(self.bias), dtype=x.dtype).tril(-1)
        weight = self.weight * earlier[..., None, None]
        return self.from_sequence(self.bias + torch.einsum("tsoi,bsi->bto", weight, code))


class WithSteps(Linear):
    """The same with a state, the codes so far; and padding may hold anything."""

    def init_state(self, batch_size, context=None):
        return torch.zeros(batch_size, 0, self.conditional.num_inputs, dtype=self.bias.dtype)

    def step(self, state, previous_value):
        if previous_value is not None:
            code = self.conditional_at(state.shape[1]).encode(previous_value)
            padded = torch.nn.functional.pad(code, (0, state.shape[2] - code.shape[-1]))
            state = torch.cat([state, padded[:, None]], dim=1)
        place = state.shape[1]
        params = self.bias[place] + torch.einsum("soi,bsi->bo", self.weight[place, :place], state)
        size = self.conditional_at(place).num_params
        return torch.cat([params[:, :size], torch.full_like(params[:, size:], 7.0)], dim=1), state


TABLE = Mixed(
    [
        Missing(GaussianMixture(2)),
        Categorical(3),
        "bernoulli",
        "student_t",
        Missing(Categorical(2)),
        Missing(GaussianMixture(2)),
    ]
)

HONEST = {
    "categorical": (Categorical(3), (2, 2), "over all 81 x"),
    "gaussian": (Gaussian(), (5,), "single conditionals only"),
    "two gaussians": (Gaussian(), (2,), "over all x, by quadrature"),
    "gaussian mixture": (GaussianMixture(3), (2,), "over all x, by quadrature"),
    "logistic mixture": (LogisticMixture(3), (1,), "over all x, by quadrature"),
    "student": (StudentT(), (2,), "over all x, by quadrature"),
    "levels": (DiscretizedLogisticMixture(256, 2), (3,), "single conditionals only"),
    "few levels": (DiscretizedLogisticMixture(8, 2), (3,), "over all 512 x"),
    "missing number": (Missing(Gaussian()), (2,), "over all x, by quadrature"),
    "missing category": (Missing(Categorical(2)), (4,), "over all 81 x"),
    "discrete table": (Mixed(["bernoulli", Categorical(4), Missing("bernoulli")]), (3,), "over all 24 x"),
    "table of two numbers": (Mixed(["gaussian", "bernoulli", "student_t"]), (3,), "over all x, by"),
    "table": (TABLE, (6,), "single conditionals only"),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_models_of_every_kind_of_value_pass(name):
    conditional, shape, normalisation = HONEST[name]
    report = check_model(Linear(shape, conditional, ordering="reversed"))
    assert report.skipped == ("ensemble",)
    assert normalisation in report["normalisation"].detail
    assert report["normalisation"].worst < 1e-5
    assert "conditionals" in report["sample frequencies"].detail
    assert "not)" not in report["sample frequencies"].detail


def test_every_family_is_among_them():
    families = {conditional.name for conditional, *_ in HONEST.values()} | {c.name for c in TABLE.columns}
    assert families == set(CONDITIONALS)


@pytest.mark.parametrize("name", ["missing category", "table"])
@pytest.mark.parametrize(("build", "size"), [(MADE, {"hidden": (5,)}), (FVSBN, {}), (NADE, {"hidden": 3})])
def test_models_of_the_library_pass(build, size, name):
    """Samplers that wait for values to settle must know that a missing value equals itself."""
    conditional, shape, _ = HONEST[name]
    assert check_model(build(shape, conditional=conditional, **size)).skipped == ("ensemble",)


def test_padding_is_nobodys_parameter():
    check_step_equals_forward(WithSteps((6,), TABLE))


def test_all_examples_of_different_columns():
    every = all_examples(Linear((2,), Mixed([Missing("bernoulli"), Categorical(2)])))
    assert every.nan_to_num(-1.0).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [-1, 0], [-1, 1]]
    assert all_examples(Linear((2,), Mixed(["bernoulli", "gaussian"]))) is None


# ------------------------------------------------------------------------------ broken families


class Unnormalised(Gaussian):
    """The classic: the logarithm of the scale left out."""

    def log_prob(self, params, value):
        return super().log_prob(params, value) + self.scale(params).log()


class TooManyLevels(Categorical):
    def log_prob(self, params, value):
        return super().log_prob(params, value) + 0.001


class WrongCdf(Gaussian):
    def cdf(self, params, value):
        return torch.sigmoid(1.7 * (value - params[..., 0]) / self.scale(params))


class WrongWidth(GaussianMixture):
    def sample(self, params, uniform, temperature=1.0):
        return super().sample(params, uniform, 1.3 * temperature)


class WidthByEarlierValues(Linear):
    """On the whole the samples look right: too narrow after a low value, too wide after a high one."""

    def step(self, state, previous_value):
        params, state = super().step(state, previous_value)
        if previous_value is not None:
            params = params + 0.35 * torch.sign(previous_value)[:, None] * torch.tensor([0.0, 1.0])
        return params, state


class ForgetsToBeMissing(Missing):
    def sample(self, params, uniform, temperature=1.0):
        return self.inner.sample(params[..., 1:], uniform[..., 1:], temperature)


class PoisonedByNaN(Missing):
    def log_prob(self, params, value):
        of_value = torch.log1p(-torch.sigmoid(params[..., 0])) + self.inner.log_prob(params[..., 1:], value)
        return torch.where(value.isnan(), torch.log(torch.sigmoid(params[..., 0])), of_value)


class LosesTails(Gaussian):
    """The log of a density that has become 0 in floats."""

    def log_prob(self, params, value):
        return super().log_prob(params, value).exp().log()


class LeaksWhetherMissing(Linear):
    """A variable's own being missing gets through, its value does not."""

    def forward(self, x, context=None):
        return super().forward(x) + 0.1 * x.isnan().to(x.dtype)[..., None]


class LeaksTheNext(Linear):
    def forward(self, x, context=None):
        return super().forward(x) + 0.1 * x.roll(-1, 1)[..., None]


BROKEN: list[tuple[str, object, str, str]] = [
    ("unnormalised", lambda: Linear((3,), Unnormalised()), "normalisation", "integrates to"),
    ("too likely", lambda: Linear((9,), TooManyLevels(3)), "normalisation", "adds up to 1.001"),
    ("wrong cdf", lambda: Linear((3,), WrongCdf()), "normalisation", "the cdf of variable"),
    ("wrong width", lambda: Linear((3,), WrongWidth(2)), "sample frequencies", "away from uniform"),
    ("never missing", lambda: Linear((2,), ForgetsToBeMissing("gaussian")), "sample frequencies", "was nan"),
    ("poisoned", lambda: Linear((2,), PoisonedByNaN("gaussian")), "gradients", "not finite"),
    ("no tails", lambda: Linear((2,), LosesTails()), "finite", "-inf"),
    ("leaks a flag", lambda: LeaksWhetherMissing((3,), Missing("gaussian")), "causality", "when variable"),
    ("leaks the next", lambda: LeaksTheNext((3,), Gaussian()), "causality", "when variable 1"),
]


@pytest.mark.parametrize(
    ("build", "property_name", "evidence"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_broken_models_are_caught_by_the_right_property(build, property_name, evidence):
    with pytest.raises(ConformanceError) as caught:
        check_model(build())
    assert caught.value.property_name == property_name, str(caught.value)
    assert evidence in caught.value.evidence


def test_a_leak_without_derivative_is_caught_by_perturbation():
    class Rounds(Linear):
        def forward(self, x, context=None):
            return super().forward(x) + 0.1 * (x.roll(-1, 1) > 0).to(x.dtype)[..., None]

    for conditional in (Gaussian(), Categorical(3)):
        with pytest.raises(ConformanceError, match="when variable"):
            check_causality(Rounds((3,), conditional))


def test_samples_are_tested_given_the_earlier_values():
    model = WidthByEarlierValues((2,), Gaussian())
    with torch.no_grad():
        model.weight.zero_()
    with pytest.raises(ConformanceError, match="away from uniform"):
        check_sample_frequencies(model, jitter=0.0)


def test_a_family_without_cdf_is_said_to_be_untested():
    class NoCdf(Gaussian):
        has_cdf = False

    model = Linear((2,), NoCdf())
    assert "(of gaussian without cdf: not)" in check_sample_frequencies(model).detail
    report = check_normalisation(model)  # then samples say where the mass is
    assert "by quadrature" in report.detail
    assert report.worst < 1e-5


def test_narrow_conditionals_are_integrated_too():
    """Scales of 0.01 around far means: a rule laid over a fixed range would find nothing there."""
    for n in (1, 2, 3):
        model = Linear((n,), GaussianMixture(3))
        with torch.no_grad():
            model.bias[:, 3:6] = torch.tensor([-300.0, 0.0, 1000.0])
            model.bias[:, 6:] = -5.0
            model.weight.zero_()
        report = check_normalisation(model, jitter=0.0)
        assert report.worst < 3e-4
        assert "single conditionals only" in report.detail


def test_samplers_count_missing_values_as_the_same():
    class Flips(Linear):
        """The step forgets whether the previous value was missing."""

        def step(self, state, previous_value):
            return super().step(state, None if previous_value is None else previous_value.nan_to_num(0.0))

    assert check_samplers_agree(Linear((4,), Missing("gaussian"))).status == "passed"
    with pytest.raises(ConformanceError, match="different samples"):
        check_samplers_agree(Flips((4,), Missing("gaussian")), jitter=3.0)


def test_extremes_of_continuous_values_lie_far_out():
    seen = []

    class Spy(Linear):
        def _log_prob(self, x, context):
            seen.append(x)
            return super()._log_prob(x, context)

    check_finite(Spy((3,), Missing("gaussian")))
    x = torch.cat(seen)
    assert x.nan_to_num(0.0).abs().max() > 10
    assert bool(x.isnan().all(1).any())
    assert not x[0].isnan().any()
