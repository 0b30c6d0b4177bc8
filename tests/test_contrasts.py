"""Autoencoders and the VAE: what they must not offer, what they learn, and bounds that are bounds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import chainrule
from chainrule.contrasts import VAE, Autoencoder, DenoisingAutoencoder, NoDensityError, SparseAutoencoder
from chainrule.errors import ChainruleError
from chainrule.models import FVSBN
from chainrule.training import fit, seeded

QUICK = {"batch_size": 100, "warmup_steps": 10, "ema_decay": 0.99, "seed": 0, "progress": False}


@pytest.fixture(scope="module")
def digits():
    return chainrule.data.load("digits")


def train(model, data, folder, **settings):
    return fit(model, data, folder, **{**QUICK, **settings})


def seeded_model(kind, *arguments, **settings):
    with seeded(0):
        return kind(*arguments, **settings)


def one_line(call, *words):
    with pytest.raises(ChainruleError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# ------------------------------------------------------------------------------ what there is not


@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder, SparseAutoencoder])
@pytest.mark.parametrize("name", ["log_prob", "nll", "bits_per_dim", "sample", "fill", "elbo"])
def test_an_autoencoder_has_no_density_and_says_why(kind, name):
    model = kind((4,), code=2, hidden=(3,))
    assert not hasattr(model, name)
    with pytest.raises(NoDensityError, match=f"{kind.__name__} has no {name}: .*chainrule.models") as caught:
        getattr(model, name)
    assert isinstance(caught.value, AttributeError)
    assert isinstance(caught.value, ChainruleError)


def test_a_vae_has_bounds_and_samples_but_no_likelihood():
    model = VAE((4,), code=2, hidden=(3,))
    for name in ("log_prob", "nll", "bits_per_dim", "log_prob_per_variable"):
        assert not hasattr(model, name)
        with pytest.raises(NoDensityError, match=r"elbo\(x\) and importance_bound\(x, k\) are lower bounds"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = model.nonsense


def test_they_are_no_models_of_the_evaluation(digits):
    with pytest.raises(ChainruleError):
        chainrule.evaluate(Autoencoder(digits.event_shape, code=2, hidden=(3,)), digits)


# ------------------------------------------------------------------------------ a VAE that can be integrated


def tiny_vae(prior="normal", decoder="independent"):
    """One number of code, three binary variables that depend on it strongly; an encoder that is off."""
    with seeded(3):
        model = VAE(
            (3,), code=1, hidden=(6,), prior=prior, prior_hidden=4, decoder=decoder, decoder_hidden=8
        ).double()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            noise = torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
            weights.copy_(weights + (0.3 if "posterior" in name or "prior" in name else 1.0) * noise)
    return model


KINDS = list(itertools.product(["normal", "made"], ["independent", "made"]))
ALL_X = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)


def integrated(model):
    """log p(x) and E_q[log w] of all 8 x, by quadrature over the code."""
    z = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    step = (z[1] - z[0]).item()
    with torch.no_grad():
        log_prior = model.log_prior(z[:, None])
        log_p, elbo = [], []
        for x in ALL_X:
            log_joint = log_prior + model.log_decoder(x.expand(len(z), 3), z[:, None])
            log_p.append(log_joint.logsumexp(0) + math.log(step))
            mean, scale = model.posterior(x[None])
            log_q = -0.5 * ((z - mean[0]) / scale[0]).square() - scale[0].log() - 0.5 * math.log(2 * math.pi)
            elbo.append((log_q.exp() * (log_joint - log_q)).sum() * step)
    return torch.stack(log_p), torch.stack(elbo)


@pytest.mark.parametrize(("prior", "decoder"), KINDS)
def test_the_bounds_lie_in_order_below_the_likelihood(prior, decoder):
    """elbo = L_1 < L_4 < L_32 <= log p(x), where log p(x) is integrated and sums to 1 over all x."""
    model = tiny_vae(prior, decoder)
    log_p, elbo = integrated(model)
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (elbo < log_p).all()
    repeats = 4000
    x = ALL_X.repeat_interleave(repeats, 0)

    def expected(values):
        values = values.view(8, repeats)
        return values.mean(1), 4 * values.std(1) / math.sqrt(repeats)

    estimate, error = expected(model.elbo(x, seed=1))
    assert ((estimate - elbo).abs() < error).all()
    before, above = estimate, 0
    for k in (4, 32):
        bound, error = expected(model.importance_bound(x, k, seed=k))
        assert (bound < log_p + error).all()
        above += int((bound > before + error).sum())
        before = bound
    assert above >= 8  # of 16 rises, so many are beyond what chance explains
    many = model.importance_bound(ALL_X, 200_000, seed=5)
    assert many.tolist() == pytest.approx(log_p.tolist(), abs=0.1)


def test_with_the_same_draws_the_importance_bound_is_never_below():
    """Jensen, example by example."""
    model = tiny_vae()
    elbo = model.elbo(ALL_X, num_draws=20, seed=2)
    assert (model.importance_bound(ALL_X, 20, seed=2) >= elbo - 1e-12).all()
    assert torch.equal(model.importance_bound(ALL_X, 1, seed=2), model.elbo(ALL_X, seed=2))
    assert torch.equal(model.elbo(ALL_X, seed=2), model.elbo(ALL_X, seed=2))


def test_drawing_codes_in_parts_changes_nothing(monkeypatch):
    model = tiny_vae()
    whole = model.importance_bound(ALL_X, 50, seed=3)
    monkeypatch.setattr("chainrule.contrasts.vae._MOST_NUMBERS", 100)
    assert torch.allclose(model.importance_bound(ALL_X, 50, seed=3), whole, atol=1e-12)


@pytest.mark.parametrize(("prior", "decoder"), KINDS)
def test_samples_are_those_of_the_integrated_law(prior, decoder):
    model = tiny_vae(prior, decoder)
    log_p, _ = integrated(model)
    count = 20_000
    drawn = model.sample(count, seed=4)
    numbers = (drawn @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()
    found = torch.bincount(numbers, minlength=8) / count
    error = 5 * (log_p.exp() * (1 - log_p.exp()) / count).sqrt()
    assert ((found - log_p.exp()).abs() < error).all()
    assert torch.equal(model.sample(5, seed=4), model.sample(5, seed=4))


@pytest.mark.parametrize("prior", ["normal", "made"])
def test_training_minimises_the_negative_elbo(prior):
    """The closed form of the divergence agrees with the draws, and the loss has gradients everywhere."""
    model = tiny_vae(prior)
    _, elbo = integrated(model)
    x = ALL_X.repeat_interleave(4000, 0)
    loss = model.training_loss(x, None, torch.Generator().manual_seed(0)).view(8, -1)
    error = 4 * loss.std(1) / math.sqrt(4000)
    assert ((loss.mean(1) + elbo).abs() < error + 1e-9).all()
    loss.mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.to_posterior.parameters())


# ------------------------------------------------------------------------------ training


def test_an_autoencoder_trains_saves_and_comes_back(digits, tmp_path):
    model = seeded_model(Autoencoder, digits.event_shape, code=16, hidden=(64,))
    x = digits.test.float()
    before = model.reconstruction_loss(x).mean()
    run = train(model, digits, tmp_path / "run", epochs=15)
    after = model.reconstruction_loss(x)
    assert after.mean() < 0.6 * before
    assert run.is_finished
    again = Autoencoder.from_pretrained(tmp_path / "run")
    assert torch.equal(again.reconstruction_loss(x), after)
    assert (tmp_path / "run" / "model.safetensors").exists()
    with pytest.raises(ChainruleError, match=r"Autoencoder\.from_pretrained"):
        chainrule.load(tmp_path / "run")
    codes = again.encode(x)
    assert again.decode(codes).shape == x.shape
    assert again.decode(codes).min() >= 0
    assert again.decode(codes).max() <= 1


def test_codes_of_neighbours_share_their_labels(digits, tmp_path):
    """Image search: the nearest code among the training images has the right label far above chance."""
    model = seeded_model(Autoencoder, digits.event_shape, code=16, hidden=(64,), code_activation="linear")
    train(model, digits, tmp_path / "run", epochs=25)
    with torch.no_grad():
        distances = torch.cdist(model.encode(digits.test.float()), model.encode(digits.train.float()))
    nearest = digits.labels["train"][distances.argmin(1)]
    assert (nearest == digits.labels["test"]).double().mean() > 0.6


def test_a_denoising_autoencoder_takes_noise_away(digits, tmp_path):
    model = seeded_model(
        DenoisingAutoencoder,
        digits.event_shape,
        code=64,
        hidden=(128,),
        corruption=0.2,
        code_activation="relu",
    )
    train(model, digits, tmp_path / "run", epochs=25, learning_rate=3e-3)
    clean = digits.test.float()
    noisy = model.corrupted(clean, torch.Generator().manual_seed(1))
    assert (noisy != clean).double().mean().item() == pytest.approx(0.1, abs=0.02)
    restored = DenoisingAutoencoder.from_pretrained(tmp_path / "run").reconstruct(noisy)
    assert (restored - clean).square().mean() < 0.9 * (noisy - clean).square().mean()


def test_a_sparse_autoencoder_is_sparse(digits, tmp_path):
    plain = seeded_model(Autoencoder, digits.event_shape, code=64, hidden=())
    sparse = seeded_model(SparseAutoencoder, digits.event_shape, code=64, hidden=(), sparsity=0.05)
    for name, model in (("plain", plain), ("sparse", sparse)):
        train(model, digits, tmp_path / name, epochs=15)
    x = digits.test.float()
    again = SparseAutoencoder.from_pretrained(tmp_path / "sparse")
    assert again.encode(x).mean() < 0.12 < 0.3 < plain.encode(x).mean()
    assert again.penalty == sparse.penalty


def test_the_penalty_is_the_divergence_and_survives_saturation():
    model = SparseAutoencoder((4,), code=3, hidden=(), sparsity=0.1, penalty=2.0).double()
    x = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]], dtype=torch.float64)
    loss = model.training_loss(x, None, torch.Generator())
    mean = model.encode(x).mean(0)
    penalty = (0.1 * (0.1 / mean).log() + 0.9 * (0.9 / (1 - mean)).log()).sum()
    expected = model.reconstruction_loss(x) + 2.0 * penalty
    assert loss.tolist() == pytest.approx(expected.tolist(), rel=1e-10)
    with torch.no_grad():
        model.encoder[0].bias.fill_(800.0)
    loss = model.training_loss(x, None, torch.Generator()).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_vae_trains_resumes_and_comes_back(digits, tmp_path):
    def fresh():
        return seeded_model(VAE, digits.event_shape, code=8, hidden=(64,))

    model = fresh()
    x = digits.test.float()
    before = model.elbo(x).mean()
    run = train(model, digits, tmp_path / "run", epochs=15)
    assert model.elbo(x).mean() > before + 15
    assert run.metrics()[-1]["validation_elbo"] == -run.metrics()[-1]["validation_nll"]
    again = VAE.from_pretrained(tmp_path / "run")
    assert torch.equal(again.elbo(x), model.elbo(x))
    assert torch.equal(again.sample(3, seed=1), model.sample(3, seed=1))
    assert set(again.sample(3, seed=1).unique().tolist()) <= {0.0, 1.0}
    # A finished run is taken up, not trained again.
    other = fresh()
    train(other, digits, tmp_path / "run", epochs=15, resume=True)
    assert torch.equal(other.elbo(x), model.elbo(x))


def test_an_autoregressive_prior_raises_the_bound(digits, tmp_path):
    """On the same encoder and decoder: the codes of digits are no standard normal."""
    fixed = seeded_model(VAE, digits.event_shape, code=8, hidden=(64,))
    train(fixed, digits, tmp_path / "fixed", epochs=15)
    learned = seeded_model(VAE, digits.event_shape, code=8, hidden=(64,), prior="made")
    learned.to_posterior.load_state_dict(fixed.to_posterior.state_dict())
    learned.to_params.load_state_dict(fixed.to_params.state_dict())
    for part in (learned.to_posterior, learned.to_params):
        part.requires_grad_(False)
    train(learned, digits, tmp_path / "learned", epochs=30)
    x = digits.test.float()
    gain = learned.elbo(x, num_draws=50) - fixed.elbo(x, num_draws=50)
    assert gain.mean() > 3 * gain.std() / math.sqrt(len(gain))


def test_random_codes_of_an_autoencoder_are_no_digits_and_those_of_a_vae_nearly(digits, tmp_path):
    """The lecture's experiment (line 3780), judged by an exact model: an FVSBN trained on the digits."""
    judge = seeded_model(FVSBN, digits.event_shape)
    train(judge, digits, tmp_path / "judge", epochs=30)
    plain = seeded_model(Autoencoder, digits.event_shape, code=8, hidden=(64,), code_activation="linear")
    vae = seeded_model(VAE, digits.event_shape, code=8, hidden=(64,))
    for name, model in (("plain", plain), ("vae", vae)):
        train(model, digits, tmp_path / name, epochs=30)
    codes = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    decoded = (plain.decode(codes) > 0.5).float()
    real = judge.nll(digits.test.float()).mean()
    own = judge.nll(judge.sample(300, seed=1)).mean()
    of_vae = judge.nll((vae.decode(codes) > 0.5).float()).mean()
    of_plain = judge.nll(decoded).mean()
    assert of_plain > real + 10
    assert of_plain > of_vae + 10
    assert own < real + 5


# ------------------------------------------------------------------------------ bad input


def test_bad_input_is_one_line(digits, tmp_path):
    one_line(lambda: Autoencoder((4,), loss="crossentropy"), "crossentropy", "cross-entropy")
    one_line(lambda: Autoencoder((4,), levels=None), "squared-error")
    one_line(lambda: Autoencoder((4,), activation="gelu"), "gelu")
    one_line(lambda: Autoencoder((4,), code_activation="gelu"), "gelu", "linear")
    one_line(lambda: Autoencoder((4,), code=0), "code")
    one_line(lambda: Autoencoder((4,), code=2).decode(torch.zeros(1, 3)), "(batch, 2)", "(1, 3)")
    one_line(lambda: Autoencoder((4,), code=2).encode(torch.zeros(1, 5)), "(1, 5)")
    one_line(lambda: DenoisingAutoencoder((4,), corruption=1.5), "corruption")
    one_line(lambda: SparseAutoencoder((4,), code_activation="relu"), "sigmoids")
    one_line(lambda: SparseAutoencoder((4,), sparsity=1.0), "sparsity")
    one_line(lambda: VAE((4,), prior="flow"), "flow", "made")
    one_line(lambda: VAE((4,), decoder="conv"), "conv", "independent")
    one_line(lambda: VAE((4,)).importance_bound(torch.zeros(1, 4), 0), "k")
    one_line(lambda: VAE((4,)).elbo(torch.full((1, 4), 0.5)), "0 or 1")
    one_line(lambda: VAE((4,), code=3).decode(torch.zeros(1, 2)), "(batch, 3)")
    greyer = seeded_model(Autoencoder, digits.event_shape, levels=16)
    one_line(lambda: fit(greyer, digits, tmp_path / "run"), "levels=2")


def test_real_values_and_denoising_of_them():
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    model = DenoisingAutoencoder((5,), code=2, hidden=(4,), levels=None, loss="squared-error", corruption=0.5)
    noisy = model.corrupted(x, torch.Generator().manual_seed(1))
    assert (noisy - x).std().item() == pytest.approx(0.5, rel=0.2)
    assert model.training_loss(x, None, torch.Generator().manual_seed(1)).shape == (20,)
    vae = VAE((5,), code=2, hidden=(4,), conditional="gaussian")
    assert vae.elbo(x).isfinite().all()
    assert vae.sample(3, seed=0).shape == (3, 5)
    again = VAE.from_settings(vae.settings())
    assert again.conditional.name == "gaussian"
