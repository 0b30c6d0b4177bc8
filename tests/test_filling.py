"""Filling in: the draws follow p(unknown | known), the evidence estimate is unbiased, holes are never read.

Statistical checks use fixed seeds and allow 5 standard errors for each of fewer than 200 numbers: a
correct sampler fails a check here with probability below 2e-4.
"""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from data_helpers import one_line_error

from chainrule.model import AutoregressiveModel
from chainrule.models import FVSBN, MADE, NADE, BayesNet, ChowLiuTree, DeepNADE, Ensemble, Independent
from chainrule.sampling import filling
from chainrule.sampling.particles import effective_size, systematic_ancestors
from chainrule.testing.subject import all_examples

SHAPE = (2, 3)
N = 6
EVERY = all_examples(Independent(SHAPE)).double()  # (64, 2, 3)


def randomised(model, scale=1.0, seed=5):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            # Not added to the initial values: those come from the global generator.
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.double().eval()


class Slow(FVSBN):
    """A model that wrote no `step` of its own."""

    init_state = AutoregressiveModel.init_state
    step = AutoregressiveModel.step


MODELS = {
    "FVSBN": lambda **o: randomised(FVSBN(SHAPE, ordering="random:2", **o)),
    "NADE": lambda **o: randomised(NADE(SHAPE, hidden=5, ordering="hilbert", **o)),
    "MADE": lambda **o: randomised(MADE(SHAPE, hidden=(9, 9), residual=True, direct=True, **o), 0.4),
    "MADE-0": lambda **o: randomised(MADE(SHAPE, hidden=(), direct=True, ordering="reversed", **o)),
    "DeepNADE": lambda **o: randomised(DeepNADE(SHAPE, hidden=(5, 6), ordering="spiral", **o), 0.8),
    "Slow": lambda **o: randomised(Slow(SHAPE, ordering="column", **o)),
}
WITHOUT_CONTEXT = {
    "Independent": lambda: randomised(Independent(SHAPE)),
    "BayesNet": lambda: randomised(BayesNet(SHAPE, [[], [0], [1], [0, 1, 2], [0], [3, 4]])),
    "ChowLiuTree": lambda: randomised(ChowLiuTree(SHAPE, [[], [0], [0], [1], [2], [2]])),
    "Ensemble": lambda: Ensemble([MODELS[name]() for name in ("FVSBN", "NADE", "MADE")]),
}
EACH = {**MODELS, **WITHOUT_CONTEXT}

#: Holes at the first, third and fifth place of a raster; what follows them is evidence.
MASK = torch.tensor([[True, False, True], [False, True, False]])
EVIDENCE = torch.tensor([[math.nan, 1.0, math.nan], [0.0, math.nan, 1.0]], dtype=torch.float64)


def completions(mask=MASK, evidence=EVIDENCE):
    """Every x that agrees with the evidence."""
    agree = ((evidence == EVERY) | mask).flatten(1).all(1)
    return EVERY[agree]


def repeated(count, evidence=EVIDENCE):
    return evidence.expand(count, *SHAPE)


def which(filled, states):
    """For each filling the number of the state it is; fails if it is none of them."""
    equal = (filled[:, None] == states).flatten(2).all(2)
    assert bool((equal.sum(1) == 1).all())
    return equal.double().argmax(1)


def assert_means(values, expected, errors=5.0):
    """The column means of `values` `(N, k)` are `expected` within so many standard errors."""
    deviation = (values.mean(0) - expected).abs()
    spread = values.std(0) / math.sqrt(len(values))
    assert bool((deviation <= errors * spread + 1e-12).all()), (values.mean(0), expected, spread)


def assert_frequencies(hits, truth, weight=1.0):
    """The mean of weight * hits, 0 or 1 of shape `(N, k)`, is `truth` within 5 standard errors.

    The variance of each is at most the greatest weight times its mean, which also holds for what never
    came up; the last term is for means so small that a single hit is far from normal.
    """
    weight = torch.as_tensor(weight).double()
    top = weight.max()
    allowed = 5 * (top * truth / len(hits)).sqrt() + 12 * top / len(hits)
    found = (weight.expand(len(hits))[:, None] * hits).mean(0)
    assert bool(((found - truth).abs() <= allowed).all()), (found, truth, allowed)
    assert bool((allowed < 0.12 * top).all())  # a test that allows everything tests nothing


def one_hot(filled, states):
    return torch.nn.functional.one_hot(which(filled, states), len(states)).double()


def read_with_evidence_first(model, mask):
    if not isinstance(model, DeepNADE):
        return model
    order = model.ordering.permutation
    holes = mask.flatten().tolist()
    return model.with_ordering([i for i in order if not holes[i]] + [i for i in order if holes[i]])


# ---------------------------------------------------------------- the right distribution


@pytest.mark.filterwarnings("ignore:filling in")
@pytest.mark.parametrize("method", ["particles", "importance"])
@pytest.mark.parametrize("name", EACH)
def test_weighted_fillings_are_unbiased_for_any_number_of_particles(name, method):
    # E[estimate of p(evidence) * 1{filling = v}] = p(v, evidence), exactly, even for three particles.
    model, states = EACH[name](), completions()
    filled, info = model.fill(repeated(15_000), seed=1, method=method, num_particles=3, return_info=True)
    assert set(info.method) == {method}
    hits = one_hot(filled, states)
    with torch.no_grad():
        joint = model.log_prob(states).exp()
    weight = info.log_evidence.exp()
    assert weight.std() > 0.01 * weight.mean() or name == "Independent"
    assert_frequencies(hits, joint, weight)
    assert_means(weight[:, None], joint.sum())


@pytest.mark.parametrize("name", EACH)
def test_fillings_follow_the_true_conditional(name):
    model, states = EACH[name](), completions()
    filled, info = model.fill(repeated(2500), seed=2, num_particles=200, return_info=True)
    exact = name in ("Independent", "DeepNADE")
    assert set(info.method) == {"exact" if exact else "particles"}
    hits = one_hot(filled, states)
    with torch.no_grad():
        truth = torch.softmax(read_with_evidence_first(model, MASK).log_prob(states), 0)
    assert truth.max() < 0.95
    assert_frequencies(hits, truth)


@pytest.mark.parametrize("name", EACH)
def test_trailing_holes_are_filled_exactly(name):
    model = EACH[name]()
    member = model.members[0] if name == "Ensemble" else model
    last = torch.zeros(N, dtype=torch.bool)
    last[list(member.ordering.permutation[-3:])] = True
    mask = last.view(SHAPE)
    evidence = torch.where(mask, math.nan, EVERY[21])
    states = completions(mask, evidence)
    filled, info = model.fill(repeated(4000, evidence), seed=3, num_particles=60, return_info=True)
    with torch.no_grad():
        log_joint = model.log_prob(states)
    hits = one_hot(filled, states)
    assert_frequencies(hits, torch.softmax(log_joint, 0))
    if name != "Ensemble":
        assert set(info.method) == {"exact"}
        assert torch.isinf(info.effective_sample_size).all()
        assert torch.allclose(info.log_evidence, torch.logsumexp(log_joint, 0).double(), atol=1e-12)


@pytest.mark.parametrize("name", ["Independent", "DeepNADE"])
def test_every_mask_is_exact_for_models_without_a_fixed_order(name):
    model = EACH[name]()
    masks = EVERY.bool()
    evidence = torch.where(masks, math.nan, EVERY[torch.arange(64) * 13 % 64])
    filled, info = model.fill(evidence, masks, seed=0, method="exact", num_samples=2, return_info=True)
    assert filled.shape == (64, 2, *SHAPE)
    assert torch.equal(filled[:, 1][~masks], evidence[~masks])
    for row, mask in enumerate(masks):
        states = completions(mask, evidence[row])
        with torch.no_grad():
            expected = read_with_evidence_first(model, mask).log_prob(states).logsumexp(0)
        assert abs(float(info.log_evidence[row] - expected)) < 1e-12


def test_an_order_agnostic_model_keeps_its_own_ordering_when_asked_for_particles():
    model, states = randomised(DeepNADE(SHAPE, hidden=(5, 6)), 0.8), completions()
    filled = model.fill(repeated(2500), seed=2, num_particles=200, method="particles")
    hits = one_hot(filled, states)
    with torch.no_grad():
        truth = torch.softmax(model.log_prob(states), 0)
        first = torch.softmax(read_with_evidence_first(model, MASK).log_prob(states), 0)
    assert (truth - first).abs().max() > 0.05  # the two readings differ, so the test can tell
    assert_frequencies(hits, truth)


def test_an_ensemble_of_exact_members_is_exact():
    members = [randomised(Independent(SHAPE), seed=seed) for seed in range(3)]
    model, states = Ensemble(members), completions()
    filled, info = model.fill(repeated(8000), seed=0, method="exact", num_samples=2, return_info=True)
    with torch.no_grad():
        log_joint = model.log_prob(states)
    assert torch.allclose(info.log_evidence, torch.logsumexp(log_joint, 0), atol=1e-12)
    assert torch.isinf(info.effective_sample_size).all()
    assert set(info.method) == {"exact"}
    for sample in filled.unbind(1):
        hits = one_hot(sample, states)
        assert_frequencies(hits, torch.softmax(log_joint, 0))
    # Variables are dependent through the member: a mixture of products is no product.
    assert not torch.equal(filled[:, 0], filled[:, 1])


@pytest.mark.parametrize("name", ["FVSBN", "NADE", "MADE", "DeepNADE"])
def test_contexts_belong_to_their_rows(name):
    model, states = MODELS[name](context_size=2), completions()
    labels = torch.tensor([0, 1]).repeat(1500)
    filled, info = model.fill(repeated(3000), None, labels, seed=4, num_particles=100, return_info=True)
    conditionals = []
    for label in (0, 1):
        own = labels == label
        with torch.no_grad():
            reading = read_with_evidence_first(model, MASK)
            log_joint = reading.log_prob(states, torch.full((len(states),), label))
        conditionals.append(torch.softmax(log_joint, 0))
        assert_frequencies(one_hot(filled[own], states), conditionals[-1])
        assert_means(info.log_evidence[own].exp()[:, None], log_joint.logsumexp(0).exp())
    assert (conditionals[0] - conditionals[1]).abs().max() > 0.03
    single = model.fill(repeated(5), None, 1, seed=4)
    assert torch.equal(single, model.fill(repeated(5), None, torch.ones(5).long(), seed=4))


def test_all_unknown_is_an_ancestral_sample_and_all_known_comes_back():
    for name in EACH:
        model = EACH[name]()
        nothing = torch.full((4000, *SHAPE), math.nan)
        filled, info = model.fill(nothing, seed=0, return_info=True)
        assert set(info.method) == {"exact"}
        assert bool((info.log_evidence.abs() < 1e-12).all())
        sampled = model.sample(4000, seed=1)
        difference = filled.flatten(1) - sampled.flatten(1)
        assert_means(difference, 0.0)
        values, info = model.fill(EVERY, torch.zeros(SHAPE), seed=0, return_info=True)
        assert torch.equal(values, EVERY)
        with torch.no_grad():
            assert torch.allclose(info.log_evidence, model.log_prob(EVERY), atol=1e-12)


def test_left_to_right_ignores_what_comes_later():
    model = MODELS["MADE"]()
    other = EVIDENCE.clone()
    other[1, 2] = 0.0  # the last variable
    one = model.fill(repeated(500), seed=0, method="left-to-right")
    two = model.fill(repeated(500, other), seed=0, method="left-to-right")
    assert torch.equal(one.flatten(1)[:, :5], two.flatten(1)[:, :5])
    assert bool((one[:, 1, 2] == 1).all())
    for each in (model, EACH["Ensemble"]()):
        _, info = each.fill(repeated(2), seed=0, method="left-to-right", return_info=True)
        assert info.method == ["left-to-right"] * 2
        assert bool(info.log_evidence.isnan().all() & info.effective_sample_size.isnan().all())
    # What it draws is ancestral: the first hole is the first variable, drawn from its marginal.
    many = model.fill(repeated(8000), seed=1, method="left-to-right")
    with torch.no_grad():
        marginal = model.log_prob(EVERY[EVERY[:, 0, 0] == 1]).exp().sum()
    assert_means(many[:, 0, :1], marginal)


def test_low_temperature_fills_with_the_likeliest_value():
    model = MODELS["NADE"]()
    last = model.ordering.permutation[-1]
    mask = (torch.arange(N) == last).view(SHAPE)
    cold = model.fill(EVERY, mask, seed=0, temperature=1e-6)
    with torch.no_grad():
        likeliest = model.conditional.mode(model(EVERY))
    assert torch.equal(cold[:, mask], likeliest[:, mask])


# ---------------------------------------------------------------- other families


def test_categories_follow_the_true_conditional():
    model = randomised(FVSBN((4,), conditional={"name": "categorical", "levels": 3}), 0.7)
    states = torch.tensor(list(itertools.product([0.0, 1.0, 2.0], [2.0], [0.0, 1.0, 2.0], [1.0]))).double()
    evidence = torch.tensor([math.nan, 2.0, math.nan, 1.0]).double().expand(6000, 4)
    filled, info = model.fill(evidence, seed=0, num_particles=200, return_info=True)
    with torch.no_grad():
        log_joint = model.log_prob(states)
    equal = (filled[:, None] == states).all(2)
    assert bool((equal.sum(1) == 1).all())
    assert_frequencies(equal.double(), torch.softmax(log_joint, 0))
    assert_means(info.log_evidence.exp()[:, None], log_joint.logsumexp(0).exp())


def test_columns_of_different_families_and_missing_values_as_evidence():
    columns = [
        {"name": "categorical", "levels": 3},
        {"name": "missing", "inner": "gaussian"},
        "bernoulli",
        "gaussian",
    ]
    model = randomised(MADE((4,), hidden=(8,), conditional={"name": "mixed", "columns": columns}), 0.7)
    states = torch.tensor(list(itertools.product([0.0, 1.0, 2.0], [math.nan], [0.0, 1.0], [0.4]))).double()
    mask = torch.tensor([1, 0, 1, 0])  # so the NaN of the second column is evidence: it is missing
    evidence = torch.tensor([-5.0, math.nan, math.nan, 0.4]).double().expand(6000, 4)
    filled, info = model.fill(evidence, mask, seed=0, num_particles=200, return_info=True)
    with torch.no_grad():
        log_joint = model.log_prob(states)
    equal = ((filled[:, None] == states) | (filled.isnan()[:, None] & states.isnan())).all(2)
    assert bool((equal.sum(1) == 1).all())
    assert_frequencies(equal.double(), torch.softmax(log_joint, 0))
    assert_means(info.log_evidence.exp()[:, None], log_joint.logsumexp(0).exp())
    one_line_error(lambda: model.fill(evidence, 1 - mask, seed=0), "-5", "whole number in 0..2")


def test_a_linear_gaussian_model_matches_gaussian_algebra():
    model = randomised(MADE((3,), hidden=(), direct=True, conditional="gaussian"), 0.5)
    with torch.no_grad():
        # Scales that depend on nothing make the joint Gaussian: x = mean + L noise.
        points = torch.zeros(4, 3).double()
        points[1:] = torch.eye(3)
        scale_rows = torch.zeros_like(model.input_to_output.weight).bool()
        scale_rows[1::2] = True
        model.input_to_output.weight[scale_rows] = 0.0
        params = model(points)
        offset = params[0, :, 0]
        weights = (params[1:, :, 0] - offset).T  # x_i = offset_i + sum_j weights_ij x_j + scale_i noise
        noise = torch.linspace(-60, 60, 60_001).double()
        density = model.conditional.log_prob(params[0, :, None], offset[:, None] + noise).exp()
        variance = (density * noise**2).sum(1) / density.sum(1)
        inverse = torch.linalg.inv(torch.eye(3) - weights)
        mean, covariance = inverse @ offset, inverse @ torch.diag(variance) @ inverse.T
    evidence = torch.tensor([math.nan, math.nan, 0.7]).double().expand(4000, 3)
    filled, info = model.fill(evidence, seed=0, num_particles=300, return_info=True)
    gain = covariance[:2, 2] / covariance[2, 2]
    conditional_mean = mean[:2] + gain * (0.7 - mean[2])
    conditional_covariance = covariance[:2, :2] - torch.outer(gain, covariance[2, :2])
    assert_means(filled[:, :2], conditional_mean)
    centred = filled[:, :2] - conditional_mean
    assert_means(centred[:, :1] * centred, conditional_covariance[0])
    marginal = torch.distributions.Normal(mean[2], covariance[2, 2].sqrt())
    assert_means(info.log_evidence.exp()[:, None], marginal.log_prob(torch.tensor(0.7)).exp())


# ---------------------------------------------------------------- what it reads, and reproducibility


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("method", ["auto", "importance", "left-to-right"])
@pytest.mark.filterwarnings("ignore:filling in")
def test_unknown_values_are_never_read_and_known_ones_never_changed(name, method):
    model = EACH[name]()
    masks = EVERY[::3].bool()
    clean = EVERY[torch.arange(len(masks)) * 7 % 64]
    results = []
    for garbage in (math.nan, math.inf, -7.5, 0.0):
        evidence = torch.where(masks, garbage, clean)
        before = evidence.clone()
        filled, info = model.fill(evidence, masks, seed=9, method=method, num_particles=9, return_info=True)
        assert torch.equal(evidence.nan_to_num(), before.nan_to_num())
        assert torch.equal(filled[~masks], clean[~masks])
        assert bool(((filled == 0) | (filled == 1)).all())
        results.append((filled, info.log_evidence, info.effective_sample_size))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert torch.equal(one.nan_to_num(), two.nan_to_num())


def test_seeds_and_generators():
    model = MODELS["NADE"]()
    draw = lambda **source: model.fill(repeated(60), num_particles=20, **source)  # noqa: E731
    assert torch.equal(draw(seed=4), draw(seed=4))
    assert torch.equal(draw(generator=torch.Generator().manual_seed(4)), draw(seed=4))
    assert not torch.equal(draw(seed=4), draw(seed=5))
    assert not torch.equal(draw(), draw())
    # Neighbouring seeds are not shifted copies of each other.
    assert not torch.equal(draw(seed=4)[1:], draw(seed=5)[:-1])
    state = torch.get_rng_state()
    draw(seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:filling in")
@pytest.mark.parametrize("name", EACH)
def test_a_row_does_not_depend_on_the_other_rows_nor_on_chunks(name, monkeypatch):
    model = EACH[name]()
    masks = EVERY[torch.arange(40) * 11 % 64].bool()
    evidence = EVERY[torch.arange(40) * 29 % 64]
    options = {"seed": 3, "num_particles": 12, "num_samples": 3, "return_info": True}
    whole, info = model.fill(evidence, masks, **options)
    few, few_info = model.fill(evidence[:7], masks[:7], **options)
    assert torch.equal(whole[:7], few)
    assert torch.allclose(info.log_evidence[:7], few_info.log_evidence, atol=1e-12)
    others, other_masks = evidence.roll(1, 0), masks.roll(1, 0)
    others[5], other_masks[5] = evidence[5], masks[5]
    assert torch.equal(model.fill(others, other_masks, **options)[0][5], whole[5])
    monkeypatch.setattr(filling, "_BATCH", 30)
    chunked, chunked_info = model.fill(evidence, masks, **options)
    assert torch.equal(chunked, whole)
    assert torch.allclose(chunked_info.log_evidence, info.log_evidence, atol=1e-12)
    assert chunked_info.method == info.method


def test_one_mask_serves_all_rows_and_may_be_of_any_plain_type():
    model = MODELS["FVSBN"]()
    expected = model.fill(repeated(5), seed=0)
    for mask in (MASK, MASK.to(torch.uint8), MASK.double(), MASK.expand(5, *SHAPE), MASK.long()):
        assert torch.equal(model.fill(repeated(5), mask, seed=0), expected)
    assert torch.equal(model.fill(repeated(5).nan_to_num().to(torch.uint8), MASK, seed=0), expected)


def test_shapes_of_the_result():
    model = MODELS["NADE"]()
    assert model.fill(repeated(5), seed=0).shape == (5, *SHAPE)
    assert model.fill(repeated(5), seed=0, num_samples=1).shape == (5, 1, *SHAPE)
    assert model.fill(repeated(5), seed=0, num_samples=4).shape == (5, 4, *SHAPE)
    assert model.fill(repeated(0), seed=0, method="particles").shape == (0, *SHAPE)
    filled, info = model.fill(repeated(5), seed=0, return_info=True)
    assert not filled.requires_grad
    assert info.log_evidence.shape == info.effective_sample_size.shape == (5,)


# ---------------------------------------------------------------- states, and models without a quick way


@pytest.mark.parametrize("name", [*MODELS, "Independent", "BayesNet", "ChowLiuTree"])
@pytest.mark.parametrize("with_context", [False, True])
def test_rows_of_a_state_go_on_as_the_rows_themselves_would(name, with_context):
    if with_context and name not in MODELS:
        pytest.skip("takes no context")
    model = MODELS[name](context_size=2) if with_context else EACH[name]()
    context = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double() if with_context else None
    sequence = model.to_sequence(EVERY[torch.tensor([3, 60, 21, 42, 9])])
    rows = torch.tensor([4, 0, 0, 2, 2, 2, 1])
    whole = model.to_sequence(model(model.from_sequence(sequence), context))
    for pick_at in range(N):
        state, values = model.init_state(5, context), sequence
        with torch.no_grad():
            for t in range(N):
                if t == pick_at:
                    state, values = model.select_state(state, rows), sequence[rows]
                params, state = model.step(state, values[:, t - 1] if t else None)
                expected = whole[rows, t] if t >= pick_at else whole[:, t]
                assert torch.allclose(params, expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:filling in")
@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_pick_rows_give_the_same_fillings(name, monkeypatch):
    model = MODELS[name](context_size=2)
    labels = torch.arange(30) % 2
    arguments = {"seed": 0, "method": "particles", "num_particles": 10, "return_info": True}
    filled, info = model.fill(repeated(30), MASK, labels, **arguments)
    monkeypatch.setattr(type(model), "select_state", lambda self, state, rows: None)
    again, again_info = model.fill(repeated(30), MASK, labels, **arguments)
    assert torch.equal(filled, again)
    assert torch.allclose(info.log_evidence, again_info.log_evidence, atol=1e-12)


def test_a_model_without_its_own_steps_fills_like_one_with_them():
    quick = MODELS["FVSBN"]()
    slow = Slow(SHAPE, ordering="random:2").double()
    slow.load_state_dict(quick.state_dict())
    assert torch.equal(slow.fill(repeated(50), seed=0), quick.fill(repeated(50), seed=0))


# ---------------------------------------------------------------- particles


def chain(n, strength):
    """x_1 is even odds, and x_i copies x_{i-1} with log-odds `strength`."""
    model = FVSBN((n,)).double()
    with torch.no_grad():
        for row in range(1, n):
            model.weight[row * (row + 1) // 2 - 1] = 2 * strength
            model.bias[row] = -strength
    return model


def test_resampling_keeps_particles_alive_where_importance_sampling_dies():
    # Every other variable is known and copies its neighbour: each evidence halves what is alive.
    model = chain(41, 2.0)
    evidence = (torch.arange(41) // 4 % 2).double().expand(20, 41).clone()
    evidence[:, ::2] = math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, plain = model.fill(evidence, seed=0, method="importance", num_particles=200, return_info=True)
        _, info = model.fill(evidence, seed=0, num_particles=200, return_info=True)
    assert float(info.effective_sample_size.median()) > 3 * float(plain.effective_sample_size.median())
    # Exact evidence of the chain: sums over each unknown variable between its known neighbours.
    transition = torch.sigmoid(torch.tensor([[2.0, -2.0], [-2.0, 2.0]])).double()
    belief = torch.tensor([0.5, 0.5]).double()
    log_evidence = 0.0
    for t in range(41):
        belief = belief @ transition if t else belief
        if t % 2:
            seen = int(evidence[0, t])
            log_evidence += math.log(belief[seen])
            belief = torch.nn.functional.one_hot(torch.tensor(seen), 2).double()
    assert_means(torch.exp(info.log_evidence - log_evidence)[:, None], 1.0)
    error, plain_error = ((i.log_evidence - log_evidence).abs().mean() for i in (info, plain))
    assert error < 0.5 * plain_error


def test_few_effective_particles_are_a_warning_that_says_what_to_do():
    model = chain(4, 8.0)
    evidence = torch.tensor([[math.nan, math.nan, math.nan, 1.0]]).double()  # half of them will be wrong
    with pytest.warns(UserWarning, match=r"1 of 1 rows only .* of the 6 particles .*num_particles") as caught:
        _, info = model.fill(evidence, seed=0, num_particles=6, return_info=True)
    assert caught[0].filename == __file__
    assert 1 <= float(info.effective_sample_size) < 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fill(evidence, seed=0, num_particles=100)
        model.fill(evidence, seed=0, method="left-to-right")
        model.fill(evidence.flip(1), seed=0, num_particles=2)  # exact


def test_systematic_resampling_copies_in_proportion():
    generator = torch.Generator().manual_seed(0)
    log_weight = torch.randn(5000, 6, generator=generator).double()
    log_weight[:, 2] = -math.inf
    ancestors = systematic_ancestors(log_weight, torch.rand(5000, generator=generator))
    counts = torch.nn.functional.one_hot(ancestors, 6).sum(1)
    share = 6 * torch.softmax(log_weight, 1)
    assert bool((counts >= share.floor()).all() & (counts <= share.ceil()).all())
    assert bool((counts[:, 2] == 0).all())
    assert_means(counts - share, 0.0)
    nothing = systematic_ancestors(torch.full((1, 4), -math.inf).double(), torch.tensor([0.5]))
    assert nothing.tolist() == [[0, 1, 2, 3]]


def test_effective_sizes():
    log_weight = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0], [0.0, -math.inf, -math.inf, -math.inf], [5.0, 5.0, -math.inf, -math.inf]]
    )
    assert torch.allclose(effective_size(log_weight.double()), torch.tensor([4.0, 1.0, 2.0]).double())
    assert effective_size(torch.full((1, 3), -math.inf).double()).tolist() == [0.0]


# ---------------------------------------------------------------- what cannot be


def test_arguments_that_cannot_be_are_one_clear_line():
    model = MODELS["NADE"]()
    x = repeated(3)
    one_line_error(lambda: model.fill(x, MASK.flatten()), "mask", "(6,)", "(3, 2, 3)")
    one_line_error(lambda: model.fill(x, MASK.expand(2, *SHAPE)), "(2, 2, 3)")
    one_line_error(lambda: model.fill(x, MASK * 2), "mask holds 2", "true or 1")
    one_line_error(lambda: model.fill(x, torch.full(SHAPE, math.nan)), "mask holds nan")
    one_line_error(lambda: model.fill(x, [[1]]), "mask", "list")
    one_line_error(lambda: model.fill(x[:, 0]), "(3, 3)")
    one_line_error(lambda: model.fill(x, ~MASK), "known value nan", "[0, 0, 0]", "0 or 1")
    one_line_error(lambda: model.fill(x.nan_to_num() + 1, MASK), "known value 2", "[0, 0, 1]")
    one_line_error(lambda: model.fill(x, method="particle"), "did you mean", "particles")
    one_line_error(lambda: model.fill(x, method="exact"), "row 0", "NADE", "auto")
    one_line_error(lambda: model.fill(x, num_particles=0), "num_particles", "0")
    one_line_error(lambda: model.fill(x, num_samples=0), "num_samples", "0")
    one_line_error(lambda: model.fill(x, temperature=0.0), "temperature")
    one_line_error(lambda: model.fill(x, seed=-1), "seed")
    one_line_error(lambda: model.fill(x, seed=1, generator=torch.Generator()), "seed and generator")
    one_line_error(lambda: model.fill(x, context=torch.tensor([0, 1, 0])), "no context")
