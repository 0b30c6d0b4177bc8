"""Filling in where missing values are a state: with `present`, draws from p(unknown | known, none missing).

Everything is enumerable. Statistical checks use fixed seeds and allow 5 standard errors for each of fewer
than 200 numbers: a correct sampler fails a check here with probability below 2e-4.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from data_helpers import one_line_error
from test_filling import assert_frequencies, assert_means, randomised

from chainrule.conditionals import Bernoulli, Categorical, Missing, Mixed
from chainrule.models import MADE, NADE, DeepNADE, Ensemble, Independent

NAN = math.nan
CATEGORIES = Mixed([Missing(Categorical(3)), Bernoulli(), Missing(Bernoulli()), Categorical(2)])
SUPPORT = [[0.0, 1.0, 2.0, NAN], [0.0, 1.0], [0.0, 1.0, NAN], [0.0, 1.0]]
EVERY = torch.tensor(list(itertools.product(*SUPPORT)), dtype=torch.float64)  # (48, 4)

MODELS = {
    "MADE": lambda: randomised(MADE((4,), hidden=(9, 9), conditional=CATEGORIES), 0.7),
    "MADE-random": lambda: randomised(
        MADE((4,), hidden=(9,), ordering="random:3", conditional=CATEGORIES, direct=True), 0.7
    ),
    "NADE": lambda: randomised(NADE((4,), hidden=5, ordering="reversed", conditional=CATEGORIES), 0.7),
    "DeepNADE": lambda: randomised(DeepNADE((4,), hidden=(6,), conditional=CATEGORIES), 0.7),
    "Independent": lambda: randomised(Independent((4,), conditional=CATEGORIES)),
    "Ensemble": lambda: Ensemble([MODELS["MADE"](), MODELS["NADE"]()]),
}
#: The first and the third variable are unknown, and not missing; what follows them is known.
EVIDENCE = torch.tensor([NAN, 1.0, NAN, 0.0], dtype=torch.float64)
HOLES = EVIDENCE.isnan()


def completions(evidence, holes):
    """Every x that agrees with the evidence and has a value in every hole."""
    known = (evidence.nan_to_num(nan=-1) == EVERY.nan_to_num(nan=-1)) | holes
    return EVERY[(known & ~(EVERY.isnan() & holes)).all(1)]


def one_hot(filled, states):
    equal = (filled.nan_to_num(nan=-1)[:, None] == states.nan_to_num(nan=-1)).all(2)
    assert bool((equal.sum(1) == 1).all())
    return equal.double()


def joint(model, states):
    with torch.no_grad():
        return model.log_prob(states).exp()


def test_all_states_have_probability_one_together():
    assert len(completions(EVIDENCE, HOLES)) == 6
    for build in MODELS.values():
        assert abs(float(joint(build(), EVERY).sum()) - 1) < 1e-12


@pytest.mark.filterwarnings("ignore:filling in")
@pytest.mark.parametrize("method", ["particles", "importance"])
@pytest.mark.parametrize("name", MODELS)
def test_weighted_fillings_are_unbiased_for_any_number_of_particles(name, method):
    # E[estimate of p(evidence, nothing missing) * 1{filling = v}] = p(v, evidence), even for 3 particles.
    model, states = MODELS[name](), completions(EVIDENCE, HOLES)
    filled, info = model.fill(
        EVIDENCE.expand(15_000, 4),
        seed=1,
        method=method,
        num_particles=3,
        present=True,
        return_info=True,
    )
    truth, weight = joint(model, states), info.log_evidence.exp()
    assert_frequencies(one_hot(filled, states), truth, weight)
    assert_means(weight[:, None], truth.sum())


@pytest.mark.parametrize("name", MODELS)
def test_fillings_follow_the_conditional_given_that_nothing_is_missing(name):
    model, states = MODELS[name](), completions(EVIDENCE, HOLES)
    filled, info = model.fill(
        EVIDENCE.expand(3000, 4), seed=2, num_particles=200, present=True, return_info=True
    )
    assert set(info.method) == {"exact" if name == "Independent" else "particles"}
    if name == "DeepNADE":  # read with the evidence first, and the holes in their order
        model = model.with_ordering([1, 3, 0, 2])
    assert_frequencies(one_hot(filled, states), (t := joint(model, states)) / t.sum())


@pytest.mark.parametrize("name", MODELS)
def test_a_single_trailing_hole_is_exact(name):
    model = MODELS[name]()
    order = range(4) if name == "Ensemble" else model.ordering.permutation
    last = next(place for place in reversed(order) if place in (0, 2))
    holes = torch.zeros(4, dtype=torch.bool)
    holes[list(order)[list(order).index(last) :]] = True
    evidence = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    states = completions(evidence, holes)
    filled, info = model.fill(
        evidence.expand(4000, 4), holes, seed=3, num_particles=60, present=True, return_info=True
    )
    truth = joint(model, states)
    assert_frequencies(one_hot(filled, states), truth / truth.sum())
    if name != "Ensemble":
        assert set(info.method) == {"exact"}
        assert float((info.log_evidence - truth.sum().log()).abs().max()) < 1e-12


def test_an_order_agnostic_model_puts_the_one_hole_that_may_be_missing_first():
    model = MODELS["DeepNADE"]()
    evidence = torch.tensor([NAN, NAN, 1.0, 0.0], dtype=torch.float64)
    filled, info = model.fill(
        evidence.expand(4000, 4), seed=0, method="exact", present=True, return_info=True
    )
    reading, states = model.with_ordering([2, 3, 0, 1]), completions(evidence, evidence.isnan())
    truth = joint(reading, states)
    assert_frequencies(one_hot(filled, states), truth / truth.sum())
    assert float((info.log_evidence - truth.sum().log()).abs().max()) < 1e-12


def test_a_known_missing_value_is_evidence_like_any_other():
    model = MODELS["MADE"]()
    evidence = torch.tensor([1.0, 0.0, NAN, 1.0], dtype=torch.float64)
    holes = torch.tensor([True, False, False, False])
    states = completions(evidence, holes)
    assert len(states) == 3
    assert bool(states[:, 2].isnan().all())
    filled = model.fill(evidence.expand(3000, 4), holes, seed=0, num_particles=200, present=True)
    truth = joint(model, states)
    assert_frequencies(one_hot(filled, states), truth / truth.sum())


def test_without_present_a_hole_may_stay_missing():
    model = MODELS["MADE"]()
    known = (EVIDENCE == EVERY) | HOLES
    states = EVERY[known.all(1)]
    assert len(states) == 12
    filled = model.fill(EVIDENCE.expand(3000, 4), seed=2, num_particles=200)
    truth = joint(model, states)
    assert_frequencies(one_hot(filled, states), truth / truth.sum())
    assert not bool(model.fill(EVIDENCE.expand(300, 4), seed=2, present=True).isnan().any())


def test_present_changes_nothing_where_nothing_can_be_missing():
    model = randomised(MADE((4,), hidden=(9,)), 0.7)
    evidence = torch.tensor([[NAN, 1.0, NAN, 0.0]], dtype=torch.float64).expand(50, 4)
    assert torch.equal(model.fill(evidence, seed=0), model.fill(evidence, seed=0, present=True))


def test_complete_rows_are_exact_and_come_back():
    for name in ("MADE-random", "DeepNADE", "Independent"):
        model = MODELS[name]()
        rows = EVERY[~EVERY.isnan().any(1)]
        filled, info = model.fill(rows, seed=0, present=True, return_info=True, num_samples=2)
        assert torch.equal(filled, rows[:, None].expand(-1, 2, -1))
        assert set(info.method) == {"exact"}
        assert float((info.log_evidence.exp() - joint(model, rows)).abs().max()) < 1e-12


def test_two_holes_that_may_be_missing_are_not_exact():
    for name, advice in (("MADE", "order-agnostic"), ("DeepNADE", "particles")):
        one_line_error(
            lambda name=name: MODELS[name]().fill(EVIDENCE[None], method="exact", present=True),
            "row 0",
            "must not stay missing",
            advice,
        )


@pytest.mark.parametrize("family", [Missing(Categorical(3)), Bernoulli(), CATEGORIES])
def test_families_know_what_being_there_means(family):
    shape = (200, len(family.columns)) if isinstance(family, Mixed) else (200,)
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(*shape, family.num_params, generator=generator).double()
    noise = torch.rand(*shape, family.num_noise, generator=generator).double()
    value, there = family.sample(params, noise), family.sample_present(params, noise)
    assert not bool(there.isnan().any())
    assert bool(((value == there) | value.isnan()).all())
    if isinstance(family, Missing):
        missing = family.log_prob(params, torch.full((200,), NAN).double())
        assert torch.allclose(family.log_present(params).exp() + missing.exp(), torch.ones(200).double())
    assert bool(value.isnan().any()) == family.has_missing
    for index, column in enumerate(family.columns if isinstance(family, Mixed) else ()):
        own = params[:, index]
        assert torch.equal(family.log_present(params)[:, index], column.log_present(own))
        assert torch.equal(there[:, index], column.sample_present(own, noise[:, index]))
