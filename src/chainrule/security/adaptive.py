"""Adaptive attacks: by somebody who knows the defence (lecture, topic 13).

A defence that was only tried against attacks that do not know it has not been tried. Two that do:

- `joint_attack` fools the classifier and keeps log p(x) high, so that a detector by likelihood sees nothing:
  it maximises L(x', y) + w log p(x') by projected gradient steps. (The lecture's sign, - w log p, would make
  the image easier to detect: its mistake 16.)
- `bpda` goes through a purifier as if its derivative were the identity (backward pass differentiable
  approximation, Athalye, Carlini & Wagner 2018): the loss is that of the purified image, its gradient there
  moves the image before purification.

Both work on what can be stored: every candidate is judged with whole levels, within the ball.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.arguments import checked_seed, real_number, whole_number
from chainrule.contrasts import Classifier
from chainrule.errors import ChainruleError
from chainrule.likelihood import LikelihoodModel
from chainrule.model import AutoregressiveModel
from chainrule.security.attack_box import Box, Norm, box_of
from chainrule.security.attack_carlini import error_margin
from chainrule.security.attack_victims import Victim, as_victim, require_logits, untouched
from chainrule.security.attacks import checked_labels

__all__ = ["AdaptiveResult", "bpda", "joint_attack", "relaxed_log_prob", "with_gradients"]

#: What log p counts beside the victim's margin, in logits for each nat; each is tried.
_WEIGHTS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)


@dataclass(frozen=True)
class AdaptiveResult:
    """What an adaptive attack found.

    - `images`: `(batch, *event_shape)`, of the dtype of the originals; the best found for each, or where none
      was misread the one that came nearest.
    - `fooled`: `(batch,)`, whether the classifier misreads it (behind the purifier, for `bpda`), or reads the
      target.
    - `log_prob`, `clean_log_prob`: nats under the density, of these images and of the originals; None
      without a density.
    """

    images: Tensor
    fooled: Tensor
    log_prob: Tensor | None = None
    clean_log_prob: Tensor | None = None

    @property
    def success(self) -> float:
        """The share of images that fool the classifier."""
        return self.fooled.double().mean().item()

    def success_against(self, threshold: float) -> float:
        """The share that fool the classifier and pass a detector that flags log p below `threshold`."""
        if self.log_prob is None:
            raise ChainruleError(
                "this attack had no density, so there is no log p to hold against a threshold."
            )
        return (self.fooled & (self.log_prob >= threshold)).double().mean().item()


def relaxed_log_prob(density: LikelihoodModel, x: Tensor) -> Tensor:
    """log p of x rounded to whole levels, nats, `(batch,)`, with a gradient by x.

    A family of levels has no derivative in the value it is asked for. Here that is the central difference
    between the levels above and below; what a value does to later conditionals goes through the network. The
    number itself is exact. For densities of real values it is log p(x).
    """
    support = density.conditional.support()
    if not isinstance(density, AutoregressiveModel) or support is None:
        return density.log_prob(x)
    whole = x.detach().round()
    params = density(x + (whole - x).detach())
    family, top = density.conditional, len(support) - 1
    at = family.log_prob(params, whole)
    with torch.no_grad():
        above, below = (whole + 1).clamp(max=top), (whole - 1).clamp(min=0)
        rise = family.log_prob(params, above) - family.log_prob(params, below)
        slope = rise / (above - below).clamp_min(1)
    return (at + slope * (x - x.detach())).flatten(1).sum(1)


def joint_attack(
    victim: nn.Module | Callable[[Tensor], Any],
    density: LikelihoodModel,
    images: Tensor,
    labels: Tensor | Sequence[int],
    *,
    eps: float = 8.0,
    norm: Norm = "linf",
    weights: Sequence[float] = _WEIGHTS,
    margin: float = 0.5,
    steps: int = 40,
    targets: Tensor | Sequence[int] | None = None,
    levels: int | None = 256,
    batch_size: int = 64,
) -> AdaptiveResult:
    """Images that fool the classifier with the highest log p that was found.

    - `victim`, `images`, `labels`, `targets`, `eps`, `norm`, `levels`: as in `attack`.
    - `density`: the model whose log p the detector reads; its examples may have another shape of that size.
    - `weights`: of log p beside the margin by which the victim errs; all are tried, for each image the best
      counts. 0 alone is plain PGD on the margin.
    - `margin`: an error by so many logits is enough; from there on only log p is raised.
    - `steps`: of each weight; each costs a forward and a backward pass of both networks.
    """
    levels = victim.levels if isinstance(victim, Classifier) else levels
    box = box_of(images, eps, norm, levels)
    known = with_gradients(victim, box.images)
    right, aim = _right_and_aim(known, box, labels, targets)
    _check_density(density, box)
    weights = tuple(real_number("every weight", weight, 0.0) for weight in weights)
    if not weights:
        raise ChainruleError("there are no weights of log p to try; give at least one, such as 0.01.")
    steps = whole_number("steps", steps, minimum=1)
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    margin = real_number("margin", margin, above=0.0)
    found = []
    with untouched(known), untouched(density):
        for rows in torch.split(torch.arange(len(box.images)), batch_size):
            part = Box(box.images[rows], box.eps, box.norm, box.levels)
            best = _Best(part.images)
            for weight in weights:
                _climb(known, density, part, right[rows], aim[rows], weight, margin, steps, best)
            found.append(best)
        clean = torch.cat([_log_prob(density, rows) for rows in torch.split(box.images, batch_size)])
    return AdaptiveResult(
        images=torch.cat([best.images for best in found]).to(images),
        fooled=torch.cat([best.fooled for best in found]),
        log_prob=torch.cat([best.log_prob for best in found]),
        clean_log_prob=clean,
    )


class _Best:
    """The best candidates so far: those that fool before those that do not, then by log p or by margin."""

    def __init__(self, images: Tensor) -> None:
        count = len(images)
        self.images = images.clone()
        self.fooled = torch.zeros(count, dtype=torch.bool)
        self.log_prob = images.new_full((count,), -torch.inf)
        self.margin = images.new_full((count,), -torch.inf)

    def offer(self, images: Tensor, error: Tensor, log_prob: Tensor) -> None:
        """Candidates, the margin by which each is misread (above 0: it is), and their log p."""
        fooled = error > 0
        better = torch.where(fooled, log_prob > self.log_prob, error > self.margin)
        take = torch.where(self.fooled == fooled, better, fooled)
        self.images[take] = images[take]
        self.fooled[take], self.log_prob[take], self.margin[take] = fooled[take], log_prob[take], error[take]


def _climb(
    victim: Victim,
    density: LikelihoodModel,
    box: Box,
    right: Tensor,
    aim: Tensor,
    weight: float,
    margin: float,
    steps: int,
    best: _Best,
) -> None:
    """Projected gradient steps of falling length on min(error of the victim, margin) + w log p."""
    assert box.eps is not None
    x = box.images
    for step in range(steps + 1):
        x = x.detach().requires_grad_()
        whole = box.settle(x.detach())
        with torch.enable_grad():
            # The value of the candidate that could be stored, the gradient of the one it was rounded from.
            error = error_margin(victim(x + (whole - x).detach()), right, aim)
            log_prob = _relaxed(density, x + (whole - x).detach())
            objective = error.clamp(max=margin)
            if weight > 0:
                objective = objective + weight * log_prob
            best.offer(whole, error.detach(), log_prob.detach())
            if step == steps:
                return
            (gradient,) = torch.autograd.grad(objective.sum(), x)
        length = box.eps * max(0.5 * (1 - step / steps), 0.02)
        x = box.project(x.detach() + length * _direction(gradient, box.norm, weight))


def _direction(gradient: Tensor, norm: Norm, weight: float) -> Tensor:
    """A step of length 1. Beside a density it keeps proportions: what matters little stays as it is."""
    shape = (-1, *[1] * (gradient.ndim - 1))
    tiny = torch.finfo(gradient.dtype).tiny
    if norm == "linf" and weight == 0:
        return torch.sign(gradient)
    flat = gradient.flatten(1)
    size = flat.abs().amax(1) if norm == "linf" else torch.linalg.vector_norm(flat, dim=1)
    return gradient / size.clamp_min(tiny).view(shape)


def bpda(
    victim: nn.Module | Callable[[Tensor], Any],
    purify: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor | Sequence[int],
    *,
    eps: float = 8.0,
    norm: Norm = "linf",
    steps: int = 20,
    step_size: float | None = None,
    targets: Tensor | Sequence[int] | None = None,
    levels: int | None = 256,
    seed: int = 0,
    batch_size: int = 64,
) -> AdaptiveResult:
    """Images that fool the classifier behind a purifier.

    - `purify`: takes images of the dtype of `images` and returns as many purified ones; called once a step.
    - `steps`, `step_size`: projected gradient steps from a random start, and their length (2.5 eps / steps).
    - the rest: as in `attack`.

    `fooled` says whether the classifier misreads the purified image.
    """
    levels = victim.levels if isinstance(victim, Classifier) else levels
    box = box_of(images, eps, norm, levels)
    assert box.eps is not None
    known = with_gradients(victim, box.images)
    right, aim = _right_and_aim(known, box, labels, targets)
    steps = whole_number("steps", steps, minimum=1)
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    length = 2.5 * box.eps / steps if step_size is None else real_number("step_size", step_size, above=0.0)
    generator = torch.Generator().manual_seed(checked_seed(seed))
    found = []
    with untouched(known):
        for rows in torch.split(torch.arange(len(box.images)), batch_size):
            part = Box(box.images[rows], box.eps, box.norm, box.levels)
            best, x = _Best(part.images), part.noise(generator)
            for step in range(steps + 1):
                whole = part.settle(x)
                purified = _purified(purify, whole, images).requires_grad_()
                with torch.enable_grad():
                    error = error_margin(known(purified), right[rows], aim[rows])
                    # No density here: among images that fool, the one by the greatest margin.
                    best.offer(whole, error.detach(), error.detach())
                    if step == steps:
                        break
                    (gradient,) = torch.autograd.grad(error.sum(), purified)
                x = part.project(x + length * _direction(gradient, part.norm, 0.0))
            found.append(best)
    return AdaptiveResult(
        images=torch.cat([best.images for best in found]).to(images),
        fooled=torch.cat([best.fooled for best in found]),
    )


# ---------------------------------------------------------------- odds and ends


def with_gradients(victim: nn.Module | Callable[[Tensor], Any], images: Tensor) -> Victim:
    """The victim, if an adaptive attack on these images can be made: `ChainruleError` where it cannot."""
    known = as_victim(victim, images)
    if tuple(images.shape[1:]) != known.event_shape:
        raise ChainruleError(
            f"the victim takes images of shape {known.event_shape}, but these are {tuple(images.shape[1:])}."
        )
    if not known.has_gradients(images):
        raise ChainruleError(
            "the victim has no gradients, which adaptive attacks need; only `attack` with rand, square or "
            "hop-skip-jump can be tried on it."
        )
    require_logits(known, images, "an adaptive attack")
    return known


def _right_and_aim(
    victim: Victim, box: Box, labels: Tensor | Sequence[int], targets: Tensor | Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    count = len(box.images)
    right = checked_labels("labels", labels, count, victim.num_classes)
    if targets is None:
        return right, torch.full_like(right, -1)
    return right, checked_labels("targets", targets, count, victim.num_classes)


def _check_density(density: LikelihoodModel, box: Box) -> None:
    """Raise `ChainruleError` where the density is none of images like these."""
    if not isinstance(density, LikelihoodModel):
        raise ChainruleError(f"the density must be a chainrule model, not a {type(density).__name__}.")
    if density.num_variables != box.images[0].numel() or density.context_size:
        context = " with a context" if density.context_size else ""
        raise ChainruleError(
            f"the density is of examples of shape {density.event_shape}{context}, the images are "
            f"{tuple(box.images.shape[1:])}."
        )
    density.check_levels(box.levels, "the images")


def _relaxed(density: LikelihoodModel, x: Tensor) -> Tensor:
    shaped = x.reshape(len(x), *density.event_shape).to(density._reference)
    return relaxed_log_prob(density, shaped).to(x)


@torch.no_grad()
def _log_prob(density: LikelihoodModel, x: Tensor) -> Tensor:
    return density.log_prob(x.reshape(len(x), *density.event_shape)).to(x)


@torch.no_grad()
def _purified(purify: Callable[[Tensor], Tensor], whole: Tensor, images: Tensor) -> Tensor:
    purified = purify(whole.to(images))
    if not isinstance(purified, Tensor) or purified.shape != whole.shape:
        shape = tuple(purified.shape) if isinstance(purified, Tensor) else type(purified).__name__
        raise ChainruleError(f"purify must return images of shape {tuple(whole.shape)}, not {shape}.")
    return purified.detach().to(whole).clone()
