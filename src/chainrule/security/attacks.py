"""Attacks on a classifier: images changed a little so that it misreads them (lecture, topic 13).

RAND, FGSM, BIM, PGD, DeepFool and Carlini-Wagner, targeted or not, within an L-infinity or L2 ball; and two
that need no gradients. Settings are those of the PixelDefend paper (Song et al. 2018) where it has them: RAND
is uniform over the whole numbers -eps..eps, BIM takes steps of one level, min(eps + 4, 1.25 eps) of them, the
results of DeepFool and CW are clipped back into the ball, and pixels are whole numbers again at the end.

RAND and Carlini-Wagner are ours, the others those of the adversarial-robustness-toolbox:
pip install "chainrule[detect]". Attacks that stop at the border between labels are undone by rounding, so
they are taken a little further where that makes whole levels of them that are misread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from chainrule.arguments import checked_seed, real_number, whole_number
from chainrule.contrasts import Classifier
from chainrule.contrasts.accuracy import logits_of
from chainrule.contrasts.adversarial import bim_steps
from chainrule.errors import ChainruleError, unknown_name
from chainrule.security.attack_box import Box, Norm, box_of
from chainrule.security.attack_carlini import carlini_l2, carlini_linf
from chainrule.security.attack_library import Asked, check_installed, run_attack
from chainrule.security.attack_victims import Victim, as_victim, require_logits

__all__ = [
    "ATTACKS",
    "AttackKind",
    "AttackName",
    "Transfer",
    "attack",
    "checked_labels",
    "default_eps",
    "transfer",
]

AttackName = Literal["rand", "fgsm", "bim", "pgd", "deepfool", "cw", "cw-linf", "square", "hop-skip-jump"]


@dataclass(frozen=True)
class AttackKind:
    """What an attack is and what it needs.

    - `gradients`: whether it asks the victim for gradients (white box).
    - `needs_eps`: whether it works within a ball; others look for the smallest change.
    - `can_target`: whether it can aim at a label.
    """

    summary: str
    source: str
    gradients: bool = True
    needs_eps: bool = True
    can_target: bool = True


#: Every attack by name.
ATTACKS: dict[str, AttackKind] = {
    "rand": AttackKind("uniform noise", "Song et al. 2018", gradients=False, can_target=False),
    "fgsm": AttackKind("one step along the sign of the gradient", "Goodfellow et al. 2015"),
    "bim": AttackKind("steps of one level within the ball", "Kurakin et al. 2017"),
    "pgd": AttackKind("steps from a random start within the ball", "Madry et al. 2018"),
    "deepfool": AttackKind(
        "the nearest border between classes, as if they were planes",
        "Moosavi-Dezfooli et al. 2016",
        needs_eps=False,
        can_target=False,
    ),
    "cw": AttackKind("the smallest L2 change that is misread", "Carlini & Wagner 2017", needs_eps=False),
    "cw-linf": AttackKind(
        "the smallest greatest change that is misread", "Carlini & Wagner 2017", needs_eps=False
    ),
    "square": AttackKind(
        "random squares, kept where they help", "Andriushchenko et al. 2020", gradients=False
    ),
    "hop-skip-jump": AttackKind(
        "walks along the border between labels, by labels alone",
        "Chen et al. 2020",
        gradients=False,
        needs_eps=False,
    ),
}

#: Attacks that the toolbox has, but not as published.
_OWN: dict[str, Callable[..., Tensor]] = {"cw": carlini_l2, "cw-linf": carlini_linf}
#: Where nobody says how far: PixelDefend's eps for 256 levels, and its share of the range for others.
_EPS_SHARE = 8 / 255
#: How much further the smallest changes are taken where rounding undid them.
_FURTHER = (1.0, 1.02, 1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0)


def attack(
    name: AttackName | str,
    victim: nn.Module | Callable[[Tensor], Any],
    images: Tensor,
    labels: Tensor | Sequence[int] | None = None,
    *,
    eps: float | None = None,
    norm: Norm = "linf",
    targets: Tensor | Sequence[int] | int | None = None,
    levels: int | None = 256,
    steps: int | None = None,
    step_size: float | None = None,
    seed: int = 0,
    batch_size: int = 128,
) -> Tensor:
    """The images, changed so that the victim misreads them; same shape, dtype and levels.

    - `name`: one of `ATTACKS`.
    - `victim`: any module that maps images in the units of the data to logits; `Victim.wrap` for others.
    - `images`: `(batch, *event_shape)`, whole numbers 0..levels-1 of any dtype, as data sets hold them.
    - `labels`: the right ones, `(batch,)`; the victim's own answers if not given.
    - `eps`: how far a value may move (`linf`), or all of them together (`l2`), in levels. DeepFool, CW and
      HopSkipJump look for the smallest change, which is then clipped to eps where that is given.
    - `targets`: labels to be misread as, one for all or one each; without, any wrong label will do.
    - `levels`: 256 for grey images; another number for other data; None for real values in 0..1. Of
      classifiers of this library, their own.
    - `steps`, `step_size`: of the iteration, where there is one; as published if not given.
    - `seed`: of random starts and noise.

    Nothing of the victim is changed; it may lie on another device than the images. Raises `ChainruleError`
    for images of another shape or range, where the victim has no gradients or gives probabilities instead of
    logits and the attack needs them, and where the toolbox is not installed.
    """
    if name not in ATTACKS:
        raise unknown_name("attack", name, ATTACKS)
    kind = ATTACKS[name]
    if isinstance(victim, Classifier):
        levels = victim.levels
    if eps is None and kind.needs_eps:
        eps = default_eps(levels)
    box = box_of(images, eps, norm, levels)
    known = as_victim(victim, box.images)
    if tuple(images.shape[1:]) != known.event_shape:
        raise ChainruleError(
            f"the victim takes images of shape {known.event_shape}, but these are {tuple(images.shape[1:])}."
        )
    aims = _aims(kind, name, known, box.images, labels, targets)
    seed, batch_size = checked_seed(seed), whole_number("batch_size", batch_size, minimum=1)
    if name == "rand":
        return box.noise(torch.Generator().manual_seed(seed)).to(images)
    own = _OWN.get(name)
    if own is None:
        check_installed()
    if kind.gradients and not known.has_gradients(box.images):
        blind = ", ".join(other for other, about in ATTACKS.items() if not about.gradients)
        raise ChainruleError(
            f"the victim has no gradients, which {name} needs; it can be attacked as a black box: {blind}."
        )
    if kind.gradients:
        require_logits(known, box.images, name)
    steps = None if steps is None else whole_number("steps", steps, minimum=1)
    if own is not None:
        chosen = {} if steps is None else {"steps": steps}
        parts = zip(torch.split(box.images, batch_size), torch.split(aims, batch_size), strict=True)
        moved = torch.cat(
            [own(known, x, aim, box.high, targeted=targets is not None, **chosen) for x, aim in parts]
        )
    else:
        if name == "bim":
            steps = steps or bim_steps((eps or 0.0) * (1 if levels is not None else 255))
            step_size = step_size or (1.0 if levels is not None else 1 / 255)
        asked = Asked(
            name=name,
            eps=(eps or 0.0) / box.high,
            norm=box.norm,
            steps=steps,
            step_size=0.0 if step_size is None else real_number("step_size", step_size, above=0.0) / box.high,
            targeted=targets is not None,
            batch_size=batch_size,
            seed=seed,
        )
        moved = run_attack(known, box.images, aims, box.high, asked)
    if kind.needs_eps:
        return box.settle(moved).to(images)
    return _settled_beyond(known, box, moved, aims, targeted=targets is not None).to(images)


def _settled_beyond(victim: Victim, box: Box, moved: Tensor, aims: Tensor, *, targeted: bool) -> Tensor:
    """The smallest multiple of each change that is misread once it can be stored; as it is where none is."""
    change = moved - box.images
    found = box.settle(moved)
    open_rows = torch.ones(len(moved), dtype=torch.bool)
    for factor in _FURTHER:
        tried = box.settle(box.images + factor * change)
        done = open_rows & ((logits_of(victim, tried).argmax(1) == aims) == targeted)
        found[done] = tried[done]
        open_rows &= ~done
    return found


def default_eps(levels: int | None) -> float:
    """How far where nobody says: 8 of 256 levels, as PixelDefend, or that share of others."""
    return _EPS_SHARE if levels is None else max(1.0, float(round(_EPS_SHARE * (levels - 1))))


def _aims(
    kind: AttackKind,
    name: str,
    victim: Victim,
    images: Tensor,
    labels: Tensor | Sequence[int] | None,
    targets: Tensor | Sequence[int] | int | None,
) -> Tensor:
    """The labels to lead away from, or to lead to."""
    if targets is not None:
        if not kind.can_target:
            able = ", ".join(other for other, about in ATTACKS.items() if about.can_target)
            raise ChainruleError(f"{name} cannot aim at a label; these can: {able}.")
        given = [targets] * len(images) if isinstance(targets, int) else targets
        return checked_labels("targets", given, len(images), victim.num_classes)
    if labels is not None:
        return checked_labels("labels", labels, len(images), victim.num_classes)
    if name == "rand":
        return torch.zeros(len(images), dtype=torch.int64)  # noise has no aim
    return logits_of(victim, images).argmax(1)


def checked_labels(name: str, labels: Any, count: int, num_classes: int) -> Tensor:
    """Labels as int64 `(count,)` on the CPU, or a `ChainruleError` for another number of them or range."""
    if count == 0:
        raise ChainruleError("there are no images; expected at least one.")
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError):
        raise ChainruleError(f"{name} must be whole numbers, one for each image.") from None
    if found.is_floating_point() or found.shape != (count,):
        raise ChainruleError(
            f"{name} must be whole numbers of shape ({count},), one for each image; got {found.dtype} "
            f"{tuple(found.shape)}."
        )
    found = found.long().cpu()
    if int(found.min()) < 0 or int(found.max()) >= num_classes:
        raise ChainruleError(
            f"{name} are {int(found.min())}..{int(found.max())}, but the victim has {num_classes} classes: "
            f"0..{num_classes - 1}."
        )
    return found


# ---------------------------------------------------------------- transfer


@dataclass(frozen=True)
class Transfer:
    """Images made against one victim, read by another.

    - `victims`: their names, in the order of rows and columns.
    - `clean`: accuracy of each on the images as they were.
    - `accuracy`: `[i][j]`, of victim j on images made against victim i.
    - `rate`: `[i][j]`, of the images that victim j read rightly before, the share that it misreads then.
    """

    victims: tuple[str, ...]
    clean: tuple[float, ...]
    accuracy: tuple[tuple[float, ...], ...]
    rate: tuple[tuple[float, ...], ...]


def transfer(
    name: AttackName | str,
    victims: Mapping[str, nn.Module],
    images: Tensor,
    labels: Tensor | Sequence[int],
    **options: Any,
) -> Transfer:
    """How well images made against one victim mislead others.

    - `victims`: by name, two or more; all read the same images.
    - `options`: of `attack`.
    """
    if len(victims) < 2:
        raise ChainruleError("transfer compares two victims or more; give a dictionary of them by name.")
    known = {key: as_victim(module, images.float()) for key, module in victims.items()}
    right = checked_labels("labels", labels, len(images), min(v.num_classes for v in known.values()))
    before = {key: logits_of(v, images).argmax(1) == right for key, v in known.items()}
    accuracies, rates = [], []
    for maker in victims:
        moved = attack(name, victims[maker], images, right, **options)
        after = {key: logits_of(v, moved).argmax(1) == right for key, v in known.items()}
        accuracies.append(tuple(share.double().mean().item() for share in after.values()))
        rates.append(tuple(_misread(before[key], after[key]) for key in known))
    return Transfer(
        tuple(victims),
        tuple(share.double().mean().item() for share in before.values()),
        tuple(accuracies),
        tuple(rates),
    )


def _misread(before: Tensor, after: Tensor) -> float:
    """Of what was right before, the share that is wrong after; NaN where nothing was right."""
    return (~after[before]).double().mean().item()
