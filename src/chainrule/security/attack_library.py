"""The attacks of the adversarial-robustness-toolbox (ART), behind one function.

ART works on NumPy arrays, in units that its defaults are made for (0..1), with NumPy's global generator. Here
images go in and out as tensors, the generator is seeded for the attack and then put back, and the victim's
mode, weights and gradients are left as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.errors import ChainruleError
from chainrule.security.attack_box import Norm
from chainrule.security.attack_victims import Victim, untouched
from chainrule.training import seeded

__all__ = ["Asked", "check_installed", "run_attack"]

#: Where no number of steps is asked for.
_PGD_STEPS, _DEEPFOOL_STEPS, _QUERIES = 40, 50, 500
#: What steps of PGD can reach together, over eps (Madry et al. 2018).
_PGD_REACH = 2.5


@dataclass(frozen=True)
class Asked:
    """What was asked of an attack; eps and step_size in the units of images scaled to 0..1."""

    name: str
    eps: float
    norm: Norm
    steps: int | None
    step_size: float
    targeted: bool
    batch_size: int
    seed: int


def run_attack(victim: Victim, images: Tensor, labels: Tensor, high: float, asked: Asked) -> Tensor:
    """Images that ART moved, in the units of the data.

    - `images`: `(batch, *event_shape)` in 0..high; `labels`: `(batch,)`, right ones, or targets.

    Raises `ChainruleError` where ART is not installed, or cannot attack images of this shape.
    """
    check_installed()
    from art.estimators.classification import PyTorchClassifier

    weights = next(victim.parameters(), None)
    on_cpu = weights is None or weights.device.type == "cpu"
    with untouched(victim), seeded(asked.seed), _numpy_seeded(asked.seed):
        estimator = PyTorchClassifier(
            model=_InUnits(victim, high),
            loss=nn.CrossEntropyLoss(),
            input_shape=victim.event_shape,
            nb_classes=victim.num_classes,
            clip_values=(0.0, 1.0),
            device_type="cpu" if on_cpu else "gpu",
        )
        attack = _ATTACKS[asked.name](estimator, asked)
        one_hot = nn.functional.one_hot(labels, victim.num_classes).float().numpy()
        try:
            moved = attack.generate(x=(images / high).float().cpu().numpy(), y=one_hot)
        except ChainruleError:
            raise
        except ValueError as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ChainruleError(
                f"the attack {asked.name} cannot be made on images of shape {victim.event_shape} ({reason})."
            ) from None
    found = torch.from_numpy(moved).to(images)
    # A value that the attack left alone comes back from single precision as it was.
    unchanged = ((found - images / high).abs() <= 1e-7) | found.isnan()
    return torch.where(unchanged, images, found * high)


def check_installed() -> None:
    """Raise `ChainruleError`, with what to type, where the toolbox is not installed."""
    try:
        import art.attacks.evasion  # noqa: F401
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "art":
            raise
        raise ChainruleError(
            "attacks need the adversarial-robustness-toolbox, which is not installed: "
            'pip install "chainrule[detect]"'
        ) from None


class _InUnits(nn.Module):
    """A victim of images in 0..high that is given images in 0..1."""

    def __init__(self, victim: Victim, high: float) -> None:
        super().__init__()
        self.victim, self.high = victim, high

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.victim(x * self.high)
        return logits


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator with a seed of its own for this block: ART knows no other."""
    import numpy as np

    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % (1 << 32))  # noqa: NPY002
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # of squares of no size, whose NaN are dropped
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


# ---------------------------------------------------------------- ART's classes and their arguments


def _fgsm(estimator: Any, asked: Asked) -> Any:
    from art.attacks.evasion import FastGradientMethod

    return FastGradientMethod(
        estimator,
        norm=_norm(asked),
        eps=asked.eps,
        targeted=asked.targeted,
        batch_size=asked.batch_size,
    )


def _bim(estimator: Any, asked: Asked) -> Any:
    return _gradient_steps(estimator, asked, steps=asked.steps or 1, starts=0)


def _pgd(estimator: Any, asked: Asked) -> Any:
    return _gradient_steps(estimator, asked, steps=asked.steps or _PGD_STEPS, starts=1)


def _gradient_steps(estimator: Any, asked: Asked, *, steps: int, starts: int) -> Any:
    from art.attacks.evasion import ProjectedGradientDescent

    size = asked.step_size or _PGD_REACH * asked.eps / steps
    return ProjectedGradientDescent(
        estimator,
        norm=_norm(asked),
        eps=asked.eps,
        eps_step=min(size, asked.eps),
        max_iter=steps,
        num_random_init=starts,
        targeted=asked.targeted,
        batch_size=asked.batch_size,
        verbose=False,
    )


def _deepfool(estimator: Any, asked: Asked) -> Any:
    from art.attacks.evasion import DeepFool

    return DeepFool(
        estimator,
        max_iter=asked.steps or _DEEPFOOL_STEPS,
        nb_grads=min(10, estimator.nb_classes),
        batch_size=asked.batch_size,
        verbose=False,
    )


def _square(estimator: Any, asked: Asked) -> Any:
    from art.attacks.evasion import SquareAttack

    return SquareAttack(
        estimator,
        norm=_norm(asked),
        eps=asked.eps,
        max_iter=asked.steps or _QUERIES,
        p_init=0.3,
        batch_size=asked.batch_size,
        verbose=False,
    )


def _hop_skip_jump(estimator: Any, asked: Asked) -> Any:
    from art.attacks.evasion import HopSkipJump

    return HopSkipJump(
        estimator,
        norm=_norm(asked),
        targeted=asked.targeted,
        max_iter=asked.steps or 20,
        max_eval=1000,
        init_eval=20,
        batch_size=asked.batch_size,
        verbose=False,
    )


def _norm(asked: Asked) -> float:
    return math.inf if asked.norm == "linf" else 2


_ATTACKS: dict[str, Callable[[Any, Asked], Any]] = {
    "fgsm": _fgsm,
    "bim": _bim,
    "pgd": _pgd,
    "deepfool": _deepfool,
    "square": _square,
    "hop-skip-jump": _hop_skip_jump,
}
