"""How often a classifier is right, with its standard error; for any network that gives logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.errors import ChainruleError

__all__ = ["Accuracy", "accuracy", "as_weights", "logits_of"]


@dataclass(frozen=True)
class Accuracy:
    """Of a classifier on labelled examples.

    - `accuracy`: share of examples with the right label; `standard_error`: of that share (binomial).
    - `nll`: mean -log p(label | x), nats; `correct`: for each example, `(examples,)` booleans.
    """

    examples: int
    accuracy: float
    standard_error: float
    nll: float
    correct: Tensor


@torch.no_grad()
def logits_of(
    classifier: nn.Module,
    images: Tensor,
    *,
    batch_size: int = 500,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The classifier's outputs for all images, `(N, classes)`, in evaluation mode; it is left in its own."""
    mode, found, done = classifier.training, [], 0
    classifier.eval()
    try:
        for batch in torch.split(images, batch_size):
            found.append(classifier(as_weights(classifier, batch)).detach().cpu())
            done += len(batch)
            if on_batch is not None:
                on_batch(done, len(images))
    finally:
        classifier.train(mode)
    return torch.cat(found)


def as_weights(classifier: nn.Module, images: Tensor) -> Tensor:
    """The images as floats of the precision, and on the device, of a classifier's weights."""
    weights = next((p for p in classifier.parameters() if p.is_floating_point()), None)
    if weights is not None:
        return images.to(weights)
    return images if images.is_floating_point() else images.float()


def accuracy(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int = 500,
    on_batch: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """How often `classifier(images)` is greatest at `labels`.

    - `images`: `(N, *event_shape)` as the classifier takes them; `labels`: whole numbers `(N,)`.

    Raises `ChainruleError` for no images, or another number of labels.
    """
    if len(images) == 0 or labels.shape != images.shape[:1]:
        raise ChainruleError(
            f"accuracy needs images and a label for each; got {len(images)} images and labels of shape "
            f"{tuple(labels.shape)}."
        )
    logits = logits_of(classifier, images, batch_size=batch_size, on_batch=on_batch).double()
    labels = labels.cpu()
    correct = logits.argmax(1) == labels
    share = correct.double().mean().item()
    nll = -torch.log_softmax(logits, dim=1).gather(1, labels[:, None]).mean().item()
    error = math.sqrt(share * (1 - share) / len(images))
    return Accuracy(len(images), share, error, nll, correct)
