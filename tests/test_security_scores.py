"""Scores of images beside log p(x): what each computes, and that all share one pass."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from PIL import Image
from security_helpers import LEVELS, grey_digits, noisy, trained

from chainrule.data import binarize
from chainrule.detection import auroc
from chainrule.security import (
    SCORES,
    DensityOfStates,
    InputComplexity,
    LikelihoodRatio,
    Passed,
    PeakSurprise,
    Typicality,
    combine_p_values,
    mutated,
    mutated_dataset,
    pass_over,
)
from chainrule.security.combining import _harmonic_factor
from chainrule.security.complexity import CODECS, available_codecs, code_bits
from chainrule.security.registry import resolve_score


def passed(images, background=None):
    return pass_over(trained(), images, background)


def of_log_prob(log_prob, background=None):
    """A pass that never was, with these likelihoods."""
    count = len(log_prob)
    other = None if background is None else np.asarray(background, dtype=float)
    return Passed(
        torch.zeros(count, 1, 2, 2), 2, np.asarray(log_prob, float), torch.zeros(count, 1, 2, 2), other
    )


def separation(score, usual, odd):
    scores = np.r_[score.score(usual), score.score(odd)]
    return auroc(scores, np.r_[np.zeros(len(usual)), np.ones(len(odd))])


# ---------------------------------------------------------------- mutations


def test_mutations_are_uniform_and_of_the_rate_asked_for():
    images = torch.full((200, 1, 20, 20), 7, dtype=torch.uint8)
    found = mutated(images, 0.3, 16, torch.Generator().manual_seed(0))
    assert found.dtype == torch.uint8
    assert int(images.min()) == 7  # the original is left alone
    counts = torch.bincount(found.flatten().int(), minlength=16).double() / found.numel()
    expected = torch.full((16,), 0.3 / 16, dtype=torch.double)
    expected[7] += 0.7
    # 80,000 pixels: five standard deviations of each share.
    assert torch.all((counts - expected).abs() < 5 * (expected * (1 - expected) / 80_000).sqrt())
    assert torch.equal(mutated(images, 0.0, 16, torch.Generator()), images)


def test_a_mutated_data_set_is_one_to_train_on():
    data = grey_digits()
    found = mutated_dataset(data, 0.2, seed=1)
    assert found.levels == LEVELS
    assert found.name == "grey-digits-mutated-0.2"
    assert torch.equal(found.labels["train"], data.labels["train"])
    for split in ("train", "validation", "test"):
        share = (found.split(split) != data.split(split)).double().mean()
        assert 0.17 < share < 0.21  # 0.2 * 16 / 17
    assert torch.equal(mutated_dataset(data, 0.2, seed=1).train, found.train)
    assert not torch.equal(mutated_dataset(data, 0.2, seed=2).train, found.train)
    one_line_error(lambda: mutated_dataset(data, 1.2), "mutation rate", "1.2")


# ---------------------------------------------------------------- one pass


def test_one_pass_serves_all_scores():
    calls = []
    model = trained()
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    try:
        found = pass_over(model, grey_digits().test[:60], batch_size=30)
        for kind in SCORES.values():
            if not kind.needs_background:
                kind().fit(found).score(found)
    finally:
        hook.remove()
    assert len(calls) == 2
    with torch.no_grad():
        expected = model.log_prob(grey_digits().test[:60])
    np.testing.assert_allclose(found.log_prob, expected.numpy(), rtol=1e-5)


def test_every_score_is_saved_by_what_it_learned():
    usual, odd = (
        passed(grey_digits().validation, trained()),
        passed(noisy(grey_digits().test[:50]), trained()),
    )
    for name, kind in SCORES.items():
        score = kind().fit(usual)
        again = resolve_score(name, score.settings())
        if kind.needs_fit:
            one_line_error(lambda kind=kind: kind().score(odd), "fit(clean)")
            again.take_up(score.learned())
        assert np.array_equal(again.score(odd), score.score(odd)), name


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("log-likelihood", 0.97),
        ("typicality", 0.95),
        ("input-complexity", 0.7),
        ("density-of-states", 0.9),
        ("peak-surprise", 0.9),
    ],
)
def test_noise_is_told_from_digits(name, least):
    usual, fresh = passed(grey_digits().validation), passed(grey_digits().test)
    odd = passed(noisy(grey_digits().test))
    assert separation(SCORES[name]().fit(usual), fresh, odd) > least


def test_simpler_images_get_a_higher_likelihood_and_are_found_all_the_same():
    """What log p gets upside down: nearly empty images, of which the density thinks highly."""
    usual, fresh = passed(grey_digits().validation), passed(grey_digits().test)
    blank = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    blank[torch.arange(200), 0, 3, torch.arange(200) % 8] = 8
    odd = passed(blank)
    assert separation(SCORES["log-likelihood"](), fresh, odd) < 0.05
    assert separation(Typicality().fit(usual), fresh, odd) > 0.9
    assert separation(DensityOfStates().fit(usual), fresh, odd) > 0.95


# ---------------------------------------------------------------- single scores


def test_the_likelihood_ratio_is_the_difference():
    found = LikelihoodRatio().score(of_log_prob([-10.0, -20.0], [-12.0, -15.0]))
    assert found.tolist() == [2.0, -5.0]
    one_line_error(lambda: LikelihoodRatio().score(of_log_prob([-1.0])), "background", "mutated")


def test_typicality_counts_both_directions():
    score = Typicality().fit(of_log_prob([-10.0, -14.0]))
    assert score.score(of_log_prob([-12.0, -9.0, -15.0])).tolist() == [0.0, -3.0, -3.0]


def test_the_batch_test_is_uniform_on_clean_batches_and_sees_small_shifts():
    source = np.random.default_rng(0)
    clean = source.normal(-100, 10, 20_000)
    score = Typicality().fit(of_log_prob(clean))
    options = {"clean": clean, "generator": source, "resamples": 400}
    p = [score.batch_p_value(source.normal(-100, 10, 25), **options) for _ in range(300)]
    # 300 p-values: within five standard deviations of uniform.
    assert abs(np.mean(np.array(p) <= 0.2) - 0.2) < 5 * math.sqrt(0.16 / 300)
    assert score.batch_p_value(source.normal(-94, 10, 100), **options) < 0.01
    assert score.batch_p_value(source.normal(-106, 10, 100), **options) < 0.01


def test_input_complexity_is_log_p_plus_the_length_of_the_code():
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    images[1] = torch.randint(LEVELS, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    found = passed(images)
    buffer = io.BytesIO()
    stored = (images[1, 0].double() * 255 / (LEVELS - 1)).round().numpy().astype(np.uint8)
    Image.fromarray(stored).save(buffer, format="PNG", optimize=True)
    bits = code_bits(found, "png")
    assert bits[1] == 8 * len(buffer.getvalue())
    assert bits[1] > bits[0]
    np.testing.assert_allclose(InputComplexity("png").score(found), found.log_prob + bits * math.log(2))
    best = np.minimum.reduce([code_bits(found, codec) for codec in available_codecs()])
    np.testing.assert_array_equal(code_bits(found, "best"), best)
    one_line_error(lambda: InputComplexity("gif"), "gif", "png")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 3])
def test_codecs_lose_nothing(codec, channels):
    if codec not in available_codecs():
        pytest.skip(f"Pillow without {codec}")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, channels)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    again = Image.open(io.BytesIO(CODECS[codec][0](picture))).convert(picture.mode)
    assert np.array_equal(np.asarray(again), np.asarray(picture))


def test_a_density_of_states_is_that_of_its_statistics():
    usual, odd = passed(grey_digits().validation), passed(noisy(grey_digits().test[:5], 3))
    score = DensityOfStates(["log-likelihood", "top-surprise"], density="gaussian").fit(usual)
    values = np.stack([usual.log_prob, np.partition(-usual.by_pixel.flatten(1).numpy(), -1)[:, -1]], 1)
    centred = values - values.mean(0)
    inverse = np.linalg.inv(np.cov(centred.T))
    expected = -0.5 * np.einsum("ni,ij,nj->n", centred, inverse, centred)
    np.testing.assert_allclose(score.score(usual), expected, rtol=1e-4, atol=1e-4)
    alone = DensityOfStates(["log-likelihood"]).fit(usual)
    points = usual.log_prob / usual.log_prob.std(ddof=1)
    at = odd.log_prob / usual.log_prob.std(ddof=1)
    width = len(points) ** -0.2
    kernel = np.exp(-0.5 * ((at[:, None] - points) / width) ** 2).mean(1)
    with np.errstate(divide="ignore"):
        inside = kernel > 1e-200
        np.testing.assert_allclose(alone.score(odd)[inside], np.log(kernel[inside]), rtol=1e-6)
    assert np.isfinite(alone.score(odd)).all()  # far outside no density is 0
    one_line_error(lambda: DensityOfStates(["entropy"]), "entropy", "log-likelihood")
    one_line_error(lambda: DensityOfStates().fit(usual.rows(slice(0, 4))), "clean images", "not 4")


def test_the_place_of_a_patch_is_named():
    image = grey_digits().test[:1].clone()
    image[0, 0, 4:6, 0:2] = torch.tensor([[16, 0], [0, 16]], dtype=torch.uint8)
    score = PeakSurprise().fit(passed(grey_digits().validation))
    (place,) = score.places(passed(image))
    assert place.row in (4, 5)
    assert place.column in (0, 1, 2)
    assert place.bits > place.usual + 5
    assert score.score(passed(image))[0] < score.score(passed(grey_digits().test[:1]))[0]


# ---------------------------------------------------------------- p-values together


def dependent_p_values(count, generator, copies):
    """p-values of which each row's are copies of one, or independent."""
    p = generator.uniform(size=(count, 1 if copies else 4))
    return np.repeat(p, 4, axis=1) if copies else p


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("method", ["bonferroni", "harmonic"])
def test_these_keep_the_level_whatever_the_dependence(method, copies):
    p = dependent_p_values(40_000, np.random.default_rng(0), copies)
    found = combine_p_values(p, method)
    for level in (0.01, 0.05, 0.2):
        assert np.mean(found <= level) < level + 5 * math.sqrt(level / 40_000)


def test_fisher_is_exact_for_independent_ones_and_far_off_for_copies():
    source = np.random.default_rng(1)
    independent = combine_p_values(dependent_p_values(40_000, source, False), "fisher")
    assert abs(np.mean(independent <= 0.05) - 0.05) < 5 * math.sqrt(0.05 / 40_000)
    copied = combine_p_values(dependent_p_values(40_000, source, True), "fisher")
    assert np.mean(copied <= 0.05) > 0.08


def test_cauchy_keeps_copies_and_independent_ones():
    source = np.random.default_rng(2)
    for copies in (True, False):
        found = combine_p_values(dependent_p_values(40_000, source, copies), "cauchy")
        assert abs(np.mean(found <= 0.05) - 0.05) < 5 * math.sqrt(0.05 / 40_000)
    one = np.array([[0.3], [1e-12], [1.0]])
    np.testing.assert_allclose(combine_p_values(one, "cauchy"), one[:, 0], rtol=1e-6, atol=1e-11)


def test_the_harmonic_factor_is_the_published_one():
    assert _harmonic_factor(1) == 1
    for count in (3, 10, 1000):
        factor = _harmonic_factor(count)
        assert 1 < factor <= math.e * math.log(count)
    assert _harmonic_factor(10_000) / math.log(10_000) < 1.6
    one_line_error(lambda: combine_p_values([[0.0, 1.0]]), "0")
    one_line_error(lambda: combine_p_values([0.5, 0.1]), "shape")
    one_line_error(lambda: combine_p_values([[0.5]], "mean"), "harmonic")


# ---------------------------------------------------------------- mistakes


def test_images_of_another_scale_are_named():
    images = grey_digits().test[:5]
    one_line_error(lambda: passed(images.float() / 16), "scaled 0-1", "0..16", "multiply by 16")
    one_line_error(lambda: passed((images.float() - 5) / 6), "standardised")
    one_line_error(lambda: passed(images.int() * 16), "0..16")
    one_line_error(lambda: passed(images[:, :, :7]), "(batch, 1, 8, 8)")
    one_line_error(lambda: passed(images[:0]), "no images")
    blank = torch.zeros(1, 1, 8, 8)
    assert len(passed(blank)) == 1  # all black is an image


def test_binary_images_are_taken_as_they_are():
    from chainrule.models import ChowLiuTree

    ink = binarize(grey_digits().train * 15, torch.Generator().manual_seed(0))
    tree = ChowLiuTree((1, 8, 8))
    tree.fit_counts(ink.float())
    assert len(pass_over(tree, ink[:20])) == 20
    one_line_error(lambda: pass_over(tree, grey_digits().test), "black and white")
