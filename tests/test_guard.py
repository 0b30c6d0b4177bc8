"""The guard: false alarms, decisions with reasons, wrapping a classifier, files, and scikit-learn's shape."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from data_helpers import one_line_error
from scipy import stats
from security_helpers import grey_digits, noisy, trained
from torch import nn

import chainrule as cr
from chainrule.detection import Rule
from chainrule.security import SCORES, ImageDetector, PixelDefend, purify
from chainrule.security.guard_files import ARRAYS_NAME, BACKGROUND, GUARD_NAME


@pytest.fixture(scope="module")
def guard():
    return PixelDefend.fit(trained(), grey_digits().validation, rule=Rule("conformal", 0.05), eps=2)


class Darkness(nn.Module):
    """Two classes: dark images and light ones; a classifier with a weight and no secrets."""

    def __init__(self, scale=16.0):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.ones(())), scale

    def forward(self, x):
        light = self.weight * (x / self.scale).flatten(1).mean(1)
        return torch.stack([0.3 - light, light - 0.3], dim=1)


# ---------------------------------------------------------------- false alarms


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_false_alarms_are_those_asked_for(name, level):
    """Clean test images: within the 99 % interval of the level, for one calibration set of this size."""
    clean = grey_digits()
    guard = PixelDefend.fit(
        trained(), clean.validation, score=name, background=trained(epochs=1), rule=Rule("conformal", level)
    )
    alarms = guard.alarms(clean.test)
    low, high = guard.detector.false_alarm_interval(fresh_rows=len(alarms))
    assert low <= alarms.mean() <= high
    assert guard.alarms(noisy(clean.test, 4)).mean() > (2 * level if name != "likelihood-ratio" else -1)


def test_the_rate_over_many_halvings_is_the_level():
    """The promise is a mean over calibration sets: 60 of them, from images that trained nothing."""
    passed = PixelDefend.fit(trained(), grey_digits().validation).passes(
        torch.cat([grey_digits().validation, grey_digits().test])
    )
    source, rates, count = np.random.default_rng(0), [], 199
    for _ in range(60):
        rows = source.permutation(len(passed))
        calibration, fresh = passed.log_prob[rows[:count]], passed.log_prob[rows[count:]]
        from chainrule.detection import Detector

        rates.append(Detector.fit(calibration, rule=Rule("conformal", 0.1)).alarms(fresh).mean())
    # The binomial 99 % interval of as many alarms as one set of fresh images sees: the halvings overlap.
    low, high = stats.binom.interval(0.99, len(passed), 0.1)
    assert low / len(passed) <= np.mean(rates) <= high / len(passed)


def test_p_values_are_ranks_and_those_against_training_images_are_labelled():
    clean = grey_digits()
    held_out = PixelDefend.fit(trained(), clean.validation)
    published = PixelDefend.fit(trained(), clean.train[:450], reference="training")
    log_prob = held_out.passes(clean.test).log_prob
    for guard in (held_out, published):
        reference = guard.detector.calibration
        expected = [(1 + np.sum(reference <= value)) / 451 for value in log_prob]
        np.testing.assert_allclose(guard.p_values(clean.test), expected)
    assert "450 calibration images" in held_out.check(clean.test[:1])[0].reason
    assert "450 training images as low, as published, no valid" in published.check(clean.test[:1])[0].reason
    assert "training" in repr(published)


# ---------------------------------------------------------------- decisions


def test_a_decision_says_why(guard):
    images = grey_digits().test[:3].clone()
    images[1, 0, 4:7, 0:2] = torch.tensor([[16, 0], [0, 16], [16, 0]], dtype=torch.uint8)
    images[2] = noisy(images[2:3], 4)[0]
    decisions = guard.check(images)
    assert [found.decision for found in decisions] == ["accept", "refuse", "refuse"]
    patched = decisions[1]
    assert patched.p_value <= 0.05
    assert patched.place.column in (0, 1, 2)
    assert f"row {patched.place.row}, column {patched.place.column}" in patched.reason
    assert "lower than all 450 calibration images" in decisions[2].reason
    assert json.loads(json.dumps(patched.as_dict()))["decision"] == "refuse"
    assert str(patched).startswith("refuse, p = ")
    alone = guard.check(images[1:2])[0]
    assert alone.p_value == patched.p_value  # whatever lies beside it


def test_another_rule_keeps_the_calibration(guard):
    strict = guard.with_rule(Rule("conformal", 0.2))
    assert guard.detector.rule.value == 0.05
    assert strict.alarms(grey_digits().test).sum() > guard.alarms(grey_digits().test).sum()
    for rule in (Rule("percentile", 5), Rule("mean-sd", 3)):
        other = PixelDefend.fit(trained(), grey_digits().validation, rule=rule)
        assert 0 < other.alarms(noisy(grey_digits().test, 3)).mean() <= 1
        assert other.alarms(grey_digits().test).mean() < 0.15


# ---------------------------------------------------------------- in front of a classifier


def test_a_guarded_classifier_sees_purified_images(guard):
    images, classifier = noisy(grey_digits().test[:20], 2), Darkness()
    wrapped = guard.wrap(classifier)
    expected = classifier(purify(trained(), images, 2).float())
    assert torch.equal(wrapped(images), expected)
    assert not torch.equal(wrapped(images), classifier(images.float()))
    unscaled = guard.wrap(Darkness(scale=1.0), scale=16)
    assert torch.allclose(unscaled(images), expected)
    assert set(wrapped.state_dict()) == {"classifier.weight"}
    assert "mode='purify'" in repr(wrapped)
    few = guard.wrap(classifier, adaptive=True)
    usual = guard.passes(images).log_prob >= guard.least_log_prob
    assert torch.equal(few.purify(images)[usual], images[usual])


@pytest.mark.parametrize("mode", ["refuse", "both"])
def test_a_refusal_is_a_class_of_its_own(guard, mode):
    images = torch.cat([grey_digits().test[:10], noisy(grey_digits().test[10:20], 6)])
    wrapped = guard.wrap(Darkness(), mode)
    logits = wrapped(images)
    assert logits.shape == (20, 3)
    # Of the images as they came: what was calibrated on such says nothing of purified ones.
    refused = torch.from_numpy(guard.alarms(images))
    assert torch.equal(logits.argmax(1) == 2, refused)
    seen = images if mode == "refuse" else guard.purify(images)
    assert torch.equal(logits[:, :2], Darkness()(seen.float()))
    assert bool(refused[10:].any())
    assert logits.softmax(1).isfinite().all()
    assert wrapped.refusals
    assert not guard.wrap(Darkness()).refusals


def test_a_classifier_may_have_another_precision_and_must_fit(guard):
    images = grey_digits().test[:3]
    double = guard.wrap(Darkness().double())(images)
    assert double.dtype == torch.float64
    assert torch.allclose(double.float(), guard.wrap(Darkness())(images))
    other = nn.Sequential(nn.Flatten(), nn.Linear(100, 10))
    one_line_error(lambda: guard.wrap(other)(images), "Sequential cannot read images of shape (3, 1, 8, 8)")


def test_gradients_of_a_purifying_guard_end_at_it(guard):
    """An attacker who follows gradients sees none; BPDA is the way around, not a proof of strength."""
    images = grey_digits().test[:2].float().requires_grad_()
    (gradient,) = torch.autograd.grad(guard.wrap(Darkness())(images).sum(), images, allow_unused=True)
    assert gradient is None
    refusing = guard.wrap(Darkness(), "refuse")
    assert torch.autograd.grad(refusing(images)[:, 0].sum(), images)[0].abs().sum() > 0


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["log-likelihood", "density-of-states"])
def test_a_saved_guard_is_the_same(tmp_path, name):
    clean = grey_digits()
    guard = PixelDefend.fit(
        trained(), clean.validation, score=name, background=trained(epochs=1), about={"clean": "digits"}
    )
    guard.save(tmp_path / "guard")
    again = PixelDefend.load(tmp_path / "guard")
    assert np.array_equal(again.scores(clean.test), guard.scores(clean.test))
    assert np.array_equal(again.p_values(clean.test), guard.p_values(clean.test))
    assert again.check(clean.test[:2]) == guard.check(clean.test[:2])
    assert (again.eps, again.least_log_prob, again.about) == (guard.eps, guard.least_log_prob, guard.about)
    assert repr(again) == repr(guard)
    suffixes = {path.suffix for path in (tmp_path / "guard").rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".md"}
    one_line_error(lambda: guard.save(tmp_path / "guard"), "already holds a guard", "overwrite")
    guard.save(tmp_path / "guard", overwrite=True)


def test_a_guard_of_other_weights_or_damaged_is_refused(tmp_path, guard):
    place = tmp_path / "guard"
    guard.save(place)
    trained(epochs=1).save_pretrained(place, overwrite=True)
    one_line_error(lambda: PixelDefend.load(place), "other weights", "fit it again")
    one_line_error(lambda: guard.save(place, overwrite=True), "holds another model")
    one_line_error(lambda: PixelDefend.load(tmp_path), GUARD_NAME, "chainrule detect fit")
    (place / GUARD_NAME).write_text("{}")
    one_line_error(lambda: PixelDefend.load(place), "no guard's description")
    guard.save(tmp_path / "more")
    (tmp_path / "more" / ARRAYS_NAME).write_bytes(b"nothing")
    one_line_error(lambda: PixelDefend.load(tmp_path / "more"), "damaged")
    assert not (tmp_path / "more" / BACKGROUND).exists()


def test_a_description_of_other_scores_or_edited_is_refused(tmp_path, guard):
    """As two guards saved at once leave them: each file is whole, and they do not belong together."""
    place, other = tmp_path / "guard", tmp_path / "other"
    guard.save(place)
    guard.with_rule(Rule("conformal", 0.2)).save(other)
    PixelDefend.load(other)
    found = json.loads((place / GUARD_NAME).read_text())
    PixelDefend.fit(trained(), grey_digits().validation, score="typicality").save(other, overwrite=True)
    (place / ARRAYS_NAME).write_bytes((other / ARRAYS_NAME).read_bytes())
    one_line_error(lambda: PixelDefend.load(place), ARRAYS_NAME, "does not belong", "fit the guard again")
    guard.save(place, overwrite=True)
    for edited in (
        {"rule": {"name": "conformal", "value": "x"}},
        {"rule": {"name": "bogus", "value": 1}},
        {"least_log_prob": "abc"},
        {"about": "abc"},
        {"reference": "bogus"},
        {"score": {"name": "typicality", "settings": {}}},
    ):
        (place / GUARD_NAME).write_text(json.dumps({**found, **edited}))
        one_line_error(lambda: PixelDefend.load(place), GUARD_NAME)


def test_a_density_of_another_data_set_is_warned_of(tmp_path):
    clean = grey_digits()
    model = cr.models.GatedPixelCNN(
        (1, 8, 8), features=8, num_layers=1, first_kernel_size=3, head=(8,), conditional=trained().conditional
    )
    cr.fit(model, clean, tmp_path / "run", epochs=8, batch_size=50, learning_rate=0.01, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard = PixelDefend.fit(tmp_path / "run", clean.test)
    guard.save(tmp_path / "run")
    assert PixelDefend.load(tmp_path / "run").detector.threshold == guard.detector.threshold
    for other, how in ((clean.test * 0, "less"), (torch.flip(16 - clean.test, (2,)), "more")):
        with pytest.warns(UserWarning, match=f"far {how} than .* another data set"):
            PixelDefend.fit(tmp_path / "run", other)


# ---------------------------------------------------------------- mistakes


def test_mistakes_are_one_line():
    clean, model = grey_digits().validation, trained()
    one_line_error(
        lambda: PixelDefend.fit(model, clean[:50]), "99", "50", "smallest possible level is 0.0196"
    )
    one_line_error(
        lambda: PixelDefend.fit(model, clean[:150], score="typicality"), "198", "typicality", "0.0132"
    )
    one_line_error(lambda: PixelDefend.fit(model, clean, score="likelihood-ratio"), "background", "mutated")
    one_line_error(lambda: PixelDefend.fit(model, clean, score="likelihod"), "did you mean")
    one_line_error(lambda: PixelDefend.fit(model, clean.float() / 16), "scaled 0-1", "multiply by 16")
    one_line_error(lambda: PixelDefend.fit(model, clean, reference="test"), "calibration", "training")
    one_line_error(lambda: PixelDefend.fit("no/such/run", clean), "no/such/run")
    guard = PixelDefend.fit(model, clean)
    one_line_error(lambda: guard.check(clean.float() / 16), "scaled 0-1")
    one_line_error(lambda: guard.check(clean.float() * torch.nan), "NaN")
    one_line_error(lambda: guard.check(clean[:0]), "at least one")
    one_line_error(lambda: guard.wrap(lambda x: x), "torch.nn.Module")
    one_line_error(lambda: guard.wrap(Darkness(), "reject"), "refuse")
    other = cr.models.GatedPixelCNN(
        (1, 8, 9), features=4, num_layers=1, head=(4,), conditional=model.conditional
    )
    one_line_error(lambda: PixelDefend.fit(model, clean, background=other), "(1, 8, 9)")
    labelled = cr.models.GatedPixelCNN(
        (1, 8, 8), features=4, num_layers=1, head=(4,), conditional=model.conditional, context_size=10
    )
    one_line_error(lambda: PixelDefend.fit(labelled, clean), "label", "without labels")


# ---------------------------------------------------------------- scikit-learn


def test_the_detector_speaks_scikit_learn():
    from sklearn.base import clone

    clean = grey_digits()
    estimator = clone(ImageDetector(trained(), score="log-likelihood", level=0.05))
    flat = clean.validation.flatten(1).numpy()
    fitted = estimator.fit(flat)
    test = clean.test.numpy()
    assert np.array_equal(fitted.decision_function(test), fitted.score_samples(test) - fitted.offset_)
    assert np.array_equal(fitted.predict(test) == -1, fitted.decision_function(test) < 0)
    assert np.array_equal(fitted.predict(test), fitted.predict(clean.test.flatten(1).numpy()))
    assert np.array_equal(fitted.predict(test) == -1, fitted.p_values(test) <= 0.05)
    assert (fitted.predict(noisy(clean.test, 3).numpy()) == -1).mean() > 0.9
    one_line_error(lambda: ImageDetector().fit(test), "density is missing")
    assert fitted.get_params()["level"] == 0.05
