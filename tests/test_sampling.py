"""Samplers: functions of the noise, cheap and reproducible; what `sample` accepts and refuses."""

from __future__ import annotations

import pytest
import torch
from data_helpers import one_line_error
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.models import FVSBN, MADE, NADE, DeepNADE
from chainrule.sampling import ancestral, draw_noise, fixed_point, naive


def randomised(model):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.7
            )
    return model


def models(**options):
    return [
        randomised(FVSBN((2, 4), ordering="spiral", **options)),
        randomised(NADE((2, 4), hidden=5, ordering="hilbert", **options)),
        randomised(MADE((2, 4), hidden=(9, 9), ordering="random:1", **options)),
        randomised(DeepNADE((2, 4), hidden=(5, 6), **options)),
    ]


@settings(deadline=None)
@given(
    few=st.integers(0, 9),
    more=st.integers(0, 9),
    n=st.integers(1, 20),
    width=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_noise_of_a_sample_does_not_depend_on_how_many_are_drawn(few, more, n, width, dtype):
    draws = [
        draw_noise(count, n, width, torch.Generator().manual_seed(3), dtype) for count in (few, few + more)
    ]
    assert torch.equal(draws[0], draws[1][:few])
    assert draws[1].shape == (few + more, n, width)
    assert draws[1].dtype == dtype
    assert bool(((draws[1] >= 0) & (draws[1] < 1)).all())


@pytest.mark.parametrize("index", range(4))
def test_the_samplers_agree_directly(index):
    model = models()[index].double()
    noise = draw_noise(50, 8, 1, torch.Generator().manual_seed(0), torch.float64)
    with torch.no_grad():
        expected, log_prob = ancestral(model, noise, with_log_prob=True)
        iterated, passes = fixed_point(model, noise)
        assert torch.equal(naive(model, noise), expected)
        assert torch.equal(iterated, expected)
        assert torch.allclose(log_prob, model.log_prob(expected), atol=1e-12)
        assert 1 < passes <= 9
        assert ancestral(model, noise)[1] is None
    assert len(torch.unique(expected.flatten(1), dim=0)) > 10


def test_fixed_point_needs_few_passes_where_little_depends_on_the_past():
    model = FVSBN((200,))  # fresh: all weights 0
    noise = draw_noise(4, 200, 1, torch.Generator().manual_seed(0), torch.float32)
    with torch.no_grad():
        assert fixed_point(model, noise)[1] == 2  # one to draw, one to see that nothing changes
    chain = FVSBN((6,)).double()
    with torch.no_grad():
        for row in range(1, 6):
            chain.weight[row * (row + 1) // 2 - 1] = 100.0  # x_i copies x_{i-1}
        chain.bias.fill_(-50.0)
        chain.bias[0] = 50.0
        x, passes = fixed_point(chain, torch.full((1, 6, 1), 0.5, dtype=torch.float64))
    assert x.tolist() == [[1.0] * 6]
    assert passes == 7  # the worst case, n + 1


@pytest.mark.parametrize("index", range(4))
def test_a_variable_is_one_exactly_where_u_is_below_p(index):
    model = models()[index].double()
    noise = draw_noise(300, 8, 1, torch.Generator().manual_seed(1), torch.float64)
    with torch.no_grad():
        x = model.sample(noise=noise)
        probability = torch.sigmoid(model(x)[..., 0])
    assert torch.equal(model.to_sequence(x), (noise[..., 0] < model.to_sequence(probability)).double())


def test_noise_may_be_given_without_its_last_dimension():
    model = models()[0]
    noise = draw_noise(5, 8, 1, torch.Generator().manual_seed(1), torch.float32)
    assert torch.equal(model.sample(noise=noise), model.sample(noise=noise[..., 0]))
    one_line_error(lambda: model.sample(noise=noise[:, :7]), "(num_samples, 8, 1)", "(5, 7, 1)")


def test_seeds_generators_and_fresh_noise():
    model = models()[1]
    assert torch.equal(model.sample(9, seed=4), model.sample(9, seed=4))
    assert not torch.equal(model.sample(9, seed=4), model.sample(9, seed=5))
    by_generator = model.sample(9, generator=torch.Generator().manual_seed(4))
    assert torch.equal(by_generator, model.sample(9, seed=4))
    generator = torch.Generator().manual_seed(4)
    assert not torch.equal(model.sample(9, generator=generator), model.sample(9, generator=generator))
    assert not torch.equal(model.sample(9), model.sample(9))  # equal by chance: below 2^-40


def test_sampling_leaves_global_state_alone_and_builds_no_graph():
    model = models()[2].train()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    x, log_prob = model.sample(3, return_log_prob=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not x.requires_grad
    assert not log_prob.requires_grad
    assert x.shape == (3, 2, 4)
    assert x.dtype == torch.float32
    assert model.training


def test_low_temperature_goes_to_the_most_likely_values():
    model = models()[1].double()
    cold = model.sample(20, seed=0, temperature=1e-6)
    assert (cold == cold[:1]).all()
    assert torch.equal(cold[:1], model.conditional.mode(model(cold[:1])))
    means = [model.log_prob(model.sample(3000, seed=0, temperature=t)).mean() for t in (0.3, 1.0, 3.0)]
    assert means[0] > means[1] > means[2]


def test_log_prob_of_a_tempered_sample_is_that_of_the_model_itself():
    for model in models():
        model = model.double()
        for method in ("incremental", "naive", "fixed-point"):
            x, log_prob = model.sample(6, seed=1, temperature=0.4, return_log_prob=True, method=method)
            assert torch.allclose(log_prob, model.log_prob(x), atol=1e-12)


def test_one_context_serves_all_samples_or_each_has_its_own():
    for model in models(context_size=3):
        by_label = model.sample(4, 2, seed=0)
        assert torch.equal(by_label, model.sample(4, torch.tensor([2, 2, 2, 2]), seed=0))
        assert torch.equal(by_label, model.sample(4, torch.tensor([0.0, 0.0, 1.0]), seed=0))
        mixed = model.sample(4, torch.tensor([0, 1, 2, 2]), seed=0)
        assert torch.equal(mixed[2:], by_label[2:])
        one_line_error(lambda m=model: m.sample(4, torch.tensor([0, 1]), seed=0), "(4, 3)")
        one_line_error(lambda m=model: m.sample(4, 3, seed=0), "0..2")


def test_arguments_that_cannot_be_are_one_clear_line():
    model = models()[0]
    one_line_error(lambda: model.sample(1, temperature=-1.0), "temperature", "-1")
    one_line_error(lambda: model.sample(1, method="fixedpoint"), "did you mean", "fixed-point")
    one_line_error(lambda: model.sample(1, 0), "no context")
    for temperature in (float("nan"), float("inf"), 0, "a", None, True):
        one_line_error(lambda t=temperature: model.sample(1, temperature=t), "temperature", "above 0")
    for number in (-1, 2.5, "3", True):
        one_line_error(lambda k=number: model.sample(k), "num_samples must be a whole number", repr(number))
    for generator in (3, "a"):
        one_line_error(lambda g=generator: model.sample(1, generator=g), "must be a torch.Generator")


def test_there_is_one_source_of_noise():
    model, generator = models()[0], torch.Generator()
    noise = torch.zeros(2, 8)
    one_line_error(lambda: model.sample(2, seed=1, generator=generator), "seed and generator", "one source")
    one_line_error(lambda: model.sample(2, seed=0, noise=noise), "seed and noise")
    one_line_error(lambda: model.sample(2, generator=generator, noise=noise), "generator and noise")
    one_line_error(lambda: model.sample(3, noise=noise), "num_samples is 3", "for 2")
    assert len(model.sample(2, noise=noise)) == len(model.sample(noise=noise)) == 2
    assert len(model.sample()) == 1
    assert model.sample(0, seed=1).shape == (0, 2, 4)


@pytest.mark.parametrize("value", [1.0, -1e-9, 1.5, float("nan"), float("inf")])
def test_noise_outside_its_range_is_named(value):
    noise = torch.full((2, 8), 0.5)
    noise[1, 3] = value
    one_line_error(lambda: models()[0].sample(noise=noise), "noise is", "[1, 3, 0]", "[0, 1)")


@pytest.mark.parametrize("noise", [[[0.5] * 8], "a", torch.zeros(2, 8, dtype=torch.long)])
def test_noise_must_be_floats(noise):
    one_line_error(lambda: models()[0].sample(noise=noise), "noise must be a tensor of floats")


def test_noise_of_another_shape_is_told_the_right_one():
    for shape in [(8,), (2, 8, 1, 1), (), (2, 7, 1), (2, 8, 2)]:
        one_line_error(lambda s=shape: models()[0].sample(noise=torch.zeros(s)), "(num_samples, 8, 1)")


def test_a_double_just_below_one_does_not_become_one_in_single_precision():
    seen = []

    class Watching(FVSBN):
        def _sample(self, noise, *arguments):
            seen.append(noise)
            return super()._sample(noise, *arguments)

    Watching((3,)).sample(noise=torch.full((1, 3), 1 - 2.0**-53, dtype=torch.float64))
    assert seen[0].dtype == torch.float32
    assert bool((seen[0] < 1).all())


def test_contexts_that_cannot_be_are_named():
    model = models(context_size=3)[0]
    x = torch.zeros(2, 2, 4)
    for value in ("nan", "inf", "-inf"):
        context = torch.zeros(2, 3)
        context[1, 2] = float(value)
        one_line_error(lambda c=context: model.log_prob(x, c), f"context is {value} at index [1, 2]")
        one_line_error(lambda c=context: model.sample(2, c), f"context is {value}")
    labels = torch.tensor([2, 7])
    one_line_error(lambda: model.log_prob(x, labels), "0..2", "the label at index 1 is 7")
    one_line_error(lambda: model.sample(2, -1), "0..2", "is -1")
    one_line_error(lambda: model.log_prob(x, "a"), "a context must be a tensor", "'a'")
    one_line_error(lambda: model.log_prob(x, torch.zeros(2, 3, dtype=torch.complex64)), "complex64")
