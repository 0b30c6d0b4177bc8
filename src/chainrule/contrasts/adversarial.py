"""Perturbations for adversarial training: FGSM, BIM and PGD in L-infinity, in a few lines of PyTorch.

Goodfellow et al. 2015 (FGSM), Kurakin et al. 2017 (BIM), Madry et al. 2018 (PGD, adversarial training). They
run inside the training loop, where going through another library would cost more than the gradients. The
attacks that a victim is measured with are those of `chainrule.security`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PERTURBATIONS", "bim_steps", "perturbed"]

#: What adversarial training can be done against.
PERTURBATIONS = ("fgsm", "bim", "pgd")
#: Steps of PGD, and how far they can go together, over eps (Madry et al. take 40 and 4/3 on MNIST).
_PGD_STEPS, _PGD_REACH = 7, 2.5


def bim_steps(eps: float) -> int:
    """Steps of BIM at a step of one level, min(eps + 4, 1.25 eps): Kurakin et al. 2017, as PixelDefend took.

    >>> bim_steps(8), bim_steps(25)
    (10, 29)
    """
    return max(1, int(min(eps + 4, 1.25 * eps)))


def perturbed(
    classifier: nn.Module,
    x: Tensor,
    target: Tensor,
    *,
    name: str,
    eps: float,
    low: float,
    high: float,
    generator: torch.Generator,
) -> Tensor:
    """`x` moved within eps of itself, and within low..high, so that the cross-entropy with `target` rises.

    - `x`: `(batch, *event_shape)`; `target`: `(batch, num_classes)` probabilities, one-hot for labels.
    - `name`: one of `PERTURBATIONS`: `fgsm` one step of eps along the gradient's sign, `bim` steps of 1
      (a grey level), `pgd` seven steps from a random start, whatever the units.

    The weights get no gradient from it.
    """
    steps, size, moved = 1, eps, x
    if name == "bim":
        steps = bim_steps(eps)
        size = min(1.0, eps)
    elif name == "pgd":
        steps, size = _PGD_STEPS, _PGD_REACH * eps / _PGD_STEPS
        # Drawn on the generator's own device, so that every device starts from the same place.
        start = torch.rand(x.shape, generator=generator, device=generator.device).to(x)
        moved = (x + eps * (2 * start - 1)).clamp(low, high)
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            loss = -(target * torch.log_softmax(classifier(moved), dim=1)).sum()
            (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved.detach() + size * gradient.sign()).clamp(x - eps, x + eps).clamp(low, high)
    return moved.detach()
