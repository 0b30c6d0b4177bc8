"""What people do with image models: super-resolution, texture, denoising, maps; against exact enumeration."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from data_helpers import one_line_error

import chainrule as cr
from chainrule import images
from chainrule.conditionals import Categorical
from chainrule.data import Dataset
from chainrule.images.blocks import block_statistic
from chainrule.models import MADE, NADE, Ensemble, GatedPixelCNN, Independent, PixelCNN
from chainrule.training import Run

STATISTICS = ("mean", "rounded-mean", "max", "top-left")


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pixelcnn(shape=(1, 2, 4), levels=2, **settings):
    """A small Gated PixelCNN in double precision whose pixels depend on each other strongly."""
    conditional = "bernoulli" if levels == 2 else Categorical(levels)
    settings = {"features": 8, "num_layers": 2, "kernel_size": 3, "first_kernel_size": 3, **settings}
    model = GatedPixelCNN(shape, head=(8,), conditional=conditional, **settings).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5 if levels == 2 else 1.6)
    return model.eval()


def all_images(shape, levels):
    grid = itertools.product(range(levels), repeat=math.prod(shape))
    return torch.tensor(list(grid), dtype=torch.float64).view(-1, *shape)


def posterior_mean(log_weight, x):
    weight = torch.softmax(log_weight, 0)
    return (weight.view(-1, *[1] * (x.ndim - 1)) * x).sum(0)


# ------------------------------------------------------------------------------ super-resolution


def test_each_statistic_by_hand():
    x = torch.tensor([[[0.0, 1, 5, 5], [2, 3, 5, 7]]])
    expected = {"mean": [1.5, 5.5], "rounded-mean": [2, 6], "max": [3, 7], "top-left": [0, 5]}
    for statistic, low in expected.items():
        assert images.downsample(x, 2, statistic).tolist() == [[low]]


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_super_resolution_converges_to_the_true_conditional(statistic, levels):
    model, everything = pixelcnn(levels=levels), all_images((1, 2, 4), levels)
    log_prob = model.log_prob(everything).detach()
    ink = [[0.0, 0, 1, 0], [0, 0, 1, 1]] if statistic == "max" else [[0.0, 0, 1, 0], [0, 1, 0, 1]]
    low = images.downsample(torch.tensor([[ink]], dtype=torch.float64), 2, statistic)
    fits = (images.downsample(everything, 2, statistic) == low).flatten(1).all(1)
    drawn, info = images.super_resolve(
        model, low, statistic=statistic, num_samples=400, num_particles=20_000, seed=0, return_info=True
    )
    assert torch.equal(images.downsample(drawn[0], 2, statistic), low.expand(400, -1, -1, -1))
    exact = posterior_mean(log_prob[fits], everything[fits])
    # At least five standard errors: effectively a thousand particles or more; filling in gives 400 draws.
    tolerance = (0.08 if statistic != "top-left" else 0.13) * (levels - 1)
    assert (info.mean[0] - exact).abs().max() < tolerance
    prior = posterior_mean(log_prob, everything)
    assert (prior - exact).abs().max() > 1.5 * tolerance  # so that ignoring `low` would be noticed
    assert abs(float(info.log_evidence) - float(log_prob[fits].logsumexp(0))) < 0.15


@pytest.mark.parametrize("ordering", ["reversed", "column"])
def test_super_resolution_in_other_orderings_and_colours(ordering):
    model = pixelcnn((2, 4, 2), levels=4, ordering=ordering)
    x = model.sample(6, seed=1)
    for statistic in STATISTICS:
        low = images.downsample(x, 2, statistic)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = images.super_resolve(model, low, statistic=statistic, num_particles=8, seed=0)
        assert drawn.shape == x.shape
        assert torch.equal(images.downsample(drawn, 2, statistic), low)


def test_super_resolution_of_an_untrained_model_of_256_levels_is_exact_too():
    model = PixelCNN((1, 4, 4), features=4, num_blocks=1, head=(), conditional=Categorical(256))
    x = torch.randint(256, (3, 1, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    for statistic in ("mean", "rounded-mean", "max"):
        low = images.downsample(x, 4, statistic)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = images.super_resolve(model, low, statistic=statistic, num_particles=16, seed=0)
        assert torch.equal(images.downsample(drawn, 4, statistic), low)


@pytest.mark.parametrize("name", ["mean", "rounded-mean", "max"])
@pytest.mark.parametrize(("levels", "size"), [(2, 4), (3, 3)])
def test_a_chance_is_zero_just_where_the_statistic_is_out_of_reach(name, levels, size):
    kind = block_statistic(name)(levels, size)
    targets = torch.arange(-4, 4 * size * levels, dtype=torch.float64) / size
    for drawn in range(size + 1):
        for start in itertools.product(range(levels), repeat=drawn):
            ends = itertools.product(range(levels), repeat=size - drawn)
            reached = {float(kind.of(torch.tensor([*start, *end], dtype=torch.float64))) for end in ends}
            so_far = kind.so_far(torch.tensor(start, dtype=torch.float64))
            chance = kind.log_chance(so_far, targets, size - drawn).exp()
            for target, value in zip(targets.tolist(), chance.tolist(), strict=True):
                assert (value > 0) == any(abs(target - r) < 1e-9 for r in reached)
                assert drawn < size or value in (0.0, pytest.approx(1.0))


def test_a_model_trained_on_low_resolution_contexts(tmp_path):
    bits = torch.randint(2, (600, 1, 2, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    data = Dataset("bits", bits[:500], bits[500:], bits[500:], (1, 2, 4), "image", 2)
    pairs = images.super_resolution_data(data, 2)
    assert pairs.contexts["train"].shape == (500, 2)
    model = MADE((1, 2, 4), hidden=(64,), context_size=2)
    cr.fit(model, pairs, out=tmp_path / "run", epochs=30, batch_size=50, progress=False)
    # By counting: -log p(block | its mean) is log of how many blocks have that mean.
    ways = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
    sums = (4 * images.downsample(bits[500:].float(), 2)).long()
    best = ways[sums].log().flatten(1).sum(1).mean().item()
    nll = cr.evaluate(model, pairs).nll
    assert best < nll < 8 * math.log(2) - 1  # without the context, nothing is known of fair coins
    low = images.downsample(data.test[:5].float(), 2)
    drawn = images.super_resolve(model, low, seed=0)
    assert torch.equal(images.downsample(drawn, 2), low)
    one_line_error(
        lambda: cr.fit(MADE((1, 2, 4), context_size=3), pairs, out=tmp_path / "x"), "context_size=2"
    )
    assert Run(tmp_path / "run").is_finished
    changed = images.super_resolution_data(data, 2, "max")
    assert cr.training.changed_splits(Run(tmp_path / "run").config, _named(changed, pairs.name)) != []


def _named(data, name):
    object.__setattr__(data, "name", name)
    return data


def test_super_resolution_says_what_is_wrong():
    model = pixelcnn((1, 4, 4))
    one_line_error(lambda: images.super_resolve(model, torch.zeros(1, 1, 3, 3)), "4 / f", "(1, 1, 3, 3)")
    one_line_error(lambda: images.super_resolve(model, torch.zeros(1, 1, 2, 4)), "4 / f")
    one_line_error(lambda: images.super_resolve(model, torch.zeros(0, 1, 2, 2)), "at least one")
    one_line_error(
        lambda: images.super_resolve(model, torch.full((1, 1, 2, 2), 0.3)), "0.3", "[0, 0, 0, 0]", "1/4"
    )
    one_line_error(
        lambda: images.super_resolve(model, torch.full((1, 1, 2, 2), 2.0), statistic="max"), "0..1"
    )
    one_line_error(
        lambda: images.super_resolve(model, torch.full((1, 1, 2, 2), torch.nan), statistic="rounded-mean"),
        "nan",
    )
    one_line_error(lambda: images.super_resolve(model, torch.zeros(1, 1, 2, 2), statistic="men"), "'mean'")
    one_line_error(lambda: images.downsample(torch.zeros(1, 5, 4), 2), "5 x 4", "2 x 2")
    grey = Independent((1, 4, 4), conditional="gaussian")
    one_line_error(lambda: images.super_resolve(grey, torch.zeros(1, 1, 2, 2)), "gaussian", "bernoulli")
    both = Ensemble([pixelcnn((1, 4, 4)), pixelcnn((1, 4, 4))])
    one_line_error(lambda: images.super_resolve(both, torch.zeros(1, 1, 2, 2)), "members")
    one_line_error(
        lambda: images.super_resolve(NADE((16,), hidden=4), torch.zeros(1, 4)), "no model of images"
    )
    with pytest.warns(UserWarning, match="effective number of particles"):
        images.super_resolve(pixelcnn((1, 4, 4)), torch.full((1, 1, 1, 1), 0.5), num_particles=12, seed=0)


# ------------------------------------------------------------------------------ texture


@pytest.mark.parametrize("ordering", ["raster", "reversed", "column"])
@pytest.mark.parametrize("model_class", [PixelCNN, GatedPixelCNN])
def test_with_size_shares_the_network_and_is_a_proper_model(model_class, ordering):
    depth = {"num_blocks": 2} if model_class is PixelCNN else {"num_layers": 2, "kernel_size": 3}
    settings = {"features": 6, "first_kernel_size": 3, "head": (5,), "ordering": ordering, **depth}
    model = model_class((2, 3, 4), **settings).double()
    view = model.with_size((2, 2, 3))
    assert view.event_shape == (2, 2, 3)
    assert next(view.parameters()) is next(model.parameters())
    cr.testing.check_model(view)
    # The same as a model built at that size with these weights.
    built = model_class((2, 2, 3), **settings).double()
    built.load_state_dict(model.state_dict())
    x = built.sample(5, seed=0)
    assert torch.equal(view.log_prob(x), built.log_prob(x))
    assert model.event_shape == (2, 3, 4)
    one_line_error(lambda: model.with_size((3, 3, 4)), "(2, H, W)")


def test_the_distribution_over_canvases_is_what_windows_say():
    """Sliding over a canvas of the patch's size is sampling, and beyond it each pixel has its window's p."""
    model = MADE((1, 3, 4), hidden=(20,)).double()
    patch = images.synthesize_texture(model, (3, 4), 50, seed=3)
    assert torch.equal(patch, model.sample(50, seed=3))
    canvas = images.synthesize_texture(model, (5, 6), 4000, seed=4)
    assert canvas.shape == (4000, 1, 5, 6)
    # Pixel (4, 3): the window's rows 2..4 and columns 1..4 hold it at (2, 2).
    p = torch.sigmoid(model(canvas[:, :, 2:5, 1:5])[:, 0, 2, 2, 0]).detach()
    error = (canvas[:, 0, 4, 3] - p).mean()
    assert abs(error) < 5 * math.sqrt(float((p * (1 - p)).mean()) / 4000)
    # Pixel (0, 5), at the edge: rows 0..2, columns 2..5 hold it at (0, 3).
    p = torch.sigmoid(model(canvas[:, :, 0:3, 2:6])[:, 0, 0, 3, 0]).detach()
    assert abs((canvas[:, 0, 0, 5] - p).mean()) < 5 * math.sqrt(float((p * (1 - p)).mean()) / 4000)


def test_a_texture_learned_from_patches_fills_any_canvas(tmp_path):
    """Diagonal stripes of period 4: a network that has them right repeats them on a larger canvas."""
    rows, columns = torch.arange(40)[:, None], torch.arange(40)
    stripes = ((rows + columns) % 4 < 2).float()
    data = images.patches_of(stripes, (8, 8), count=300, levels=2, seed=0)
    assert data.event_shape == (1, 8, 8)
    assert data.train.shape == (300, 1, 8, 8)
    model = PixelCNN((1, 8, 8), features=12, num_blocks=2, first_kernel_size=5, head=())
    cr.fit(model, data, out=tmp_path / "run", epochs=25, batch_size=30, learning_rate=1e-2, progress=False)
    for method in ("convolutional", "sliding"):
        canvas = images.synthesize_texture(model, (16, 20), 4, method=method, seed=0, temperature=0.5)
        assert canvas.shape == (4, 1, 16, 20)
        # Away from the first rows and columns, where the phase is being chosen.
        again = (canvas[:, 0, 4:, :-1] == canvas[:, 0, 3:-1, 1:]).double().mean()
        opposite = (canvas[:, 0, 4:] != canvas[:, 0, 2:-2]).double().mean()
        assert again > 0.97, method
        assert opposite > 0.95, method
    batch = model.with_size((1, 16, 20)).sample(2, seed=5)
    assert torch.equal(images.synthesize_texture(model, (16, 20), 2, seed=5), batch)


def test_texture_synthesis_says_what_is_wrong():
    model = MADE((1, 3, 4), hidden=(5,))
    one_line_error(lambda: images.synthesize_texture(model, (2, 8)), "2 x 8", "3 x 4")
    one_line_error(lambda: images.synthesize_texture(model, (4, 8), method="convolutional"), "sliding")
    one_line_error(lambda: images.synthesize_texture(model, (4, 8), method="slide"), "'sliding'")
    one_line_error(lambda: images.synthesize_texture(MADE((12,)), (4, 8)), "no model of images")
    turned = MADE((1, 3, 4), hidden=(5,), ordering="reversed")
    one_line_error(lambda: images.synthesize_texture(turned, (4, 8)), "raster", "reversed")
    one_line_error(lambda: images.patches_of(torch.zeros(5, 5), (6, 2)), "6 x 2", "(5, 5)")


# ------------------------------------------------------------------------------ denoising


@pytest.mark.parametrize(
    ("levels", "channel"),
    [
        (2, images.BitFlips(0.2)),
        (2, images.GaussianChannel((0.4, 0.7), means=(0.9, 0.2))),
        (3, images.GaussianChannel(0.8)),
    ],
)
def test_denoising_converges_to_the_exact_posterior(levels, channel):
    model, everything = pixelcnn((1, 2, 4), levels), all_images((1, 2, 4), levels)
    noisy = channel.degrade(everything[[29]], seed=5)
    noisy[0, 0, 0, 3] = torch.nan  # not observed at all
    seen = torch.where(noisy.isnan(), 0.0, channel.log_prob(noisy.nan_to_num(), everything))
    joint = model.log_prob(everything).detach() + seen.flatten(1).sum(1)
    exact = posterior_mean(joint, everything)
    restored = images.denoise(model, noisy, channel, num_particles=6000, num_samples=3000, lag=8, seed=0)
    assert (restored.mean[0] - exact).abs().max() < 0.05 * (levels - 1)
    assert (restored.samples[0].mean(0) - exact).abs().max() < 0.08 * (levels - 1)
    assert abs(float(restored.log_evidence) - float(joint.logsumexp(0))) < 0.08
    prior = posterior_mean(model.log_prob(everything).detach(), everything)
    assert (prior - exact).abs().max() > 0.2  # so that ignoring the observations would be noticed
    # With 3000 draws of 256 images the most probable one is among them.
    if levels == 2:
        assert torch.equal(restored.best[0], everything[joint.argmax()])
        assert torch.equal(restored.estimate[0], (exact > 0.5).double())


@pytest.mark.parametrize("lag", [0, 3])
def test_a_short_lag_forgets_what_comes_later(lag):
    model, everything = pixelcnn((1, 2, 4)), all_images((1, 2, 4), 2)
    channel = images.BitFlips(0.2)
    noisy = everything[[201]]
    log_prob = model.log_prob(everything).detach()
    seen = channel.log_prob(noisy, everything).flatten(1).cumsum(1)
    restored = images.denoise(model, noisy, channel, num_particles=8000, lag=lag, seed=0)
    for t in range(8):
        upto_then = posterior_mean(log_prob + seen[:, min(t + lag, 7)], everything).flatten()[t]
        assert abs(restored.mean.flatten()[t] - upto_then) < 0.04


def test_channels_degrade_as_they_say():
    clean = torch.randint(2, (1, 1, 200, 200), generator=torch.Generator().manual_seed(0)).float()
    noisy = images.BitFlips(0.1).degrade(clean, seed=1)
    assert abs(float(images.bit_error(noisy, clean)) - 0.1) < 0.01
    page = images.GaussianChannel((0.05, 0.1), means=(0.9, 0.2))
    grey = page.degrade(clean, seed=1)
    assert abs(float(grey[clean == 1].mean()) - 0.2) < 0.005
    found = images.GaussianChannel.from_grey(grey)
    assert found.means == pytest.approx((0.9, 0.2), abs=0.01)
    assert found.deviations == pytest.approx((0.05, 0.1), abs=0.01)
    turned = images.GaussianChannel.from_grey(grey, ink_is_dark=False)
    assert turned.means == pytest.approx((0.2, 0.9), abs=0.01)
    assert float(images.psnr(torch.full((1, 4), 0.6), torch.full((1, 4), 0.5))) == pytest.approx(20, abs=1e-4)


def test_denoising_says_what_is_wrong():
    model, flips = pixelcnn((1, 2, 4)), images.BitFlips(0.1)
    one_line_error(lambda: images.denoise(model, torch.zeros(1, 1, 4, 2), flips), "(rows, 1, 2, 4)")
    one_line_error(lambda: images.denoise(model, torch.full((1, 1, 2, 4), 0.3), flips), "0.3", "Gaussian")
    one_line_error(lambda: images.BitFlips(1.0), "below 1")
    one_line_error(lambda: images.GaussianChannel(0.0), "above 0")
    three = images.GaussianChannel(0.1, means=(0, 1, 2))
    one_line_error(lambda: images.denoise(model, torch.zeros(1, 1, 2, 4), three), "2 levels")
    one_line_error(lambda: images.denoise(pixelcnn(levels=3), torch.zeros(1, 1, 2, 4), flips), "3 levels")
    one_line_error(lambda: images.GaussianChannel.from_grey(torch.ones(4, 4)), "one grey value")


@pytest.mark.data
def test_flipped_digits_get_better():
    """Binarized MNIST with a tenth of its bits flipped, and a small NADE trained for seconds."""
    from data_helpers import real_data_folder

    real_data_folder()
    data = cr.data.load("binarized-mnist")
    kept = [
        torch.nn.functional.max_pool2d(part.float(), 2).to(torch.uint8)
        for part in (data.train[:4000], data.validation[:200], data.test[20:32])
    ]
    small = Dataset("small digits", *kept, (1, 14, 14), "image", 2)
    model = NADE((1, 14, 14), hidden=64)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(3):
        for batch in small.train.float().split(100):
            optimiser.zero_grad()
            model.nll(batch).mean().backward()
            optimiser.step()
    clean = small.test.float()
    noisy = images.BitFlips(0.1).degrade(clean, seed=0)
    restored = images.denoise(model, noisy, images.BitFlips(0.1), num_particles=64, seed=1)
    before = images.bit_error(noisy, clean).mean()
    assert images.bit_error(restored.estimate, clean).mean() < 0.65 * before
    assert images.bit_error(restored.best, clean).mean() < before
    assert images.psnr(restored.mean, clean).mean() > images.psnr(noisy, clean).mean() + 2


# ------------------------------------------------------------------------------ maps


def test_surprise_is_the_code_length():
    model = pixelcnn((2, 3, 3), levels=3)
    x = model.sample(4, seed=0)
    bits = images.surprise_bits(model, x)
    assert bits.shape == (4, 3, 3)
    assert torch.allclose(bits.flatten(1).sum(1), model.nll(x).detach() / math.log(2))
    certain = Independent((1, 2, 2))
    certain.params.data.fill_(math.log(3))
    expected = torch.tensor([[2.0, 2 - math.log2(3)], [2.0, 2.0]])
    seen = images.surprise_bits(certain, torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]]))
    assert torch.allclose(seen[0], expected)


def test_receptive_fields_show_the_blind_spot():
    """Of the 2 L (L + 1) pixels in reach of L layers PixelCNN sees all but L (L - 1) / 2."""
    blind = PixelCNN((1, 15, 15), features=8, num_blocks=4, first_kernel_size=3, head=())
    whole = GatedPixelCNN((1, 15, 15), features=8, num_layers=5, kernel_size=3, first_kernel_size=3, head=())
    assert int((images.receptive_field(blind, (9, 7)) > 0).sum()) == 50
    field = images.receptive_field(whole, (9, 7))
    assert int((field > 0).sum()) == 60
    assert float(field[9, 7:].sum() + field[10:].sum()) == 0
    assert field.dtype == torch.float64
    assert next(whole.parameters()).dtype == torch.float32  # the model itself is left alone
    one_line_error(lambda: images.receptive_field(whole, (15, 0)), "row", "14")
    coded = pixelcnn((1, 3, 3), levels=3, one_hot=True)
    one_line_error(lambda: images.receptive_field(coded), "one_hot=False")
