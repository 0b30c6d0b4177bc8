"""How well a guard defends a classifier: attacks of both kinds, what they break, what the guard tells of it.

    found = measure_defence(guard, victim, images, labels, eps=8)
    found.under("bim").purified, found.joint.unnoticed, found.as_dict()

Attacks that do not know the guard (`attacks`), and two that do (`adaptive`): a figure of the first kind is no
evidence without one of the second beside it, so both are measured here. `chainrule.reporting.security_page`
makes a page of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.arguments import whole_number
from chainrule.contrasts.accuracy import logits_of
from chainrule.detection import Figure, alarm_report, detection_report
from chainrule.detection.scores import Booleans, Floats
from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.adaptive import AdaptiveResult, bpda, joint_attack, with_gradients
from chainrule.security.attacks import ATTACKS, attack, checked_labels, default_eps
from chainrule.security.guard import PixelDefend
from chainrule.security.passes import Passed, checked_images, checked_levels

__all__ = [
    "CLEAN",
    "PAPER_ATTACKS",
    "Defence",
    "KnowsDensity",
    "KnowsPurifier",
    "Seen",
    "measure_defence",
    "share",
]

#: The attacks of PixelDefend's tables, and of the lecture's figure.
PAPER_ATTACKS = ("rand", "fgsm", "bim", "deepfool", "cw")
#: What the images are called that nobody attacked.
CLEAN = "clean"


@dataclass(frozen=True)
class Seen:
    """Images of one kind, N of them, and what became of them.

    - `name`: the attack, or `clean`; `images`, `purified`: `(N, *event_shape)`, levels.
    - `passed`: the density's pass over the images; `scores`, `alarms`: of the guard, `(N,)`.
    - `right`, `right_purified`, `right_adaptive`: whether the victim reads them rightly as they are,
      purified, and purified only where they are unusual, `(N,)`.
    - `mean_l2`: mean Euclidean length of the changes, in levels.
    """

    name: str
    images: Tensor
    purified: Tensor
    passed: Passed
    scores: Floats
    alarms: Booleans
    predicted: Tensor
    predicted_purified: Tensor
    right: Booleans
    right_purified: Booleans
    right_adaptive: Booleans
    mean_l2: float

    @property
    def bits_per_dim(self) -> Floats:
        """-log2 p(x) for each pixel and channel, `(N,)`."""
        bits: Floats = -self.passed.log_prob / (self.images[0].numel() * math.log(2))
        return bits

    @property
    def unnoticed(self) -> Figure:
        """The share of the images that are misread and raise no alarm."""
        return share(~self.right & ~self.alarms)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON holds them."""
        return {
            "name": self.name,
            "bits_per_dim": float(self.bits_per_dim.mean()),
            "mean_l2": self.mean_l2,
            "accuracy": _numbers(share(self.right)),
            "accuracy_purified": _numbers(share(self.right_purified)),
            "accuracy_adaptively_purified": _numbers(share(self.right_adaptive)),
            "alarms": _numbers(share(self.alarms)),
            "misread_and_unnoticed": _numbers(self.unnoticed),
        }


@dataclass(frozen=True)
class KnowsDensity:
    """The joint attack, on images that the victim reads rightly: fooled, and fooled without an alarm.

    - `unnoticed_by_any`: misread without an alarm under this attack or any of the others that were tried.
    """

    images: int
    fooled: Figure
    unnoticed: Figure
    unnoticed_by_any: Figure


@dataclass(frozen=True)
class KnowsPurifier:
    """BPDA, on images that the victim reads rightly.

    - `before`, `after`: accuracy behind the purifier, of the clean images and under attack.
    - `unnoticed`: misread behind the purifier and not flagged by the detector, at which BPDA does not aim.
    - `right_under_all`: read rightly behind the purifier under BPDA and all the others that were tried.
    """

    images: int
    before: Figure
    after: Figure
    unnoticed: Figure
    right_under_all: Figure


@dataclass(frozen=True)
class Defence:
    """What `measure_defence` found.

    - `eps`, `purify_eps`: how far an attack, and the purifier, may move a pixel, in levels; `score`: by which
      the guard detects.
    - `seen`: clean images first, then those of each attack, all of the same originals; `labels`: right ones.
    - `joint`, `through`: the attacks by somebody who knows the density, or the purifier; None where no image
      was read rightly, so that nothing was left to attack.
    """

    eps: float
    purify_eps: int
    score: str
    levels: int
    labels: Tensor
    seen: tuple[Seen, ...]
    joint: KnowsDensity | None
    through: KnowsPurifier | None

    @property
    def clean(self) -> Seen:
        """The images as they were."""
        return self.seen[0]

    @property
    def attacked(self) -> tuple[Seen, ...]:
        """The images under each attack that does not know the guard."""
        return self.seen[1:]

    def under(self, name: str) -> Seen:
        """The images under this attack; `ChainruleError` where it was not tried."""
        for seen in self.seen:
            if seen.name == name:
                return seen
        raise unknown_name("attack of this measurement", name, [seen.name for seen in self.seen])

    def auroc(self, name: str) -> Figure:
        """How the guard's score tells the images under this attack from clean ones (DeLong, 95 %)."""
        odd = self.under(name).scores
        labels = np.r_[np.zeros(len(self.clean.scores), bool), np.ones(len(odd), bool)]
        return detection_report(np.r_[self.clean.scores, odd], labels).auroc

    def as_dict(self) -> dict[str, Any]:
        """Every figure as JSON holds it; intervals are of 95 %."""
        attacks = [{**seen.as_dict(), "auroc": _numbers(self.auroc(seen.name))} for seen in self.attacked]
        return {
            "images": len(self.labels),
            "eps": self.eps,
            "purify_eps": self.purify_eps,
            "score": self.score,
            "clean": self.clean.as_dict(),
            "attacks": attacks,
            "joint": _all_numbers(self.joint),
            "bpda": _all_numbers(self.through),
        }


def measure_defence(
    guard: PixelDefend,
    victim: nn.Module,
    images: Tensor,
    labels: Tensor | Sequence[int],
    *,
    eps: float | None = None,
    attacks: Sequence[str] = PAPER_ATTACKS,
    adaptive_images: int = 32,
    joint_steps: int = 40,
    bpda_steps: int = 20,
    seed: int = 0,
    on_stage: Callable[[str, int, int], None] | None = None,
) -> Defence:
    """Attack a classifier, and see what its guard makes of it.

    - `victim`: a module that maps images in the units of the data to logits, with gradients.
    - `images`: `(N, *event_shape)`, whole levels, that nothing was trained or calibrated on; `labels`:
      the right ones, `(N,)`.
    - `eps`: how far an attack may move a pixel, in levels; 8 of 256 by default. DeepFool and CW are clipped
      to it. The purifier uses the guard's own.
    - `attacks`: of `ATTACKS`; those of the paper by default.
    - `adaptive_images`: how many images, of those that the victim reads rightly, the two adaptive attacks
      get; they cost `joint_steps` x 6 passes, and `bpda_steps` purifications, of each.
    - `on_stage`: called with what comes next, its number and how many stages there are.

    Raises `ChainruleError` for images that the density was not made for, for unknown attacks, and for a
    victim without gradients, or of probabilities, on which no adaptive attack can be measured.
    """
    names = _checked_names(attacks)
    images = checked_images(guard.density, images)
    levels = checked_levels(guard.density)
    known = with_gradients(victim, images.float())  # said before the hours of attacks that need none
    eps = default_eps(levels) if eps is None else eps
    few = whole_number("adaptive_images", adaptive_images, minimum=1)
    stages = [CLEAN, *names, "joint", "bpda"]

    def begin(name: str) -> None:
        if on_stage is not None:
            on_stage(name, stages.index(name) + 1, len(stages))

    begin(CLEAN)
    right = checked_labels("labels", labels, len(images), known.num_classes)
    seen = [_seen(CLEAN, guard, victim, images, images, right)]
    for name in names:
        begin(name)
        moved = attack(name, victim, images, right, eps=eps, levels=levels, seed=seed)
        seen.append(_seen(name, guard, victim, moved, images, right))
    rows = np.flatnonzero(seen[0].right)[:few]
    joint = through = None
    if len(rows):
        chosen, of_chosen = images[rows], right[rows]
        begin("joint")
        by_joint = joint_attack(
            victim, guard.density, chosen, of_chosen, eps=eps, steps=joint_steps, levels=levels
        )
        begin("bpda")
        by_bpda = bpda(
            victim, guard.purify, chosen, of_chosen, eps=eps, steps=bpda_steps, levels=levels, seed=seed
        )
        informed = [_tried(guard, victim, result.images, of_chosen) for result in (by_joint, by_bpda)]
        outcomes = [*informed, *(_Tried(s.alarms[rows], s.right[rows], s.right_purified[rows]) for s in seen)]
        joint = _joint(by_joint, outcomes)
        through = _through(by_bpda, outcomes, seen[0].right_purified[rows])
    return Defence(float(eps), guard.eps, guard.score.name, levels, right, tuple(seen), joint, through)


def share(flags: Any) -> Figure:
    """The share of true ones, with the exact binomial 95 % interval."""
    found = alarm_report(flags, np.ones(len(flags), bool)).detection_rate
    assert found is not None
    return found


def _checked_names(attacks: Sequence[str]) -> tuple[str, ...]:
    for name in attacks:
        if name not in ATTACKS:
            raise unknown_name("attack", name, ATTACKS)
    if not attacks:
        raise ChainruleError("there is no attack to measure; name at least one.")
    return tuple(dict.fromkeys(attacks))


def _seen(
    name: str, guard: PixelDefend, victim: nn.Module, images: Tensor, originals: Tensor, labels: Tensor
) -> Seen:
    passed = guard.passes(images)
    scores = guard.scores(passed)
    purified = guard.purify(images)
    # What adaptive purification leaves alone is known from the pass that was made.
    usual = torch.from_numpy(passed.log_prob >= guard.least_log_prob)
    as_is, after = (logits_of(victim, shown).argmax(1) for shown in (images, purified))
    right, right_after = ((read == labels).numpy() for read in (as_is, after))
    change = (images.double() - originals.double()).flatten(1)
    return Seen(
        name=name,
        images=images,
        purified=purified,
        passed=passed,
        scores=scores,
        alarms=guard.detector.alarms(scores),
        predicted=as_is,
        predicted_purified=after,
        right=right,
        right_purified=right_after,
        right_adaptive=np.where(usual.numpy(), right, right_after),
        mean_l2=change.norm(dim=1).mean().item(),
    )


@dataclass(frozen=True)
class _Tried:
    """What became of images: in alarm, read rightly as they are, and purified, `(N,)` each."""

    alarms: Booleans
    right: Booleans
    right_purified: Booleans


def _tried(guard: PixelDefend, victim: nn.Module, images: Tensor, labels: Tensor) -> _Tried:
    as_is, after = (logits_of(victim, shown).argmax(1) for shown in (images, guard.purify(images)))
    return _Tried(guard.alarms(images), (as_is == labels).numpy(), (after == labels).numpy())


def _joint(result: AdaptiveResult, outcomes: Sequence[_Tried]) -> KnowsDensity:
    """`outcomes`: of the joint attack, of BPDA, and of the others on the same images."""
    fooled = result.fooled.numpy()
    unnoticed = fooled & ~outcomes[0].alarms
    by_any = np.logical_or.reduce([unnoticed, *(~tried.right & ~tried.alarms for tried in outcomes)])
    return KnowsDensity(len(fooled), share(fooled), share(unnoticed), share(by_any))


def _through(result: AdaptiveResult, outcomes: Sequence[_Tried], right_before: Booleans) -> KnowsPurifier:
    """`outcomes`: as above."""
    fooled = result.fooled.numpy()
    unnoticed = fooled & ~outcomes[1].alarms
    under_all = np.logical_and.reduce([~fooled, *(tried.right_purified for tried in outcomes)])
    return KnowsPurifier(len(fooled), share(right_before), share(~fooled), share(unnoticed), share(under_all))


def _numbers(figure: Figure) -> dict[str, float | None]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def _all_numbers(found: KnowsDensity | KnowsPurifier | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        key: _numbers(value) if isinstance(value, Figure) else value for key, value in vars(found).items()
    }
