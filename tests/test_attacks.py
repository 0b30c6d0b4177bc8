"""Attacks: within their ball, on whole levels, at what they aim; transfer; any victim; black boxes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn
from victim_helpers import LEVELS, grey_digits, some_digits, victim

from chainrule.cli.names import ATTACK_NAMES
from chainrule.contrasts import LogisticRegression
from chainrule.contrasts.accuracy import logits_of
from chainrule.contrasts.adversarial import perturbed
from chainrule.errors import ChainruleError
from chainrule.security import ATTACKS, Victim, attack, measure_attack, transfer
from chainrule.security.attack_box import Box, box_of
from chainrule.security.attack_carlini import carlini_l2
from chainrule.training import seeded

#: Few steps for the slow ones.
STEPS = {"cw": 20, "cw-linf": 15, "hop-skip-jump": 2, "square": 60, "deepfool": 20, "pgd": 10}


def one_line(call, *words):
    with pytest.raises(ChainruleError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def size(change, norm):
    flat = change.double().flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


# ---------------------------------------------------------------- the box


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("levels", [256, None])
def test_what_settles_is_in_the_ball_and_can_be_stored(norm, levels):
    generator = torch.Generator().manual_seed(0)
    high = 1.0 if levels is None else 255
    x = (torch.rand(50, 1, 4, 4, generator=generator) * high).round(decimals=0 if levels else 3)
    moved = x + 0.2 * high * torch.randn(x.shape, generator=generator)
    eps = 0.06 * high
    settled = Box(x, eps, norm, levels).settle(moved)
    assert size(settled - x, norm).max() <= eps * (1 + 1e-6)
    assert settled.min() >= 0
    assert settled.max() <= high
    assert levels is None or torch.equal(settled, settled.round())
    # And not much less than allowed: rounding costs little of the ball.
    assert size(settled - x, norm).mean() > 0.8 * eps


def test_an_eps_that_is_no_whole_number_never_rounds_out_of_the_ball():
    x = torch.full((1, 1, 2, 2), 10.0)
    assert Box(x, 1.7, "linf", 256).settle(x + 5).tolist() == (x + 1).tolist()


def test_noise_is_uniform_over_whole_numbers():
    x = torch.full((1, 1, 200, 200), 100.0)
    noise = Box(x, 2.0, "linf", 256).noise(torch.Generator().manual_seed(0)) - x
    values, counts = noise.unique(return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    # Within five standard deviations of a fifth each.
    assert (counts - 8000).abs().max() < 5 * (40000 * 0.2 * 0.8) ** 0.5


# ---------------------------------------------------------------- the attacks


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_stays_in_its_ball_on_whole_levels(name, norm):
    x, labels = some_digits(16)
    eps = {"linf": 2, "l2": 6}[norm]
    moved = attack(name, victim(), x, labels, eps=eps, norm=norm, steps=STEPS.get(name))
    assert moved.dtype == x.dtype
    assert moved.shape == x.shape
    assert moved.max() < LEVELS
    assert size(moved.double() - x.double(), norm).max() <= eps + 1e-9
    assert name == "rand" or not torch.equal(moved, x)


def test_the_stronger_the_attack_the_lower_the_accuracy():
    x, labels = some_digits(100)
    reached = {
        name: measure_attack(victim(), x, attack(name, victim(), x, labels, eps=2), labels).accuracy
        for name in ("rand", "fgsm", "bim", "pgd")
    }
    clean = measure_attack(victim(), x, x, labels)
    assert clean.success == 0
    assert reached["rand"] > clean.accuracy - 0.1
    assert reached["fgsm"] < reached["rand"] - 0.3
    assert max(reached["bim"], reached["pgd"]) <= reached["fgsm"] + 0.02


def test_the_toolbox_takes_the_steps_that_the_training_loop_takes():
    x, labels = some_digits(30)
    target = torch.nn.functional.one_hot(labels, 10).float()
    for name in ("fgsm", "bim"):
        ours = perturbed(
            victim(),
            x.float(),
            target,
            name=name,
            eps=2.0,
            low=0.0,
            high=16.0,
            generator=torch.Generator(),
        )
        theirs = attack(name, victim(), x, labels, eps=2)
        # The sign of a gradient of about 0 may differ by rounding.
        assert (ours.round() == theirs).double().mean() > 0.98, name


def test_on_a_linear_victim_deepfool_goes_straight_to_the_plane():
    with seeded(0):
        line = LogisticRegression((6,), num_classes=2, levels=None)
    x = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    labels = line.predict(x)
    moved = attack("deepfool", line, x, labels)
    z = line(x)[:, 1].detach()
    distance = z.abs() / line.linear.weight.norm()
    inside = ((moved > 1e-6) & (moved < 1 - 1e-6)).all(1) & (distance < 0.3)
    assert inside.sum() >= 3
    # The paper's overshoot and our rounding away from the border: at most a twentieth more.
    found = (moved - x).norm(dim=1)[inside]
    torch.testing.assert_close(found, distance[inside], rtol=0.05, atol=1e-3)


def test_carlini_wagner_moves_black_pixels_too():
    """On black images the nearest misread one of a linear victim is known: straight along its weights."""
    weights = torch.linspace(0.5, 1.5, 64) * 0.05
    line = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        line[1].weight.copy_(torch.stack([torch.zeros(64), weights]))
        line[1].bias.copy_(torch.tensor([1.0, 0.0]))
    x, labels = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.long)
    nearest = 1 / weights.norm()
    found = carlini_l2(Victim.wrap(line, (1, 8, 8), 2), x, labels, 16.0, targeted=False)
    assert bool((line(found).argmax(1) == 1).all())
    assert found.norm() / 2**0.5 < 1.1 * nearest


def test_smallest_changes_are_misread_and_smaller_than_those_of_pgd():
    x, labels = some_digits(24)
    pgd = measure_attack(victim(), x, attack("pgd", victim(), x, labels, eps=3), labels)
    for name in ("deepfool", "cw"):
        found = measure_attack(victim(), x, attack(name, victim(), x, labels, steps=40), labels)
        assert found.success > 0.9, name
        assert found.mean_l2 < pgd.mean_l2, name
    linf = measure_attack(victim(), x, attack("cw-linf", victim(), x, labels, steps=20), labels)
    assert linf.success > 0.8


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "cw", "cw-linf"])
def test_a_target_is_hit_more_often_than_by_chance(name):
    x, labels = some_digits(40)
    moved = attack(name, victim(), x, labels, eps=5, targets=3, steps=STEPS.get(name))
    targets = torch.full_like(labels, 3)
    clean = measure_attack(victim(), x, x, labels, targets).hit
    assert measure_attack(victim(), x, moved, labels, targets).hit > clean + 0.3


def test_without_labels_the_victims_own_answers_are_led_away_from():
    x, _ = some_digits(20)
    own = logits_of(victim(), x).argmax(1)
    assert torch.equal(attack("bim", victim(), x, eps=2), attack("bim", victim(), x, own, eps=2))


def test_the_seed_decides_and_nothing_of_the_caller_is_touched():
    x, labels = some_digits(12)
    model = victim().train()
    next(model.parameters()).grad = marker = torch.ones_like(next(model.parameters()))
    np.random.seed(5)  # noqa: NPY002
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    first = attack("pgd", model, x, labels, eps=2, seed=1)
    assert torch.equal(first, attack("pgd", model, x, labels, eps=2, seed=1))
    assert not torch.equal(first, attack("pgd", model, x, labels, eps=2, seed=2))
    assert not torch.equal(*(attack("rand", model, x, labels, eps=2, seed=s) for s in (1, 2)))
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert model.training
    assert next(model.parameters()).grad is marker
    assert all(p.requires_grad for p in model.parameters())
    next(model.parameters()).grad = None
    model.eval()


def test_transfer_is_a_table_of_makers_and_readers():
    x, labels = some_digits(60)
    found = transfer("bim", {"cnn": victim("cnn"), "mlp": victim("mlp")}, x, labels, eps=2)
    assert found.victims == ("cnn", "mlp")
    made = attack("bim", victim("cnn"), x, labels, eps=2)
    read = measure_attack(victim("mlp"), x, made, labels)
    assert found.accuracy[0][1] == read.accuracy
    assert found.rate[0][1] == read.success
    for own in range(2):
        assert found.rate[own][own] > found.rate[1 - own][own]
    one_line(lambda: transfer("bim", {"cnn": victim()}, x, labels), "two victims")


# ---------------------------------------------------------------- anybody's victims


class ReadsShares(nn.Module):
    """A user's own module: reads 0..1 where the data are 0..16, and knows no shapes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x * 16)


def test_a_module_of_other_units_is_wrapped_and_attacked_just_the_same():
    x, labels = some_digits(20)
    wrapped = Victim.wrap(ReadsShares(victim()), (1, 8, 8), 10, scale=16)
    torch.testing.assert_close(wrapped(x), victim()(x))
    plain = attack("bim", victim(), x, labels, eps=2)
    same = attack("bim", wrapped, x, labels, eps=2, levels=LEVELS)
    assert (plain == same).double().mean() > 0.99
    # A module that reads the units of the data needs no wrapping.
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert attack("bim", module, x, labels, eps=2, levels=LEVELS).shape == x.shape


@pytest.mark.parametrize(
    "blind",
    [
        lambda x: victim()(x).detach(),
        lambda x: nn.functional.one_hot(victim()(x).argmax(1), 10).float(),
        lambda x: victim()((x / 4).round() * 4),
        lambda x: victim()(x).detach().numpy().tolist(),
    ],
    ids=["detached", "labels-only", "rounded", "lists"],
)
def test_a_victim_without_gradients_is_a_black_box_and_says_so(blind):
    x, labels = some_digits(12)
    wrapped = Victim.wrap(blind, (1, 8, 8), 10)
    for name in ("fgsm", "pgd", "deepfool", "cw"):
        one_line(
            lambda name=name: attack(name, wrapped, x, labels, eps=2, levels=LEVELS),
            f"no gradients, which {name} needs",
            "black box: rand, square, hop-skip-jump",
        )
    before = (logits_of(wrapped, x).argmax(1) == labels).double().mean()
    moved = attack("square", wrapped, x, labels, eps=3, levels=LEVELS, steps=100)
    assert (logits_of(wrapped, moved).argmax(1) == labels).double().mean() < before


def test_a_victim_of_probabilities_is_refused_where_logits_are_needed():
    """Their gradients vanish where it is sure, so that an attack on them would find little."""
    x, labels = some_digits(8)
    sure = Victim.wrap(lambda x: victim()(x).softmax(1), (1, 8, 8), 10)
    for name in ("bim", "cw"):
        one_line(
            lambda name=name: attack(name, sure, x, labels, eps=2, levels=LEVELS), "leave out its softmax"
        )
    assert attack("rand", sure, x, labels, eps=2, levels=LEVELS).shape == x.shape
    logs = Victim.wrap(lambda x: victim()(x).log_softmax(1), (1, 8, 8), 10)
    assert torch.equal(
        attack("bim", logs, x, labels, eps=2, levels=LEVELS), attack("bim", victim(), x, labels, eps=2)
    )


# ---------------------------------------------------------------- mistakes


def test_a_missing_toolbox_is_one_line(monkeypatch):
    x, labels = some_digits(4)
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)
    one_line(lambda: attack("bim", victim(), x, labels), 'pip install "chainrule[detect]"')
    assert attack("rand", victim(), x, labels).shape == x.shape


def test_wrong_arguments_are_one_line():
    x, labels = some_digits(5)
    cnn, grey = victim(), {"levels": LEVELS}
    one_line(lambda: attack("bmi", cnn, x, labels), "'bmi'", "'bim'")
    one_line(lambda: attack("bim", cnn, x, labels, norm="l3"), "norm 'l3'")
    one_line(lambda: attack("bim", cnn, x.flatten(1), labels), "(1, 8, 8)", "(64,)")
    one_line(lambda: attack("bim", cnn, x, labels[:3]), "(5,)", "(3,)")
    one_line(lambda: attack("bim", cnn, x, labels + 5), "labels are", "10 classes")
    one_line(lambda: attack("bim", cnn, x, targets=11), "targets are 11..11", "0..9")
    one_line(lambda: attack("deepfool", cnn, x, targets=1), "deepfool cannot aim", "fgsm")
    one_line(lambda: attack("bim", cnn, x, labels, eps=0.03), "eps=0.03", "level")
    one_line(lambda: attack("bim", cnn, x, labels, eps=-1), "eps must be")
    one_line(lambda: attack("bim", cnn, x.float() / 16, labels), "0..1", "multiply them by 16")
    one_line(lambda: attack("bim", cnn, x.float() + 3.0, labels), "expected whole numbers 0..16")
    one_line(lambda: attack("bim", cnn, x.float() * torch.nan, labels), "NaN")
    one_line(lambda: attack("bim", cnn, x[:0]), "at least one")
    one_line(lambda: transfer("rand", {"a": cnn, "b": cnn}, x[:0], labels[:0]), "at least one")
    one_line(lambda: measure_attack(nn.Linear(3, 2), x, x, labels), "cannot read images")
    one_line(lambda: attack("bim", 7, x, **grey), "torch.nn.Module", "int")
    one_line(
        lambda: attack("bim", nn.Linear(3, 2), x, **grey), "Linear cannot read images of shape (1, 1, 8, 8)"
    )
    one_line(lambda: attack("bim", nn.Flatten(0), x, **grey), "logits of shape (batch, classes)")
    wrong = Victim.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (1, 8, 8), 9)
    one_line(lambda: attack("bim", wrong, x, **grey), "logits of shape (batch, 9)", "(5, 10)")
    one_line(lambda: box_of(x, 2, "linf", 1), "levels")


def test_names_known_without_torch_are_all():
    assert tuple(ATTACK_NAMES) == tuple(ATTACKS)
    assert grey_digits().levels == LEVELS
