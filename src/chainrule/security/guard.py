"""PixelDefend as a guard in front of a classifier: it tells odd images, says why, and purifies.

    guard = PixelDefend.fit("runs/density", clean_images)      # calibrate once, on held-out clean images
    guard.save("runs/density")

    guard = PixelDefend.load("runs/density")
    guard.check(batch)                                         # decision, p-value and reason of each image
    safer = guard.wrap(classifier)                             # an nn.Module that purifies what it is given

What it promises is the rate of false alarms. It does **not** withstand an attacker who knows of it: measure
that with `chainrule.security.adaptive` before relying on it.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor, nn

from chainrule.arguments import real_number, whole_number
from chainrule.detection.conformal import rows_needed, smallest_level
from chainrule.detection.detector import Detector
from chainrule.detection.scores import Booleans, Floats
from chainrule.detection.thresholds import Rule, percentile_threshold
from chainrule.errors import ChainruleError, unknown_name
from chainrule.likelihood import LikelihoodModel
from chainrule.security.decisions import Decision
from chainrule.security.opening import expected_nll, opened, warn_of_other_data
from chainrule.security.passes import Passed, checked_levels, pass_over
from chainrule.security.places import PeakSurprise
from chainrule.security.purification import purify
from chainrule.security.registry import resolve_score
from chainrule.security.scores import Score

if TYPE_CHECKING:
    from chainrule.security.guarded import GuardedClassifier, GuardMode

__all__ = ["PixelDefend", "Reference"]

#: What the images are that new ones are ranked among.
Reference = Literal["calibration", "training"]
REFERENCES = ("calibration", "training")


class PixelDefend:
    """A density model, a score, and clean images to rank new ones among.

    Attributes: `density` and `background` (or None), `score` (a `Score`), `detector` (a
    `chainrule.detection.Detector` over the scores of the clean images, with its rule), `places` (where an
    image surprises), `eps` (how far purification moves a pixel, in levels), `least_log_prob` (images at least
    so usual, nats, are not purified), `reference` and `about`.
    """

    def __init__(
        self,
        density: LikelihoodModel,
        detector: Detector,
        score: Score,
        places: PeakSurprise,
        *,
        background: LikelihoodModel | None = None,
        eps: int,
        least_log_prob: float,
        reference: Reference = "calibration",
        about: dict[str, Any] | None = None,
    ) -> None:
        if reference not in REFERENCES:
            raise unknown_name("reference", reference, REFERENCES)
        self.density, self.background = density, background
        self.detector, self.score, self.places = detector, score, places
        self.eps, self.least_log_prob = whole_number("eps", eps), float(least_log_prob)
        self.reference, self.about = reference, dict(about or {})

    @classmethod
    def fit(
        cls,
        density: LikelihoodModel | str | PathLike[str],
        clean: Tensor,
        *,
        score: str | Score = "log-likelihood",
        background: LikelihoodModel | str | PathLike[str] | None = None,
        rule: Rule | None = None,
        reference: Reference = "calibration",
        eps: int | None = None,
        adaptive: float = 0.05,
        about: dict[str, Any] | None = None,
        batch_size: int = 100,
    ) -> PixelDefend:
        """Calibrate on clean images.

        - `density`, `background`: models, or the folders of their runs. Of a run it is known which likelihood
          to expect, and a warning is given where the clean images are far off it: another data set.
        - `clean`: `(N, *event_shape)`. Images that the density was **not** trained on make p-values valid. Of
          a score that learns from clean images, it gets every other one, and the rest calibrate.
        - `rule`: where odd begins; conformal at level 0.01 by default, which needs 99 images.
        - `reference`: `"training"` where `clean` are those that the density was trained on, as published:
          p-values are then too small for fresh clean images, and are labelled so.
        - `eps`: of purification; a sixteenth of the levels by default (16 of 256).
        - `adaptive`: the share of clean images, those of lowest log p, that are purified nonetheless.

        Raises `ChainruleError` for too few images, naming the smallest level possible, for images of another
        shape or scale, and where the score needs a background model.
        """
        if reference not in REFERENCES:
            raise unknown_name("reference", reference, REFERENCES)
        rule, chosen = Rule() if rule is None else rule, resolve_score(score)
        share = 100 * real_number("adaptive", adaptive, above=0.0, below=1.0)
        expected = expected_nll(density)
        density, background = opened(density), None if background is None else opened(background)
        if chosen.needs_background and background is None:
            raise ChainruleError(
                f"the score {chosen.name!r} needs a background model, trained on mutated images "
                "(chainrule.security.mutated_dataset)."
            )
        _check_enough(rule, len(clean), chosen)
        passed = pass_over(density, clean, background, batch_size=batch_size)
        warn_of_other_data(passed.log_prob, expected, density.num_variables)
        to_learn, to_rank = (passed, passed)
        if chosen.needs_fit:
            to_learn, to_rank = passed.rows(slice(0, None, 2)), passed.rows(slice(1, None, 2))
        chosen.fit(to_learn)
        return cls(
            density,
            Detector.fit(chosen.score(to_rank), rule=rule),
            chosen,
            PeakSurprise().fit(passed),
            background=background,
            eps=max(1, checked_levels(density) // 16) if eps is None else eps,
            least_log_prob=percentile_threshold(passed.log_prob, share),
            reference=reference,
            about=about,
        )

    # ---------------------------------------------------------------- detection

    def passes(self, images: Tensor, *, batch_size: int = 100) -> Passed:
        """What the passes over the images say: make it once where several things are asked of them."""
        return pass_over(self.density, images, self.background, batch_size=batch_size)

    def scores(self, images: Tensor | Passed) -> Floats:
        """The score of each image, `(N,)`, higher for usual ones."""
        return self.score.score(images if isinstance(images, Passed) else self.passes(images))

    def p_values(self, images: Tensor | Passed) -> Floats:
        """(T + 1) / (n + 1) for each image, T of the n reference images scoring as low: small for odd ones.

        Against held-out images P(p <= a) <= a for fresh clean ones; against training images it is not.
        """
        return self.detector.p_values(self.scores(images))

    def alarms(self, images: Tensor | Passed) -> Booleans:
        """Which images are refused, `(N,)`."""
        return self.detector.alarms(self.scores(images))

    def check(self, images: Tensor | Passed) -> list[Decision]:
        """Decision, p-value and reason of each image."""
        passed = images if isinstance(images, Passed) else self.passes(images)
        scores = self.score.score(passed)
        described = zip(
            scores,
            self.detector.p_values(scores),
            self.detector.alarms(scores),
            passed.log_prob,
            self.places.places(passed),
            strict=True,
        )
        return [
            Decision(
                image=i,
                accepted=not alarm,
                p_value=float(p),
                score=float(score),
                log_prob=float(log_prob),
                place=place,
                reason=f"{self._rank(float(score), float(log_prob))}; {place}",
            )
            for i, (score, p, alarm, log_prob, place) in enumerate(described)
        ]

    def with_rule(self, rule: Rule) -> PixelDefend:
        """The same calibration under another rule or level."""
        guard = PixelDefend.__new__(PixelDefend)
        guard.__dict__.update(self.__dict__, detector=self.detector.with_rule(rule))
        return guard

    # ---------------------------------------------------------------- purification

    def purify(
        self, images: Tensor, *, eps: int | None = None, adaptive: bool = False, bits: float | None = None
    ) -> Tensor:
        """The images purified (`chainrule.security.purify`), by the guard's own eps if none is given.

        - `adaptive`: leave images alone that are as usual as most clean ones (`least_log_prob`).
        - `bits`: move a pixel only where it costs more than so many bits; published: 3.
        """
        least = self.least_log_prob if adaptive else None
        return purify(self.density, images, self.eps if eps is None else eps, least_log_prob=least, bits=bits)

    def wrap(
        self,
        classifier: nn.Module,
        mode: GuardMode = "purify",
        *,
        scale: float = 1.0,
        adaptive: bool = False,
        bits: float | None = None,
    ) -> GuardedClassifier:
        """The classifier behind this guard, as an `nn.Module` from images of levels to logits.

        - `mode`: `"purify"` every image; `"refuse"` odd ones, by one more class at the end; `"both"`: refuse
          odd ones, and purify the rest.
        - `scale`: what levels are divided by before the classifier sees them: 255 for one that reads 0-1.
        - `adaptive`, `bits`: as in `purify`.
        """
        from chainrule.security.guarded import GuardedClassifier

        return GuardedClassifier(self, classifier, mode, scale=scale, adaptive=adaptive, bits=bits)

    # ---------------------------------------------------------------- files

    def save(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write `guard.json` and `guard.safetensors` into the run of the density, or a folder of its own.

        A folder that holds no such model gets a copy of the density; the background model goes into its
        `background/`. Nothing is pickled. Raises `ChainruleError` where a guard, or another model, is there.
        """
        from chainrule.security.guard_files import write_guard

        write_guard(self, Path(folder), overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> PixelDefend:
        """The guard in a folder; `ChainruleError` where there is none, or it belongs to other weights."""
        from chainrule.security.guard_files import read_guard

        return read_guard(Path(folder))

    def __repr__(self) -> str:
        return (
            f"PixelDefend({type(self.density).__name__} {self.density.event_shape}, {self.score!r}, "
            f"{self.detector.rule}, {len(self.detector.calibration):,} {self.reference} images, "
            f"eps {self.eps})"
        )

    def _rank(self, score: float, log_prob: float) -> str:
        ordered = self.detector.calibration
        as_low = int(np.searchsorted(ordered, score, side="right"))
        images = f"{len(ordered):,} {self.reference} images"
        rank = f"lower than all {images}" if as_low == 0 else f"{as_low:,} of {images} as low"
        label = ", as published, no valid p-value" if self.reference == "training" else ""
        own = "" if self.score.name == "log-likelihood" else f"{self.score.name} {score:.2f}, "
        return f"{own}log p {log_prob:.2f} nats: {rank}{label}"


def _check_enough(rule: Rule, images: int, score: Score) -> None:
    """`ChainruleError` before any pass is made, where the images cannot serve the level."""
    rows = images // 2 if score.needs_fit else images
    if rule.name != "conformal" or rows >= rows_needed(rule.value):
        return
    halved = f", half of which {score.name} learns from," if score.needs_fit else ""
    smallest = f"{smallest_level(rows):.3g}" if rows else "none"
    needed = rows_needed(rule.value) * (2 if score.needs_fit else 1)
    raise ChainruleError(
        f"level {rule.value:g} needs at least {needed:,} clean images; with these {images:,}{halved} the "
        f"smallest possible level is {smallest}. Calibrate on more images, or raise it."
    )
