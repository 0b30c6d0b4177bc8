"""What people hand to a model, checked: shapes, evidence and masks, contexts, noise and where it comes from.

Every function returns what the model can use, or raises a `ChainruleError` that says what was wrong, where,
and what was expected. None of them knows a model.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from chainrule.arguments import LARGEST_SIZE, checked_seed, whole_number
from chainrule.conditionals import Conditional
from chainrule.errors import ChainruleError

__all__ = [
    "LARGEST_WEIGHTS",
    "check_shape",
    "check_size",
    "checked_context",
    "checked_event_shape",
    "checked_evidence",
    "checked_noise",
    "expanded_context",
    "source_of_randomness",
]

#: The most weights of a network whose layers grow with the product of two sizes: 16 GiB of float32.
LARGEST_WEIGHTS = 2**32


# ---------------------------------------------------------------- shapes and values


def checked_event_shape(event_shape: object) -> tuple[int, ...]:
    """The shape of one example, as a tuple of positive sizes."""
    expected = "event_shape must be one or more positive sizes, such as (784,)"
    if isinstance(event_shape, (str, bytes)) or not isinstance(event_shape, Iterable):
        raise ChainruleError(f"{expected}, not {event_shape!r}.")
    sizes = tuple(event_shape)
    try:
        shape = tuple(whole_number("event_shape", size, minimum=1) for size in sizes)
    except ChainruleError:
        raise ChainruleError(f"{expected}, not {reprlib.repr(sizes)}.") from None
    if not shape:
        raise ChainruleError(f"{expected}, not {reprlib.repr(sizes)}.")
    if math.prod(shape) > LARGEST_SIZE:
        raise ChainruleError(
            f"event_shape {reprlib.repr(sizes)} has {math.prod(shape):,} variables; at most {LARGEST_SIZE:,}."
        )
    return shape


def check_size(model: str, numbers: int) -> None:
    """`ChainruleError` for sizes that make more weights than can be held, before memory is asked for."""
    if numbers > LARGEST_WEIGHTS:
        raise ChainruleError(
            f"{model} of these sizes would have {numbers:,} weights, or masks as large; at most "
            f"{LARGEST_WEIGHTS:,} are built. Make its hidden layers or the examples smaller."
        )


def check_shape(x: object, event_shape: tuple[int, ...]) -> None:
    """Whether `x` is a tensor `(batch, *event_shape)`."""
    if not isinstance(x, Tensor):
        raise ChainruleError(
            f"expected a torch.Tensor of shape (batch, *{event_shape}), not {type(x).__name__}."
        )
    if tuple(x.shape[1:]) != event_shape or x.ndim == 0:
        raise ChainruleError(
            f"expected examples of shape (batch, {', '.join(map(str, event_shape))}), "
            f"but got {tuple(x.shape)}."
        )


def checked_evidence(
    evidence: Tensor, mask: Tensor | None, conditional: Conditional
) -> tuple[Tensor, Tensor]:
    """Evidence `(rows, *event_shape)` with 0 in its holes, and the holes as booleans of the same shape.

    - `mask`: 1 or true at the holes, of that shape or of one example's; None where NaN marks them.
    """
    holes = evidence.isnan() if mask is None else _checked_mask(mask, evidence)
    known = torch.where(holes, 0.0, evidence)
    outside = ~(conditional.in_support(known) | holes)
    if bool(outside.any()):
        where = torch.nonzero(outside)[0].tolist()
        family = conditional.at(int(outside.flatten(1)[where[0]].nonzero()[0]))
        raise ChainruleError(
            f"the known value {known[tuple(where)].item():g} at index {where} of the evidence cannot "
            f"occur: expected {family.value_range}; mask it if it is to be filled in."
        )
    return known, holes


def _checked_mask(mask: object, evidence: Tensor) -> Tensor:
    if not isinstance(mask, Tensor):
        raise ChainruleError(f"the mask must be a torch.Tensor, not {type(mask).__name__}.")
    if mask.shape not in (evidence.shape, evidence.shape[1:]):
        raise ChainruleError(
            f"the mask has shape {tuple(mask.shape)}; expected that of the evidence, "
            f"{tuple(evidence.shape)}, or that of one example, {tuple(evidence.shape[1:])}."
        )
    if not bool(((mask == 0) | (mask == 1)).all()):
        odd = mask[(mask != 0) & (mask != 1)].flatten()[0].item()
        raise ChainruleError(
            f"the mask holds {odd}; expected true or 1 where a variable is to be filled in, else false or 0."
        )
    return mask.to(evidence.device).bool().expand(evidence.shape)


# ---------------------------------------------------------------- contexts


def checked_context(context: Any, batch_size: int, size: int) -> Tensor | None:
    """The context as `(batch, size)` floats; labels `(batch,)` become one-hot. None where `size` is 0."""
    if size == 0:
        if context is not None:
            raise ChainruleError("this model takes no context (its context_size is 0).")
        return None
    if context is None:
        raise ChainruleError(
            f"this model needs a context: {size} numbers or a label in 0..{size - 1} per example."
        )
    tensor = _as_tensor(context)
    if not tensor.is_floating_point():
        tensor = _one_hot(tensor, size)
    elif not bool(tensor.isfinite().all()):
        where = torch.nonzero(~tensor.isfinite())[0].tolist()
        raise ChainruleError(
            f"the context is {tensor[tuple(where)].item():g} at index {where}; expected finite numbers."
        )
    if tuple(tensor.shape) != (batch_size, size):
        raise ChainruleError(
            f"expected a context of shape ({batch_size}, {size}) or labels ({batch_size},), "
            f"but got {tuple(tensor.shape)}."
        )
    return tensor


def expanded_context(context: Any, rows: int) -> Tensor | None:
    """One context for all rows becomes one for each."""
    if context is None:
        return None
    tensor = _as_tensor(context)
    single = tensor.ndim == (1 if tensor.is_floating_point() else 0)
    return tensor.expand(rows, *tensor.shape) if single else tensor


def _as_tensor(context: Any) -> Tensor:
    try:
        return torch.as_tensor(context)
    except (TypeError, ValueError, RuntimeError):
        raise ChainruleError(
            f"a context must be a tensor of numbers or labels, not {reprlib.repr(context)}."
        ) from None


def _one_hot(labels: Tensor, size: int) -> Tensor:
    expected = f"labels must be one whole number in 0..{size - 1} per example"
    if labels.ndim != 1 or labels.is_complex():
        raise ChainruleError(f"{expected}, but these are {labels.dtype} of shape {tuple(labels.shape)}.")
    outside = (labels < 0) | (labels >= size)
    if bool(outside.any()):
        where = int(outside.int().argmax())
        raise ChainruleError(f"{expected}; the label at index {where} is {labels[where].item()}.")
    return one_hot(labels.long(), size).float()


# ---------------------------------------------------------------- randomness


@overload
def source_of_randomness(*, seed: int | None, generator: torch.Generator | None) -> torch.Generator: ...
@overload
def source_of_randomness(
    *, seed: int | None, generator: torch.Generator | None, noise: Tensor | None
) -> torch.Generator | Tensor: ...
def source_of_randomness(
    *, seed: int | None, generator: torch.Generator | None, noise: Tensor | None = None
) -> torch.Generator | Tensor:
    """The one source that was given: noise as it is, else a generator; a fresh one without any."""
    given = {"seed": seed, "generator": generator, "noise": noise}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ChainruleError(f"{' and '.join(names)} were given; give one source of randomness.")
    if noise is not None:
        return noise
    if generator is None:
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(checked_seed(seed))
    if not isinstance(generator, torch.Generator):
        raise ChainruleError(f"generator must be a torch.Generator, not {type(generator).__name__}.")
    return generator


def checked_noise(
    noise: object, num_samples: int | None, num_variables: int, width: int, dtype: torch.dtype
) -> Tensor:
    """Noise that the caller made, `(num_samples, num_variables, width)`, safe to use in `dtype`."""
    if not isinstance(noise, Tensor) or not noise.is_floating_point():
        kind = str(noise.dtype) if isinstance(noise, Tensor) else type(noise).__name__
        raise ChainruleError(f"noise must be a tensor of floats in [0, 1), not {kind}.")
    shaped = noise[..., None] if noise.ndim == 2 else noise
    if shaped.ndim != 3 or tuple(shaped.shape[1:]) != (num_variables, width):
        raise ChainruleError(
            f"expected noise of shape (num_samples, {num_variables}, {width}), but got {tuple(shaped.shape)}."
        )
    if num_samples not in (None, len(shaped)):
        raise ChainruleError(
            f"num_samples is {num_samples}, but the noise is for {len(shaped)}; leave num_samples out."
        )
    inside = (shaped >= 0) & (shaped < 1)  # false for NaN
    if not bool(inside.all()):
        where = torch.nonzero(~inside)[0].tolist()
        raise ChainruleError(
            f"the noise is {shaped[tuple(where)].item():g} at index {where}; expected uniforms in [0, 1)."
        )
    # A double just below 1 must not become 1 in the model's precision.
    return shaped.clamp_max(1 - torch.finfo(dtype).eps / 2)
