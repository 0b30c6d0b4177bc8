"""Victims: classifiers under attack, ours or anybody's.

A victim is any module that maps images to logits. What an attack must know of it besides (shape, classes, the
units of its input, whether it has gradients) is asked of it, or said by `Victim.wrap`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from chainrule.arguments import real_number, whole_number
from chainrule.contrasts import Classifier
from chainrule.contrasts.accuracy import as_weights
from chainrule.errors import ChainruleError
from chainrule.inputs import checked_event_shape

__all__ = ["Victim", "as_victim", "read_by", "require_logits", "untouched"]


class Victim(nn.Module):
    """A classifier as attacks see it: `victim(images)` are its logits, `(batch, num_classes)`.

    Made by `Victim.wrap`; classifiers of `chainrule.contrasts` need no wrapping.

    - `module`: the classifier; `event_shape`: of one image; `num_classes`: of its logits.
    - `scale`: the images in the units of the data are divided by this before `module` reads them.
    """

    def __init__(
        self, module: nn.Module, event_shape: Sequence[int], num_classes: int, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.module = module
        self.event_shape = checked_event_shape(event_shape)
        self.num_classes = whole_number("num_classes", num_classes, minimum=2)
        self.scale = real_number("scale", scale, above=0.0)
        self.training = module.training

    @classmethod
    def wrap(
        cls,
        classifier: nn.Module | Callable[[Tensor], Any],
        event_shape: Sequence[int],
        num_classes: int,
        scale: float = 1.0,
    ) -> Self:
        """Any classifier as a victim.

        - `classifier`: a module, or a function of a batch of images that returns scores of the classes, as a
          tensor, an array or lists. A function without gradients can be attacked as a black box only.
        - `event_shape`: of the images that it takes, such as (1, 28, 28).
        - `scale`: 255 for a network that reads 0..1 where the data are 0..255; 1 for the same units.
        """
        module = classifier if isinstance(classifier, nn.Module) else _Function(classifier)
        return cls(module, event_shape, num_classes, scale)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images `(batch, *event_shape)` in the units of the data.

        Raises `ChainruleError` for images or logits of another shape.
        """
        if tuple(images.shape[1:]) != self.event_shape:
            raise ChainruleError(
                f"the victim takes images of shape (batch, {', '.join(map(str, self.event_shape))}), not "
                f"{tuple(images.shape)}."
            )
        x = as_weights(self.module, images)
        logits = read_by(self.module, x if self.scale == 1.0 else x / self.scale)
        if not isinstance(logits, Tensor) or logits.shape != (len(images), self.num_classes):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ChainruleError(
                f"the victim {type(self.module).__name__} must give logits of shape (batch, "
                f"{self.num_classes}), but for {len(images)} images it gave {shape}."
            )
        return logits.to(images.device)  # an attack keeps its images where they are, wherever the weights lie

    def has_gradients(self, images: Tensor) -> bool:
        """Whether the logits say in which direction to move these images: a gradient that is not all zero."""
        with untouched(self), torch.enable_grad():
            x = images[:8].detach().to(torch.get_default_dtype()).requires_grad_()
            logits = self(x)
            if not logits.requires_grad:
                return False
            # Different weights, since the sum of a softmax has no gradient at all.
            weights = torch.linspace(1.0, 2.0, self.num_classes).to(logits)
            (gradient,) = torch.autograd.grad((logits * weights).sum(), x, allow_unused=True)
        return gradient is not None and bool(gradient.isfinite().all()) and bool((gradient != 0).any())

    def gives_probabilities(self, images: Tensor) -> bool:
        """Whether what it says of these images are no logits but probabilities: 0 or more, and 1 in sum."""
        with untouched(self), torch.no_grad():
            given = self(images[:8])
        return bool((given >= 0).all()) and bool(((given.sum(1) - 1).abs() < 1e-3).all())

    def extra_repr(self) -> str:
        """What is known of it."""
        return f"event_shape={self.event_shape}, num_classes={self.num_classes}, scale={self.scale:g}"


class _Function(nn.Module):
    """A function as a module; what it returns becomes a tensor."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        found = self.function(x)
        return found if isinstance(found, Tensor) else torch.as_tensor(found, dtype=x.dtype)


def as_victim(classifier: nn.Module | Callable[[Tensor], Any], images: Tensor) -> Victim:
    """A classifier as a victim; what it does not say of itself is taken from the images.

    - `images`: `(batch, *event_shape)`, at least one, in the units that the classifier reads.

    Raises `ChainruleError` where it cannot read them, or what it gives are no logits.
    """
    if isinstance(classifier, Victim):
        return classifier
    if isinstance(classifier, Classifier):
        return Victim(classifier, classifier.event_shape, classifier.num_classes)
    if not callable(classifier):
        raise ChainruleError(
            f"a victim is a torch.nn.Module that maps images to logits, not a {type(classifier).__name__}."
        )
    module = classifier if isinstance(classifier, nn.Module) else _Function(classifier)
    return Victim(module, images.shape[1:], _number_of_logits(module, images))


def read_by(module: nn.Module, x: Tensor) -> Any:
    """What a module says of images; `ChainruleError` where it cannot read them."""
    try:
        return module(x)
    except (RuntimeError, IndexError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ChainruleError(
            f"the classifier {type(module).__name__} cannot read images of shape {tuple(x.shape)} ({reason})."
        ) from None


def require_logits(victim: Victim, images: Tensor, attack: str) -> None:
    """`ChainruleError` where the victim gives probabilities, whose gradients vanish where it is sure.

    An attack that follows those finds little, and a defence would look better than it is.
    """
    if victim.gives_probabilities(images):
        raise ChainruleError(
            f"the victim gives probabilities (each row sums to 1), and {attack} needs logits: leave out its "
            "softmax, or take the logarithm of what it gives."
        )


def _number_of_logits(module: nn.Module, images: Tensor) -> int:
    with untouched(module), torch.no_grad():
        logits = read_by(module, as_weights(module, images[:1].float()))
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ChainruleError(
            f"the victim {type(module).__name__} must give logits of shape (batch, classes) with two classes "
            f"or more, but for one image it gave {shape}."
        )
    return logits.shape[1]


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """A block in which a module is in evaluation mode and its weights collect no gradient; then as before."""
    modes = {part: part.training for part in module.modules()}
    weights = {p: (p.requires_grad, p.grad) for p in module.parameters()}
    module.eval()
    for p in weights:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for p, (required, gradient) in weights.items():
            p.requires_grad_(required)
            p.grad = gradient
