"""What an attack achieved: accuracy before and after, how far the images moved."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from chainrule.contrasts.accuracy import accuracy, logits_of
from chainrule.errors import ChainruleError
from chainrule.security.attack_victims import as_victim

__all__ = ["AttackMeasures", "measure_attack"]


@dataclass(frozen=True)
class AttackMeasures:
    """Of attacked images beside the originals.

    - `clean_accuracy`, `accuracy`: of the victim before and after; `standard_error`: of the latter.
    - `success`: of the images that were read rightly, the share that is misread now; NaN where none was.
    - `hit`: the share that is read as its target, None without targets.
    - `largest`: the greatest change of a value; `mean_l2`: the mean Euclidean length of the changes.
    """

    images: int
    clean_accuracy: float
    accuracy: float
    standard_error: float
    success: float
    hit: float | None
    largest: float
    mean_l2: float


def measure_attack(
    victim: nn.Module, images: Tensor, attacked: Tensor, labels: Tensor, targets: Tensor | None = None
) -> AttackMeasures:
    """What `attacked` does to `victim`, beside the originals; `labels` are the right ones, `(batch,)`."""
    if attacked.shape != images.shape:
        raise ChainruleError(
            f"the attacked images have shape {tuple(attacked.shape)}, the originals {tuple(images.shape)}."
        )
    victim = as_victim(victim, images.float())
    before, after = accuracy(victim, images, labels), accuracy(victim, attacked, labels)
    change = (attacked.double() - images.double()).flatten(1)
    fallen = (~after.correct[before.correct]).double().mean().item()
    hit = None
    if targets is not None:
        hit = (logits_of(victim, attacked).argmax(1) == targets.cpu()).double().mean().item()
    return AttackMeasures(
        images=len(images),
        clean_accuracy=before.accuracy,
        accuracy=after.accuracy,
        standard_error=after.standard_error,
        success=fallen,
        hit=hit,
        largest=change.abs().max().item(),
        mean_l2=change.norm(dim=1).mean().item(),
    )
