"""Purification: sequential as published, whatever the model, the ordering and the family."""

from __future__ import annotations

import math

import pytest
import torch
from data_helpers import one_line_error
from security_helpers import LEVELS, Copycat, grey_digits, noisy, trained

from chainrule.conditionals import Categorical, DiscretizedLogisticMixture
from chainrule.models import MADE, DeepNADE, GatedPixelCNN, PixelCNN
from chainrule.security import purify, purify_by_gradient


def one_pass(model, images, eps):
    """What a well-known toolbox does: all maxima from one pass over the attacked image."""
    levels = model.conditional.support()
    log_p = model.conditional.log_prob(model(images)[..., None, :], levels)
    outside = (levels - images[..., None]).abs() > eps
    return log_p.masked_fill(outside, -math.inf).argmax(-1).to(images)


def by_definition(model, image, eps):
    """One image, variable by variable, in plain Python."""
    x = model.to_sequence(image[None]).clone()
    for t in range(model.num_variables):
        params = model.to_sequence(model(model.from_sequence(x)))[0, t]
        family, at = model.conditional_at(t), x[0, t].item()
        within = [v for v in family.support().tolist() if abs(v - at) <= eps]
        costs = [-family.log_prob(params, torch.tensor(v).to(x)).item() for v in within]
        x[0, t] = min(zip(costs, within, strict=True))[1]
    return model.from_sequence(x)[0]


def random_model(kind, conditional, **more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind in (MADE, DeepNADE):
            model = kind((6,), hidden=(12,), conditional=conditional, **more)
        else:
            small = {"features": 6, "kernel_size": 3, "first_kernel_size": 3, "head": (8,)}
            depth = {"num_layers": 2} if kind is GatedPixelCNN else {"num_blocks": 1}
            model = kind((3, 3, 2), **small, **depth, conditional=conditional, **more)
        for p in model.parameters():
            p.data.add_(torch.randn_like(p), alpha=0.4)
    return model.double().eval()


# ---------------------------------------------------------------- the method


@pytest.mark.parametrize("method", ["incremental", "naive"])
def test_each_pixel_is_conditioned_on_purified_ones(method):
    """Pixel 1 is 6, most probably 4; pixel 2 copies it. Within 2, pixel 1 becomes 4, and pixel 2 follows."""
    model, attacked = Copycat(favourite=4), torch.tensor([[6.0, 6.0]])
    assert purify(model, attacked, 2, method=method).tolist() == [[4.0, 4.0]]
    assert one_pass(model, attacked, 2).tolist() == [[4.0, 6.0]]


def test_the_ordering_of_the_model_is_kept():
    model = Copycat((3,), favourite=0, ordering="reversed")
    assert purify(model, torch.tensor([[3.0, 3.0, 2.0]]), 1).tolist() == [[2.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (MADE, {}),
        (MADE, {"ordering": "random:5"}),
        (DeepNADE, {"ordering": "reversed"}),
        (PixelCNN, {}),
        (GatedPixelCNN, {}),
        (GatedPixelCNN, {"ordering": "column"}),
    ],
)
@pytest.mark.parametrize("family", [Categorical(9), DiscretizedLogisticMixture(9, 3)])
def test_it_is_the_pass_by_pass_search(kind, more, family):
    model = random_model(kind, family, **more)
    source = torch.Generator().manual_seed(0)
    images = torch.randint(9, (5, *model.event_shape), generator=source).double()
    found = purify(model, images, 2, batch_size=3)
    assert torch.equal(found, purify(model, images, 2, method="naive"))
    expected = torch.stack([by_definition(model, image, 2) for image in images])
    assert torch.equal(found, expected)
    assert not torch.equal(found, images)


def test_a_class_conditional_model_is_given_its_labels():
    model = random_model(MADE, Categorical(9), context_size=3)
    images = torch.full((3, 6), 4.0).double()
    found = purify(model, images, 4, context=torch.tensor([0, 1, 2]), batch_size=2)
    alone = [purify(model, images[:1], 4, context=torch.tensor([label])) for label in range(3)]
    assert torch.equal(found, torch.cat(alone))
    assert len({tuple(row) for row in found.tolist()}) > 1


def test_the_box_is_never_left():
    images = noisy(grey_digits().test[:40], 3)
    for eps in (0, 1, 4, 100):
        moved = (purify(trained(), images, eps).int() - images.int()).abs()
        assert moved.max() <= eps
    assert torch.equal(purify(trained(), images, 0), images)
    assert purify(trained(), images, 4).dtype == images.dtype


def test_ties_go_to_the_nearest_and_then_the_lower_value():
    uniform = MADE((2,), hidden=(3,), conditional=Categorical(9))
    for p in uniform.parameters():
        torch.nn.init.zeros_(p)
    images = torch.tensor([[0.0, 8.0], [3.0, 4.0]])
    assert torch.equal(purify(uniform, images, 3), images)


# ---------------------------------------------------------------- what may stay


def test_usual_images_stay_as_they_are():
    images = torch.cat([grey_digits().test[:10], noisy(grey_digits().test[10:20], 2)])
    log_prob = trained().log_prob(images).detach()
    middle = float(log_prob.median())
    found = purify(trained(), images, 2, least_log_prob=middle)
    stays = log_prob.double() >= middle
    assert torch.equal(found[stays], images[stays])
    assert torch.equal(found[~stays], purify(trained(), images[~stays], 2))
    assert not torch.equal(found[~stays], images[~stays])


def test_only_pixels_that_cost_enough_move():
    """Pixel 1 costs about 5 bits at 8 and 1 at 4: the cheap one stays though 4 is not its best value."""
    model = Copycat(favourite=5)
    cost = -model.log_prob_per_variable(torch.tensor([[8.0, 8.0], [6.0, 6.0]]))[:, 0] / math.log(2)
    assert cost[0] > 3 > cost[1]
    found = purify(model, torch.tensor([[8.0, 8.0], [6.0, 6.0]]), 3, bits=3.0)
    assert found.tolist() == [[5.0, 5.0], [6.0, 6.0]]
    assert purify(model, torch.tensor([[6.0, 6.0]]), 3).tolist() == [[5.0, 5.0]]


# ---------------------------------------------------------------- what it is worth


def test_noise_is_removed_and_log_p_rises():
    clean = grey_digits().test[:100]
    attacked = noisy(clean, 2)
    found = purify(trained(), attacked, 2)
    before, after = (trained().log_prob(x).mean() for x in (attacked, found))
    assert after > before + 50
    distance = [(x.int() - clean.int()).abs().double().mean() for x in (attacked, found)]
    assert distance[1] < distance[0]


def test_gradient_ascent_climbs_within_the_box():
    model = trained("discretized_logistic_mixture")
    images = noisy(grey_digits().test[:16], 2)
    found = purify_by_gradient(model, images, 2, steps=60)
    assert (found.int() - images.int()).abs().max() <= 2
    assert found.dtype == images.dtype
    gained = model.log_prob(found) - model.log_prob(images)
    assert bool((gained >= 0).all())
    assert gained.mean() > 3


# ---------------------------------------------------------------- mistakes


def test_mistakes_are_one_line():
    images, model = grey_digits().test[:4], trained()
    one_line_error(lambda: purify(model, images.float() / 16, 2), "0-1", "0..16", "multiply by 16")
    one_line_error(lambda: purify(model, images.float() - 3, 2), "standardised")
    one_line_error(lambda: purify(model, images.float() + 0.5, 2), "round")
    one_line_error(lambda: purify(model, images[:, 0], 2), "(batch, 1, 8, 8)")
    one_line_error(lambda: purify(model, images, 1.5), "eps", "1.5")
    one_line_error(lambda: purify(model, images, -1), "eps", "-1")
    one_line_error(lambda: purify(model, images, 1, method="fast"), "incremental", "naive")
    continuous = MADE((4,), hidden=(3,), conditional="gaussian")
    one_line_error(lambda: purify(continuous, torch.zeros(2, 4), 1), "gaussian", "levels")
    one_line_error(lambda: purify(DeepNADE((4,), hidden=(3,)).ensemble(2), torch.zeros(2, 4), 1), "ordering")
    codes = GatedPixelCNN(
        (1, 8, 8), features=4, num_layers=1, head=(4,), conditional=Categorical(LEVELS), one_hot=True
    )
    one_line_error(lambda: purify_by_gradient(codes, images, 1), "gradient", "greedy")
