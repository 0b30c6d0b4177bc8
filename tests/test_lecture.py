"""docs/lecture.md: its links lead somewhere; and sentences of the lecture that are about no single module."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
import torch

import chainrule
from chainrule.conditionals import Categorical
from chainrule.data import Dataset
from chainrule.examples import EXAMPLES
from chainrule.layers.attention import CausalSelfAttention
from chainrule.models import FVSBN, MADE, AttentionRNN, Transformer
from chainrule.sampling import fixed_point
from chainrule.training import fit, seeded

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
QUICK = {"batch_size": 200, "warmup_steps": 10, "ema_decay": 0.99, "seed": 0, "progress": False}


# ------------------------------------------------------------------------------ the page


def test_every_row_says_what_checks_it_or_why_nothing_does():
    assert len(ROWS) == 113
    assert len({(row[0], row[1]) for row in ROWS}) == 113
    for row in ROWS:
        assert len(row) == 4, row
        assert "](../" in row[3] or "Out of scope: " in row[3] or "Open: " in row[3], row


def test_the_tests_it_names_exist():
    named = re.findall(r"\[`(test_\w+\.py)::(\w+)`\]\(\.\./tests/(\S+?)\)", PAGE)
    assert len(named) > 100
    sources = {file: (ROOT / "tests" / file).read_text(encoding="utf-8") for file, _, _ in named}
    for file, test, path in named:
        assert path == file
        assert re.search(rf"^def {test}\(", sources[file], flags=re.MULTILINE), f"{file}::{test}"


def test_the_examples_and_files_it_names_exist():
    examples = re.findall(r"example \[`([^`]+)`\]", PAGE)
    assert len(examples) > 20
    assert set(examples) <= set(EXAMPLES)
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    for link in links:
        assert (ROOT / "docs" / link).resolve().is_file(), link


# ------------------------------------------------------------------------------ sentences of several topics


def drawn(law, count, seed):
    """Rows of bits from a table of probabilities over all of them, and the rows' bits."""
    bits = torch.tensor(list(itertools.product([0, 1], repeat=int(math.log2(len(law))))))
    picks = torch.multinomial(law, count, replacement=True, generator=torch.Generator().manual_seed(seed))
    return bits[picks].to(torch.uint8), bits.float()


def trained_on(law, model, folder, epochs=20):
    """The expected NLL, under the law itself, of a model that was fitted to draws from it."""
    train, bits = drawn(law, 20_000, 1)
    validation, _ = drawn(law, 5_000, 2)
    data = Dataset(
        "law",
        train=train,
        validation=validation,
        test=None,
        event_shape=train.shape[1:],
        kind="table",
        levels=2,
    )
    fit(model, data, folder, epochs=epochs, **QUICK)
    return (law * model.nll(bits).double()).sum().item()


def entropy(law):
    return -torch.special.xlogy(law, law).sum().item()


def test_a_fitted_model_reaches_the_entropy_of_its_law(tmp_path):
    """Maximum likelihood by gradient: within 0.01 nat, and never below."""
    law = torch.softmax(torch.randn(16, generator=torch.Generator().manual_seed(5), dtype=torch.double), 0)
    with seeded(0):
        model = MADE((4,), hidden=(32,))
    nll = trained_on(law, model, tmp_path / "run")
    assert entropy(law) <= nll < entropy(law) + 0.01


def test_xor_needs_an_interaction(tmp_path):
    """x_3 is the exclusive or of two coins, 19 times of 20: a linear log-odds learns nothing of it."""
    law = torch.zeros(8, dtype=torch.double)
    for a, b, c in itertools.product([0, 1], repeat=3):
        law[4 * a + 2 * b + c] = 0.25 * (0.95 if (a ^ b) == c else 0.05)
    with seeded(0):
        linear, network = FVSBN((3,)), MADE((3,), hidden=(32,))
    assert trained_on(law, linear, tmp_path / "linear") > 3 * math.log(2) - 0.01
    assert trained_on(law, network, tmp_path / "network") < entropy(law) + 0.02


def test_nll_along_sampled_and_true_prefixes(tmp_path):
    """Exposure bias, reported: later pixels given what the model drew itself, and given what is true.

    The model is a little too even, so it wanders to prefixes that no digit has and is less sure after them:
    the lower half costs more after its own upper half than after a true one.
    """
    digits = chainrule.data.load("digits")
    with seeded(0):
        model = FVSBN(digits.event_shape)
    fit(model, digits, tmp_path / "run", epochs=20, **QUICK)
    with torch.no_grad():
        along_true = model.log_prob_per_variable(digits.test.float()).neg().mean(0).flatten()
        along_own = model.log_prob_per_variable(model.sample(2000, seed=1)).neg().mean(0).flatten()
    assert along_true.shape == along_own.shape == (64,)
    assert along_own[32:].sum() > 1.03 * along_true[32:].sum()
    # Its own NLL is the model's entropy: the mean over its conditionals of their own entropies.
    with torch.no_grad():
        p = torch.sigmoid(model(model.sample(2000, seed=2))[..., 0])
    expected = torch.special.entr(p) + torch.special.entr(1 - p)
    assert along_own.sum().item() == pytest.approx(expected.flatten(1).sum(1).mean().item(), rel=0.03)


def test_a_fixed_point_takes_at_most_as_many_sweeps_as_variables():
    """Parallel decoding: n sweeps settle n variables, and one more sees that nothing changes."""
    for seed in range(5):
        with seeded(seed):
            model = MADE((12,), hidden=(40,)).double()
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(8)
        noise = torch.rand(50, 12, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        found, passes = fixed_point(model, noise)
        assert passes <= 13
        assert torch.equal(found, model.sample(noise=noise[..., 0]))


def test_a_sampled_quantile_is_that_of_the_law():
    """Value at risk: returns r_1 ~ N(0, 1), r_2 | r_1 ~ N(r_1 / 2, 1); their sum is N(0, 3.25)."""
    model = FVSBN((2,), conditional="gaussian").double()
    scale = model.conditional.scale(torch.zeros(2, dtype=torch.double)).item()
    with torch.no_grad():
        model.bias.zero_()
        model.weight.zero_()
        model.weight[0] = 0.5
    draws = model.sample(200_000, seed=0).sum(1)
    deviation = scale * math.sqrt(1 + 1.5**2)
    quantile = -1.6448536 * deviation
    # Of a sample's quantile: sqrt(q (1 - q) / n) / density there.
    density = math.exp(-0.5 * 1.6448536**2) / (deviation * math.sqrt(2 * math.pi))
    error = math.sqrt(0.05 * 0.95 / 200_000) / density
    assert abs(torch.quantile(draws, 0.05).item() - quantile) < 4 * error


# ------------------------------------------------------------------------------ parts of a Transformer


def test_one_head_with_identity_projections_is_plain_attention():
    layer = CausalSelfAttention(5, num_heads=1, num_kv_heads=1).double()
    x = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    with torch.no_grad():
        layer.into.weight.copy_(torch.eye(5).repeat(3, 1))
        layer.out.weight.copy_(torch.eye(5))
        scores = x @ x.transpose(1, 2) / math.sqrt(5)
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -math.inf)
        assert torch.allclose(layer(x), scores.softmax(2) @ x, atol=1e-12)


def block():
    with seeded(0):
        model = Transformer((6,), width=8, num_layers=1, num_heads=2, conditional=Categorical(3)).double()
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    return model.blocks[0].eval(), x


@torch.no_grad()
def test_without_attention_permuting_places_permutes_what_comes_out():
    """The feed-forward block works place by place, and with both sublayers at zero nothing is changed."""
    layer, x = block()
    for weights in layer.attention.out.parameters():
        weights.zero_()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    nothing = (None, None, None)  # angles, cache, packed weights
    assert not torch.equal(layer(x, *nothing), x)
    assert torch.allclose(layer(x, *nothing)[:, order], layer(x[:, order], *nothing), atol=1e-12)
    for weights in layer.down.parameters():
        weights.zero_()
    assert torch.equal(layer(x, *nothing), x)


@torch.no_grad()
def test_layer_normalisation_makes_rows_of_mean_0_and_variance_1():
    layer, x = block()
    rows = layer.attention_norm(7 + 3 * x)
    assert torch.allclose(rows.mean(2), torch.zeros(2, 6).double(), atol=1e-7)
    assert torch.allclose(rows.var(2, correction=0), torch.ones(2, 6).double(), atol=1e-4)


@torch.no_grad()
def test_order_matters_to_a_transformer_with_positions():
    """The last place after the same earlier values in two orders: other with positions, the same without."""
    for positions in ("learned", "rotary"):
        with seeded(2):
            model = Transformer(
                (4,), width=8, num_layers=1, num_heads=2, positions=positions, conditional=Categorical(3)
            ).double()
        one, other = (torch.tensor([[*first, 2.0, 0.0]]).double() for first in ([0.0, 1.0], [1.0, 0.0]))
        if positions == "learned":
            generator = torch.Generator().manual_seed(0)
            model.place.weight.copy_(torch.randn(4, 8, generator=generator))
        assert not torch.allclose(model(one)[0, 3], model(other)[0, 3], atol=1e-9)
        if positions == "learned":
            model.place.weight.zero_()
            assert torch.allclose(model(one)[0, 3], model(other)[0, 3], atol=1e-12)


@torch.no_grad()
def test_a_multiplicative_score_with_the_identity_is_a_dot_product():
    generator = torch.Generator().manual_seed(0)
    query, keys = (torch.randn(1, n, 5, generator=generator, dtype=torch.double) for n in (2, 4))
    models = {}
    for kind in ("dot", "multiplicative"):
        models[kind] = AttentionRNN((4,), hidden=5, similarity=kind, conditional=Categorical(2)).double()
    named = dict(models["multiplicative"].named_parameters())
    (only,) = set(named) - {name for name, _ in models["dot"].named_parameters()}
    named[only].copy_(torch.eye(5))
    assert torch.allclose(models["multiplicative"].scores(query, keys), models["dot"].scores(query, keys))
