"""Adaptive attacks: exact where they claim it, and stronger than what does not know the defence."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from victim_helpers import LEVELS, grey_digits, some_digits, victim

from chainrule.conditionals import Categorical
from chainrule.contrasts.accuracy import logits_of
from chainrule.errors import ChainruleError
from chainrule.models import FVSBN, Independent, PixelCNN
from chainrule.security import Victim, attack, bpda, joint_attack
from chainrule.security.adaptive import relaxed_log_prob
from chainrule.training import fit, seeded

EPS = 2.0


@functools.cache
def density():
    with seeded(0):
        model = PixelCNN((1, 8, 8), conditional=Categorical(LEVELS), features=8, num_blocks=2, head=(16,))
    with tempfile.TemporaryDirectory() as folder:
        fit(model, grey_digits(), Path(folder) / "run", epochs=8, progress=False)
    return model


def log_p(images):
    return density().log_prob(images.float()).detach()


@functools.cache
def threshold():
    """That flags one clean image in twenty."""
    return torch.quantile(log_p(grey_digits().validation), 0.05).item()


def passes(images, labels):
    """The share of images that are misread and not flagged."""
    misread = logits_of(victim(), images).argmax(1) != labels
    return (misread & (log_p(images) >= threshold())).double().mean().item()


def test_the_relaxed_log_prob_is_exact_and_its_gradient_a_difference_of_levels():
    logits = torch.randn(5, LEVELS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = Independent((5,), conditional=Categorical(LEVELS)).double()
    with torch.no_grad():
        model.params.copy_(logits.reshape(model.params.shape))
    x = torch.tensor([[0.0, 3.0, 8.0, 16.0, 7.0]], dtype=torch.float64)
    near = (x + torch.tensor([[0.2, -0.3, 0.4, -0.1, 0.0]])).requires_grad_()
    value = relaxed_log_prob(model, near)
    torch.testing.assert_close(value, model.log_prob(x))
    value.sum().backward()
    table = torch.log_softmax(logits, 1)
    expected = [
        table[0, 1] - table[0, 0],
        (table[1, 4] - table[1, 2]) / 2,
        (table[2, 9] - table[2, 7]) / 2,
        table[3, 16] - table[3, 15],
        (table[4, 8] - table[4, 6]) / 2,
    ]
    torch.testing.assert_close(near.grad[0], torch.stack(expected))


def test_the_relaxed_gradient_also_goes_through_later_conditionals():
    """The first pixel's gradient is more than its own conditional's."""
    x = some_digits(4)[0].float().requires_grad_()
    relaxed_log_prob(density(), x).sum().backward()
    params = density()(x).detach()
    family, whole = density().conditional, x.detach()
    up, down = (whole + 1).clamp(max=LEVELS - 1), (whole - 1).clamp(min=0)
    own = (family.log_prob(params, up) - family.log_prob(params, down)) / (up - down)
    assert (x.grad - own).abs().max() > 0.01


def test_the_joint_attack_passes_a_detector_that_stops_the_plain_one():
    x, labels = some_digits(40)
    plain = attack("pgd", victim(), x, labels, eps=EPS)
    assert passes(plain, labels) < 0.1
    found = joint_attack(victim(), density(), x, labels, eps=EPS, steps=20, weights=(0.0, 3e-3, 1e-2))
    assert found.images.dtype == x.dtype
    assert (found.images.double() - x.double()).abs().max() <= EPS
    assert found.success_against(threshold()) > passes(plain, labels) + 0.3
    # What it says of its images is so.
    misread = logits_of(victim(), found.images).argmax(1) != labels
    assert torch.equal(found.fooled, misread)
    torch.testing.assert_close(found.log_prob, log_p(found.images), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.clean_log_prob, log_p(x), rtol=1e-4, atol=1e-3)
    assert found.success_against(threshold()) == pytest.approx(passes(found.images, labels))


def test_the_lectures_sign_makes_it_worse():
    """Mistake 16: L - w log p drives log p down; L + w log p, as here, keeps it up."""
    x, labels = some_digits(30)
    none = joint_attack(victim(), density(), x, labels, eps=EPS, steps=15, weights=(0.0,))
    kept = joint_attack(victim(), density(), x, labels, eps=EPS, steps=15, weights=(3e-3,))
    both = none.fooled & kept.fooled
    assert both.sum() > 5
    assert kept.log_prob[both].mean() > none.log_prob[both].mean() + 10


def test_a_joint_attack_can_aim():
    x, labels = some_digits(20)
    targets = (labels + 1) % 10
    found = joint_attack(
        victim(), density(), x, labels, eps=4, steps=10, weights=(0.0, 1e-3), targets=targets
    )
    assert torch.equal(found.fooled, logits_of(victim(), found.images).argmax(1) == targets)
    assert found.success > 0.2


def smooth(images):
    """A purifier that averages over 3 x 3 pixels, in whole levels: it has no derivative that is not 0."""
    padded = nn.functional.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    return nn.functional.avg_pool2d(padded, 3, 1).round().to(images.dtype)


def test_bpda_does_more_to_a_purifier_than_an_attack_that_does_not_know_it():
    x, labels = some_digits(60)
    whole = Victim.wrap(lambda images: victim()(smooth(images)), (1, 8, 8), 10)
    with pytest.raises(ChainruleError, match="no gradients"):
        attack("pgd", whole, x, labels, eps=EPS, levels=LEVELS)
    plain = attack("bim", victim(), x, labels, eps=EPS)
    unaware = (logits_of(whole, plain).argmax(1) != labels).double().mean()
    found = bpda(victim(), smooth, x, labels, eps=EPS)
    assert (found.images.double() - x.double()).abs().max() <= EPS
    assert torch.equal(found.fooled, logits_of(whole, found.images).argmax(1) != labels)
    assert found.success > unaware + 0.05
    assert found.log_prob is None


def test_with_nothing_to_purify_bpda_is_pgd():
    x, labels = some_digits(40)
    found = bpda(victim(), lambda images: images, x, labels, eps=EPS, steps=30)
    plain = attack("pgd", victim(), x, labels, eps=EPS)
    misread = (logits_of(victim(), plain).argmax(1) != labels).double().mean()
    assert found.success >= misread - 0.05


def test_wrong_arguments_are_one_line():
    x, labels = some_digits(4)
    blind = Victim.wrap(lambda images: victim()(images).detach(), (1, 8, 8), 10)
    sure = Victim.wrap(lambda images: victim()(images).softmax(1), (1, 8, 8), 10)
    binary, other = FVSBN((1, 8, 8)), Independent((9,), conditional=Categorical(LEVELS))
    cases = [
        (lambda: joint_attack(blind, density(), x, labels, eps=EPS, levels=LEVELS), "no gradients"),
        (lambda: bpda(blind, smooth, x, labels, eps=EPS, levels=LEVELS), "no gradients"),
        (lambda: joint_attack(victim(), binary, x, labels, eps=EPS), "values 0..16"),
        (lambda: joint_attack(victim(), other, x, labels, eps=EPS), "(9,)"),
        (lambda: joint_attack(victim(), nn.Identity(), x, labels, eps=EPS), "chainrule model"),
        (lambda: joint_attack(victim(), density(), x, labels, eps=EPS, weights=(-1.0,)), "weight"),
        (lambda: joint_attack(victim(), density(), x, labels, eps=EPS, weights=()), "at least one"),
        (lambda: joint_attack(sure, density(), x, labels, eps=EPS, levels=LEVELS), "probabilities"),
        (lambda: joint_attack(victim(), density(), x.flatten(1), labels, eps=EPS), "(64,)"),
        (lambda: bpda(victim(), lambda images: images[:1], x, labels, eps=EPS), "purify must return"),
        (
            lambda: bpda(victim(), smooth, x, labels, eps=EPS, steps=1).success_against(0.0),
            "no density",
        ),
    ]
    for call, word in cases:
        with pytest.raises(ChainruleError) as caught:
            call()
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)
