"""The conformance suite itself: it passes honest models and names what is wrong with broken ones."""

from __future__ import annotations

import math

import pytest
import torch
from broken_models import BROKEN, ForwardOnly, OwnSteps

from chainrule.errors import ChainruleError
from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, BayesNet, DeepNADE, Ensemble, Independent
from chainrule.testing import (
    PROPERTIES,
    ConformanceError,
    all_examples,
    check_causality,
    check_model,
    check_normalisation,
    check_sample_frequencies,
    check_samplers_agree,
)

# ------------------------------------------------------------------------------ honest models


@pytest.mark.parametrize("model_class", [ForwardOnly, OwnSteps])
def test_models_that_people_write_pass(model_class):
    report = check_model(model_class((2, 3), ordering="spiral"))
    assert [result.name for result in report.results] == list(PROPERTIES)
    assert report.skipped == ("ensemble",)
    assert report["normalisation"].worst < 1e-12
    shown = str(report).splitlines()
    assert shown[0].startswith(f"{model_class.__name__}(event_shape=(2, 3)")
    assert len(shown) == 1 + len(PROPERTIES)
    assert "skipped" in next(line for line in shown if "ensemble" in line)


def test_contexts_may_be_given_or_chosen():
    model = NADE((4,), hidden=3, context_size=2)
    check_model(model)
    check_model(model, context=torch.tensor([[0.3, -2.0], [1.0, 5.0]]))
    check_model(model, context=torch.tensor([1.5, 0.5]))
    with pytest.raises(ChainruleError, match=r"\(2, 2\)"):
        check_model(model, context=torch.zeros(2, 5))


def test_the_model_and_the_global_state_are_left_alone():
    model = MADE((5,), hidden=(6,), dropout=0.5, num_masks=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng, threads = torch.get_rng_state(), torch.get_num_threads()
    check_model(model)
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.get_num_threads() == threads
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


def test_a_report_is_the_same_every_time():
    model = NADE((5,), hidden=4)
    assert str(check_model(model, seed=3)) == str(check_model(model, seed=3))


def test_a_model_too_big_to_enumerate_is_not_said_to_be_normalised():
    report = check_model(FVSBN((80,)), num_samples=50)
    assert "2^80 states" in report["normalisation"].detail
    assert "skipped" in report["normalisation"].detail
    assert "joint states" not in report["sample frequencies"].detail
    mixture = Ensemble([FVSBN((80,)), FVSBN((80,), ordering="reversed")])
    assert {"normalisation", "sample frequencies"} < set(check_model(mixture, num_samples=50).skipped)


def test_a_fresh_model_is_not_checked_at_zero_weights():
    """All weights of a new FVSBN are 0: without noise on the copy a leak would not show."""

    class Leaky(FVSBN):
        def matrix(self):
            return super().matrix() + super().matrix().T

    with pytest.raises(ConformanceError, match="causality"):
        check_causality(Leaky((4,)))
    assert check_causality(Leaky((4,)), jitter=0.0).status == "passed"


def test_a_single_check_takes_the_same_options():
    assert check_normalisation(FVSBN((3,)), seed=5).detail == "over all 8 x"
    assert check_causality(Independent((3,))).detail.startswith("by perturbation")
    assert check_causality(BayesNet((3,), [[], [0], [1]])).detail.startswith("by perturbation")
    assert check_causality(FVSBN((3,))).detail.startswith("by autograd and")


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ChainruleError, match="Linear"):
        check_model(torch.nn.Linear(2, 2))
    with pytest.raises(ChainruleError, match="alpha"):
        check_model(FVSBN((2,)), alpha=0.0)


@pytest.mark.parametrize(
    "option", [{"alpha": math.nan}, {"seed": -1}, {"seed": 1.5}, {"jitter": math.inf}, {"num_samples": 0}]
)
def test_options_are_numbers_in_their_range(option):
    with pytest.raises(ChainruleError, match=f"^{next(iter(option))}"):
        check_model(FVSBN((2,)), **option)


# ------------------------------------------------------------------------------ models that raise


def failure_of(model, **options) -> ConformanceError:
    with pytest.raises(ConformanceError) as caught:
        check_model(model, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_model_without_a_forward_is_told_to_write_it():
    class Empty(AutoregressiveModel):
        pass

    failure = failure_of(Empty((3,)))
    assert failure.property_name == "shapes"
    assert "Empty does not have the method it needs: write forward(self, x, context=None)" in failure.evidence
    assert "(batch, *event_shape, num_params)" in failure.evidence


def test_a_forward_in_one_precision_is_told_of_the_float64_copy_and_the_line():
    class InSingle(ForwardOnly):
        def logits(self, sequence):
            return sequence @ torch.zeros(3, 3) + self.bias

    evidence = failure_of(InSingle((3,))).evidence
    line = InSingle.logits.__code__.co_firstlineno + 1
    assert f"raised RuntimeError in logits (test_testing.py, line {line}): " in evidence
    assert "a float64 copy of the model" in evidence
    assert "dtype=x.dtype" in evidence


def test_an_error_of_the_models_own_names_its_method_and_says_nothing_of_precision():
    class Stumbles(OwnSteps):
        def step(self, state, previous_value):
            raise KeyError("weights")

    failure = failure_of(Stumbles((3,)))
    assert failure.property_name == "shapes"
    assert "raised KeyError in step (test_testing.py, line" in failure.evidence
    assert "float64" not in failure.evidence


def test_a_model_that_cannot_be_copied_is_said_so():
    class KeepsAGraph(ForwardOnly):
        def __init__(self, event_shape):
            super().__init__(event_shape)
            self.cache = self.bias * 2

    with pytest.raises(
        ChainruleError, match=r"^this KeepsAGraph cannot be copied to be checked .*buffers\.$"
    ):
        check_model(KeepsAGraph((3,)))


def test_a_report_says_in_which_precision_it_was_made():
    assert str(check_model(FVSBN((2,)))).splitlines()[0].endswith("checked as a float64 copy")


def test_all_examples():
    assert all_examples(FVSBN((13,))) is None
    every = all_examples(FVSBN((2, 2)))
    assert every.shape == (16, 2, 2)
    assert len(torch.unique(every.flatten(1), dim=0)) == 16


# ------------------------------------------------------------------------------ broken models


@pytest.mark.parametrize(
    ("build", "property_name", "evidence"), BROKEN, ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_broken_model_is_caught_by_the_right_property(build, property_name, evidence):
    with pytest.raises(ConformanceError) as caught:
        check_model(build())
    assert caught.value.property_name == property_name, str(caught.value)
    assert evidence in caught.value.evidence
    assert str(caught.value).startswith(f"{property_name}: ")


def test_a_leak_is_caught_in_the_models_own_ordering():
    """Reading variable 0 is right in raster order and wrong in reversed order."""

    class ReadsVariable0(AutoregressiveModel):
        def __init__(self, event_shape, ordering):
            super().__init__(event_shape, ordering=ordering)
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, context=None):
            seen = torch.cat([torch.zeros_like(x[:, :1]), x[:, :1].expand(-1, self.num_variables - 1)], 1)
            return self.scale * seen[..., None]

    assert check_causality(ReadsVariable0((4,), "raster")).status == "passed"
    with pytest.raises(ConformanceError, match=r"when variable 0 \(position 3\)"):
        check_causality(ReadsVariable0((4,), "reversed"))


def test_leaks_are_found_at_any_place_of_a_long_model():
    class LastSeesItself(ForwardOnly):
        def logits(self, sequence):
            logits = super().logits(sequence)
            return torch.cat([logits[:, :-1], logits[:, -1:] + sequence[:, -1:]], dim=1)

    with pytest.raises(ConformanceError, match="position 149"):
        check_causality(LastSeesItself((150,)))


def test_wrong_steps_of_a_big_model_show_in_the_conditionals():
    """Too many variables to enumerate: the test of the conditionals alone must notice."""

    class Detached(ForwardOnly):
        def _sample(self, noise, context, temperature, with_log_prob, method):
            sequence = self.conditional.sample(
                self.to_sequence(self(torch.zeros(noise.shape[:2]).to(noise))), noise
            )
            return self.from_sequence(sequence), None

    with pytest.raises(ConformanceError, match="conditionals of forward"):
        check_sample_frequencies(Detached((40,)), jitter=3.0)


# ------------------------------------------------------------------------------ the statistics


def test_the_false_alarm_rate_is_below_alpha():
    """300 honest checks at alpha 0.2: more than 90 alarms would have probability below 1e-4."""
    model, alarms = FVSBN((4,)), 0
    for seed in range(300):
        try:
            check_sample_frequencies(model, seed=seed, alpha=0.2, num_samples=200)
        except ConformanceError:
            alarms += 1
    assert alarms <= 90


@pytest.mark.parametrize("seed", range(5))
def test_the_bounds_are_tight_enough_to_notice_a_small_error(seed):
    """Independent coins of 0.5 against 0.56: seen in 4000 samples whatever the seed."""

    class Off(Independent):
        def _sample_incremental(self, noise, context, temperature, with_log_prob):
            return self.from_sequence((noise[..., 0] < 0.56).to(noise.dtype)), None

    model = Off((4,))
    with pytest.raises(ConformanceError, match="sample frequencies"):
        check_sample_frequencies(model, jitter=0.0, seed=seed)
    with pytest.raises(ConformanceError, match="samplers agree"):
        check_samplers_agree(model, jitter=0.0, seed=seed)


def test_impossible_samples_are_noticed_even_once():
    net = BayesNet((2,), [[], [0]])
    net.set_table(0, [0.5])
    net.set_table(1, [0.0, 0.001])

    class Mixed(BayesNet):
        def _sample_incremental(self, noise, context, temperature, with_log_prob):
            x, _ = super()._sample_incremental(noise, context, temperature, with_log_prob)
            x[0] = torch.tensor([0.0, 1.0])
            return x, None

    broken = Mixed((2,), [[], [0]])
    broken.load_state_dict(net.state_dict())
    impossible = broken.log_prob(torch.tensor([[0.0, 1.0]]))
    assert math.isclose(impossible.item(), math.log(0.5) - 1e4, rel_tol=1e-6)
    with pytest.raises(ConformanceError, match="sample frequencies"):
        check_sample_frequencies(broken, jitter=0.0)
    assert check_sample_frequencies(net, jitter=0.0).status == "passed"


def test_order_agnostic_networks_and_their_mixtures_pass():
    network = DeepNADE((4,), hidden=(5, 6))
    check_model(network.with_ordering("reversed"))
    check_model(network.ensemble(3))
